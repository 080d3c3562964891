//! Reads a directory into a manifest and blobs.

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString},
    fs::File,
    io,
    os::fd::OwnedFd,
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat},
    io::Errno,
};

use super::{
    blobs::Blobs,
    manifest::{Entry, Kind, Manifest, Time},
};
use crate::limits;

pub(super) fn take(directory: &Path, blobs: &Blobs) -> io::Result<Manifest> {
    let root = openat(CWD, directory, DIRECTORY, Mode::empty())?;
    let mut walk = Walk {
        blobs,
        manifest: Manifest::default(),
        links: BTreeMap::new(),
    };
    let stat = fstat(&root)?;
    walk.add(Vec::new(), &stat, Kind::Directory);
    walk.directory(root, &[], 0)?;
    Ok(walk.manifest)
}

/// Links are never followed: a path that a command exchanges meanwhile leads
/// nowhere else.
const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);
const DIRECTORY: OFlags = FLAGS.union(OFlags::DIRECTORY);

struct Walk<'a> {
    blobs: &'a Blobs,
    manifest: Manifest,
    /// The first path of every file that has several.
    links: BTreeMap<(u64, u64), Vec<u8>>,
}

impl Walk<'_> {
    fn directory(&mut self, directory: OwnedFd, path: &[u8], depth: usize) -> io::Result<()> {
        if depth > limits::DIRECTORY_DEPTH {
            return Err(named(path, io::Error::from(Errno::NAMETOOLONG)));
        }
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let name = entry?.file_name().to_owned();
            if !matches!(name.to_bytes(), b"." | b"..") {
                names.push(name);
            }
        }
        names.sort();
        for name in names {
            let path = join(path, &name);
            match self.entry(&directory, &name, &path, depth) {
                // A command removed it meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => done?,
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        directory: &OwnedFd,
        name: &CStr,
        path: &[u8],
        depth: usize,
    ) -> io::Result<()> {
        let failed = |error: Errno| named(path, error.into());
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let inner = openat(directory, name, DIRECTORY, Mode::empty()).map_err(failed)?;
                self.add(path.to_vec(), &stat, Kind::Directory);
                self.directory(inner, path, depth + 1)?;
            }
            FileType::RegularFile => self.file(directory, name, path)?,
            FileType::Symlink => {
                let target = readlinkat(directory, name, Vec::new()).map_err(failed)?;
                self.add(path.to_vec(), &stat, Kind::Symlink(target.into_bytes()));
            }
            FileType::Fifo => self.add(path.to_vec(), &stat, Kind::Fifo),
            // They mean nothing without what stands behind them.
            _ => {}
        }
        Ok(())
    }

    fn file(&mut self, directory: &OwnedFd, name: &CStr, path: &[u8]) -> io::Result<()> {
        let file = openat(directory, name, FLAGS, Mode::empty());
        let mut file = File::from(file.map_err(|error| named(path, error.into()))?);
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        #[allow(
            clippy::unnecessary_cast,
            reason = "the fields have other types on other processors"
        )]
        let id = (stat.st_dev as u64, stat.st_ino as u64);
        if stat.st_nlink > 1
            && let Some(first) = self.links.get(&id)
        {
            let link = Kind::HardLink(first.clone());
            self.add(path.to_vec(), &stat, link);
            return Ok(());
        }
        let kept = self.blobs.keep(&mut file, &stat);
        let hash = kept.map_err(|error| named(path, error))?;
        if stat.st_nlink > 1 {
            self.links.insert(id, path.to_vec());
        }
        self.add(path.to_vec(), &stat, Kind::File(hash));
        Ok(())
    }

    fn add(&mut self, path: Vec<u8>, stat: &Stat, kind: Kind) {
        #[allow(
            clippy::unnecessary_cast,
            reason = "the fields have other types on other processors"
        )]
        let (seconds, nanoseconds) = (stat.st_mtime as i64, stat.st_mtime_nsec as u64);
        self.manifest.entries.push(Entry {
            path,
            mode: stat.st_mode & 0o7777,
            modified: Time {
                seconds,
                nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
            },
            kind,
        });
    }
}

fn join(path: &[u8], name: &CString) -> Vec<u8> {
    let mut joined = path.to_vec();
    if !joined.is_empty() {
        joined.push(b'/');
    }
    joined.extend_from_slice(name.to_bytes());
    joined
}

/// Says which file it was.
fn named(path: &[u8], error: io::Error) -> io::Error {
    let path = String::from_utf8_lossy(path);
    io::Error::new(error.kind(), format!("{path}: {error}"))
}
