//! The operations. They block.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use cap_std::fs::{Dir, Metadata, MetadataExt, OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags;
use serde::Serialize;

use super::{
    failure::{Failure, Kind},
    input::Upload,
    output::{self, FileOutput},
    place::{Inside, Place},
};

/// What is said about a file, directory or symbolic link.
#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    /// Names that are no text have marks in their place; clients can only see
    /// that they are there.
    path: String,
    r#type: &'static str,
    size: u64,
    /// The permission bits.
    mode: u32,
    /// The same as `ls` writes it, `rwxr-xr-x`.
    permissions: String,
    owner: String,
    group: String,
    /// Seconds since the epoch.
    modified_time: f64,
    symlink_target: Option<String>,
}

pub(super) fn read(place: &Place, path: &Path) -> Result<FileOutput, Failure> {
    let inside = place.inside(path)?;
    let file = output::open(&inside).map_err(|error| refusal(place, error))?;
    let metadata = file.metadata()?;
    must_be_file(&metadata)?;
    Ok(FileOutput::new(place, inside, &metadata))
}

/// Opens a file to be written, with the directories that it is in.
pub(super) fn write(place: &Place, path: &Path) -> Result<Upload, Failure> {
    let inside = place.inside(path)?;
    if inside.is_root() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
    }
    let failed = |error| refusal(place, error);
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let open = || inside.root.open_with(&inside.path, &options);
    let opened = match (open(), inside.path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            inside.root.create_dir_all(parent).map_err(failed)?;
            open()
        }
        (opened, _) => opened,
    };
    let file = opened.map_err(failed)?;
    must_be_file(&file.metadata()?)?;
    file.set_len(0)?;
    Ok(Upload(file))
}

/// The entries of a directory as JSON, by name.
pub(super) fn list(place: &Place, path: &Path) -> Result<Vec<u8>, Failure> {
    let inside = place.inside(path)?;
    let failed = |error| refusal(place, error);
    let directory = inside.root.open_dir(&inside.path).map_err(failed)?;
    let names = Names::load();
    let mut entries = Vec::new();
    for entry in directory.entries()? {
        let name = PathBuf::from(entry?.file_name());
        match describe(&directory, &name, &path.join(&name), &names) {
            // It was removed in the meantime.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            described => entries.push(described?),
        }
    }
    entries.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(json(&entries))
}

/// One path as JSON. A symbolic link is not followed.
pub(super) fn stat(place: &Place, path: &Path) -> Result<Vec<u8>, Failure> {
    let inside = place.inside(path)?;
    let entry = describe(&inside.root, &inside.path, path, &Names::load());
    Ok(json(&entry.map_err(|error| refusal(place, error))?))
}

pub(super) fn make_directory(place: &Place, path: &Path, parents: bool) -> Result<(), Failure> {
    let Inside { root, path } = place.inside(path)?;
    let made = if parents {
        root.create_dir_all(&path)
    } else {
        root.create_dir(&path)
    };
    made.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::new(Kind::PathAlreadyExists, "already exists"),
        _ => refusal(place, error),
    })
}

pub(super) fn remove(place: &Place, path: &Path, recursive: bool) -> Result<(), Failure> {
    let inside = place.inside(path)?;
    if inside.is_root() {
        return Err(Failure::new(
            Kind::PermissionDenied,
            "the sandbox's own directory stays as long as the sandbox",
        ));
    }
    let Inside { root, path } = inside;
    let failed = |error| refusal(place, error);
    let metadata = root.symlink_metadata(&path).map_err(failed)?;
    let removed = if !metadata.is_dir() {
        root.remove_file(&path)
    } else if recursive {
        root.remove_dir_all(&path)
    } else {
        root.remove_dir(&path)
    };
    removed.map_err(failed)
}

/// A path that leads out of the directory over a link is refused with a reason.
pub(super) fn refusal(place: &Place, error: io::Error) -> Failure {
    let is_the_systems = error.raw_os_error().is_some();
    if error.kind() == io::ErrorKind::PermissionDenied && !is_the_systems {
        return place.outside();
    }
    error.into()
}

fn must_be_file(metadata: &Metadata) -> Result<(), Failure> {
    if metadata.is_file() {
        Ok(())
    } else if metadata.is_dir() {
        Err(io::Error::from(io::ErrorKind::IsADirectory).into())
    } else {
        Err(Failure::new(Kind::Other, "not a regular file"))
    }
}

fn describe(directory: &Dir, name: &Path, shown: &Path, names: &Names) -> io::Result<Entry> {
    let metadata = directory.symlink_metadata(name)?;
    let is_link = metadata.is_symlink();
    let mode = metadata.mode() & 0o7777;
    #[allow(
        clippy::cast_precision_loss,
        reason = "microseconds are exact until 2255"
    )]
    let modified_time = metadata.mtime() as f64 + metadata.mtime_nsec() as f64 / 1e9;
    Ok(Entry {
        name: shown
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        path: text(shown),
        r#type: if is_link {
            "symlink"
        } else if metadata.is_dir() {
            "directory"
        } else {
            "file"
        },
        size: metadata.len(),
        mode,
        permissions: permissions(mode),
        owner: names.user(metadata.uid()),
        group: names.group(metadata.gid()),
        modified_time,
        symlink_target: is_link
            .then(|| directory.read_link_contents(name))
            .transpose()?
            .map(|target| text(&target)),
    })
}

fn permissions(mode: u32) -> String {
    let bit = |bit: u32, letter: char| if mode & bit == 0 { '-' } else { letter };
    [6, 3, 0]
        .into_iter()
        .flat_map(|shift| {
            [
                bit(4 << shift, 'r'),
                bit(2 << shift, 'w'),
                bit(1 << shift, 'x'),
            ]
        })
        .collect()
}

/// The names of users and groups, where the machine has files with them.
struct Names {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

impl Names {
    fn load() -> Self {
        Self {
            users: table("/etc/passwd"),
            groups: table("/etc/group"),
        }
    }

    fn user(&self, id: u32) -> String {
        self.users
            .get(&id)
            .cloned()
            .unwrap_or_else(|| id.to_string())
    }

    fn group(&self, id: u32) -> String {
        self.groups
            .get(&id)
            .cloned()
            .unwrap_or_else(|| id.to_string())
    }
}

/// Lines of `name:password:id:…`.
fn table(path: &str) -> BTreeMap<u32, String> {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let id = fields.nth(1)?.parse().ok()?;
        Some((id, name.to_owned()))
    };
    text.lines().filter_map(entry).collect()
}

pub(super) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // A struct of texts and numbers always serializes.
    serde_json::to_vec(value).unwrap_or_default()
}
