//! A file as the output of the tool, read when somebody asks for it: no copy is
//! kept.

use std::{io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use cap_std::fs::{File, Metadata, MetadataExt, OpenOptions, OpenOptionsExt};
use futures::{FutureExt, future::BoxFuture};
use rustix::{buffer::spare_capacity, fs::OFlags, io::pread};
use tokio::task::spawn_blocking;

use super::place::{Inside, Place};
use crate::{
    executor::{Chunk, Output, Pin},
    limits,
};

/// A file as it was when it was asked for.
#[derive(Debug)]
pub(super) struct FileOutput(Arc<Source>);

#[derive(Debug)]
struct Source {
    place: Place,
    path: PathBuf,
    version: Version,
}

/// What changes with the contents of a file.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// Opens for reading, without waiting for whoever writes into a named pipe.
pub(super) fn open(inside: &Inside) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    inside.root.open_with(&inside.path, &options)
}

impl FileOutput {
    pub(super) fn new(place: &Place, inside: Inside, metadata: &Metadata) -> Self {
        Self(Arc::new(Source {
            place: place.clone(),
            path: inside.path,
            version: Version::of(metadata),
        }))
    }
}

impl Source {
    /// Blocks.
    fn read(&self, offset: u64) -> io::Result<Option<Chunk>> {
        if offset >= self.version.length {
            return Ok(None);
        }
        let file = open(&Inside {
            root: self.place.open()?,
            path: self.path.clone(),
        })?;
        let changed = || io::Error::other("the file was changed while it was read");
        if Version::of(&file.metadata()?) != self.version {
            return Err(changed());
        }
        let rest = self.version.length - offset;
        let length =
            usize::try_from(rest).map_or(limits::FILE_CHUNK, |rest| rest.min(limits::FILE_CHUNK));
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let position = offset + bytes.len() as u64;
            if pread(&file, spare_capacity(&mut bytes), position)? == 0 {
                return Err(changed());
            }
        }
        // A vector may have more room than it was asked for.
        bytes.truncate(length);
        Ok(Some(Chunk {
            start: offset,
            bytes: Bytes::from(bytes),
        }))
    }
}

impl Output for FileOutput {
    fn read(&self, offset: u64) -> BoxFuture<'_, io::Result<Option<Chunk>>> {
        let source = Arc::clone(&self.0);
        async move { spawn_blocking(move || source.read(offset)).await? }.boxed()
    }

    fn pin(&self, _: u64) -> Option<Pin> {
        None
    }

    fn head(&self) -> Bytes {
        Bytes::new()
    }

    /// The file belongs to the sandbox.
    fn kept(&self) -> u64 {
        0
    }

    fn discard(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}
