//! The directories of sandboxes.
//!
//! ```text
//! sandboxes/sb-…/process    who runs the command, for the next server
//!                process-N  the same for the Nth command that was executed
//!                files/     the sandbox's directory: working directory, HOME
//!                files/.tmp TMPDIR
//!                stdout.N   output from offset N on
//!                exec-M-stdout.N  the same for the Mth command
//! ```

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{ids::SandboxId, limits, state_dir, sync::lock};

/// Creates directories and removes them, or has them used again.
///
/// A file system may look for a free inode past all that were deleted of late
/// (ext4 does): creating and deleting four a time, a thousand sandboxes later
/// a start took 5 ms longer. So a directory into which a command put nothing
/// waits for the next sandbox.
#[derive(Debug)]
pub(super) struct Directories {
    root: PathBuf,
    /// `None` once nothing is started any more.
    spare: Mutex<Option<Vec<PathBuf>>>,
    recycled: AtomicU64,
}

impl Directories {
    /// Below `root`, which exists.
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            spare: Mutex::new(Some(Vec::new())),
            recycled: AtomicU64::new(0),
        }
    }

    /// Where the directory of a sandbox is.
    pub(super) fn path(&self, sandbox: &SandboxId) -> PathBuf {
        self.root.join(sandbox.as_str())
    }

    /// A directory as good as new. Blocks.
    pub(super) fn create(&self, sandbox: &SandboxId) -> io::Result<Directory> {
        let path = self.path(sandbox);
        let spare = lock(&self.spare).as_mut().and_then(Vec::pop);
        if spare.is_some_and(|spare| fs::rename(spare, &path).is_ok()) {
            return Ok(Directory { path, keep: false });
        }
        Directory::create(path)
    }

    /// Takes a sandbox's directory away. Blocks.
    pub(super) fn remove(&self, sandbox: &SandboxId) {
        let path = self.path(sandbox);
        if !self.recycle(&path) {
            remove(&path);
        }
    }

    fn recycle(&self, path: &Path) -> bool {
        let mut spares = lock(&self.spare);
        let Some(spares) = spares.as_mut() else {
            return false;
        };
        if spares.len() >= limits::SPARE_DIRECTORIES || !is_as_new(path) {
            return false;
        }
        let number = self.recycled.fetch_add(1, Ordering::Relaxed);
        let spare = self.root.join(format!("spare-{number}"));
        let renamed = fs::rename(path, &spare).is_ok();
        if renamed {
            spares.push(spare);
        }
        renamed
    }

    /// Lets nothing be used again: nothing is started any more. Blocks.
    pub(super) fn close(&self) {
        drop(lock(&self.spare).take());
    }
}

/// A directory that was just created, and is removed again when dropped before
/// it is kept.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    keep: bool,
}

impl Directory {
    fn create(path: PathBuf) -> io::Result<Self> {
        state_dir::create(&path, false)?;
        let directory = Self { path, keep: false };
        state_dir::create(&directory.files(), false)?;
        state_dir::create(&directory.temporary(), false)?;
        Ok(directory)
    }

    /// What the sandbox sees as its own.
    pub(super) fn files(&self) -> PathBuf {
        files(&self.path)
    }

    fn temporary(&self) -> PathBuf {
        temporary(&self.path)
    }

    pub(super) fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.keep {
            remove(&self.path);
        }
    }
}

/// What a sandbox sees as its own, below its directory.
pub(super) fn files(sandbox: &Path) -> PathBuf {
    sandbox.join("files")
}

pub(super) fn temporary(sandbox: &Path) -> PathBuf {
    sandbox.join("files").join(".tmp")
}

const RECORD: &str = "process";

/// Where the record of a sandbox's process stands.
pub(super) fn record(sandbox: &Path) -> PathBuf {
    sandbox.join(RECORD)
}

/// Where the record of an executed command stands.
pub(super) fn exec_record(sandbox: &Path, number: u64) -> PathBuf {
    sandbox.join(format!("{RECORD}-{number}"))
}

/// Starts the record of a process: the line with the boot.
pub(super) fn start_record(path: &Path, boot: &str) -> io::Result<File> {
    let mut record = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    writeln!(record, "{boot}")?;
    Ok(record)
}

/// The records of all processes of a sandbox.
pub(super) fn records(sandbox: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(sandbox).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let name = entry.file_name();
            name.as_encoded_bytes().starts_with(RECORD.as_bytes())
        })
        .map(|entry| entry.path())
        .collect()
}

