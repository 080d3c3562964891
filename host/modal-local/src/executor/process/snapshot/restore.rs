//! Lays a manifest into a directory.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, mknodat, utimensat};

use super::{
    blobs::Blobs,
    manifest::{Entry, Kind, Manifest, Time},
};

pub(super) fn restore(manifest: &Manifest, directory: &Path, blobs: &Blobs) -> io::Result<()> {
    let place = |path: &[u8]| directory.join(OsStr::from_bytes(path));
    for entry in &manifest.entries {
        let path = place(&entry.path);
        lay(entry, &path, &place, blobs).map_err(|error| named(&path, error))?;
    }
    // A directory's time changes with what is laid into it, and its mode may
    // forbid that: from the inside out.
    for entry in manifest.entries.iter().rev() {
        if entry.kind == Kind::Directory {
            let path = place(&entry.path);
            finish(entry, &path).map_err(|error| named(&path, error))?;
        }
    }
    Ok(())
}

fn lay(
    entry: &Entry,
    path: &Path,
    place: &impl Fn(&[u8]) -> PathBuf,
    blobs: &Blobs,
) -> io::Result<()> {
    match &entry.kind {
        Kind::Directory => match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            made => made,
        },
        Kind::File(hash) => {
            let mut file = create(path)?;
            blobs.restore(*hash, &mut file)?;
            drop(file);
            finish(entry, path)
        }
        Kind::HardLink(first) => fs::hard_link(place(first), path),
        Kind::Symlink(target) => {
            symlink(OsStr::from_bytes(target), path)?;
            set_time(entry.modified, path)
        }
        Kind::Fifo => {
            mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
            finish(entry, path)
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn finish(entry: &Entry, path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(entry.mode))?;
    set_time(entry.modified, path)
}

/// The time of the last access is not kept: reading a file for a snapshot
/// changes it.
fn set_time(modified: Time, path: &Path) -> io::Result<()> {
    let time = Timespec {
        tv_sec: modified.seconds,
        tv_nsec: modified.nanoseconds.into(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