/// Takes everything away but the output of the sandbox's own command, which is
/// readable when it has ended.
pub(super) fn strip(sandbox: &Path) {
    let is_output = |name: &std::ffi::OsStr| {
        let bytes = name.as_encoded_bytes();
        bytes.starts_with(b"stdout.") || bytes.starts_with(b"stderr.")
    };
    let mut kept = false;
    for entry in fs::read_dir(sandbox).into_iter().flatten().flatten() {
        if is_output(&entry.file_name()) {
            kept = true;
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        } else {
            // What stays goes with the directory.
            let _ = fs::remove_file(entry.path());
        }
    }
    if !kept {
        remove(sandbox);
    }
}

/// Whether a command left a directory as it was given: nothing in it, and no
/// output in files beside it.
fn is_as_new(path: &Path) -> bool {
    let holds_only = |directory: &Path, names: &[&str]| {
        let is_plain =
            |metadata: fs::Metadata| metadata.is_dir() && metadata.mode() & 0o7777 == 0o700;
        let is_expected = |entry: io::Result<fs::DirEntry>| {
            entry.is_ok_and(|entry| names.iter().any(|name| entry.file_name() == *name))
        };
        // A link is no directory.
        fs::symlink_metadata(directory).is_ok_and(is_plain)
            && fs::read_dir(directory).is_ok_and(|mut entries| entries.all(is_expected))
    };
    let files = path.join("files");
    holds_only(path, &["files", "process"])
        && holds_only(&files, &[".tmp"])
        && holds_only(&files.join(".tmp"), &[])
}

/// Removes a directory and everything in it, whatever its permissions. What
/// still cannot be removed is reported and left.
pub(crate) fn remove(path: &Path) {
    let mut result = Ok(());
    for _ in 0..limits::REMOVE_TRIES {
        result = fs::remove_dir_all(path);
        match &result {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => return,
            Err(_) => open_up(path),
        }
    }
    if let Err(error) = result {
        tracing::warn!(path = %path.display(), %error, "a directory cannot be removed");
    }
}

/// Gives the owner every right to a directory and all below it.
fn open_up(path: &Path) {
    let mut below = vec![path.to_owned()];
    while let Some(directory) = below.pop() {
        let _ = fs::set_permissions(&directory, Permissions::from_mode(0o700));
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        // Links are not followed.
        let inner = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        below.extend(inner.map(|entry| entry.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_as_new_is_used_again() {
        let parent = tempfile::tempdir().unwrap();
        let directories = Directories::new(parent.path().to_owned());
        let use_it = |number: u32, change: &dyn Fn(&Path)| {
            let id = SandboxId::from_text(format!("sb-{number}"));
            let directory = directories.create(&id).unwrap();
            assert!(is_as_new(&directory.path));
            drop(start_record(&record(&directory.path), "boot").unwrap());
            assert_eq!(fs::read(record(&directory.path)).unwrap(), b"boot\n");
            let inode = fs::metadata(directory.files()).unwrap().ino();
            change(&directory.path);
            directory.keep();
            directories.remove(&id);
            assert!(!directories.path(&id).exists());
            inode
        };
        let spares = || fs::read_dir(parent.path()).unwrap().count();
        let first = use_it(1, &|_| {});
        assert_eq!((use_it(2, &|_| {}), spares()), (first, 1));
        let changes: [&dyn Fn(&Path); 7] = [
            &|path| fs::write(path.join("files/file"), "x").unwrap(),
            &|path| fs::write(path.join("files/.tmp/file"), "x").unwrap(),
            &|path| fs::write(path.join("stdout.0"), "x").unwrap(),
            &|path| fs::remove_dir(path.join("files/.tmp")).unwrap(),
            &|path| fs::set_permissions(path.join("files"), Permissions::from_mode(0o755)).unwrap(),
            &|path| {
                fs::remove_dir_all(path.join("files")).unwrap();
                std::os::unix::fs::symlink("/", path.join("files")).unwrap();
            },
            &|path| fs::remove_dir_all(path).unwrap(),
        ];
        for (number, change) in (3..).zip(changes) {
            use_it(number, change);
            assert_eq!(spares(), 0, "change {number}");
        }
    }

    #[test]
    fn read_only_directories_go_too() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("sb-1");
        let directory = Directory::create(path.clone()).unwrap();
        let inner = directory.files().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("file"), "x").unwrap();
        for mode in [0o500, 0o000] {
            fs::set_permissions(&inner, Permissions::from_mode(mode)).unwrap();
        }
        drop(directory);
        assert!(!path.exists());
    }
}
