//! Snapshots of sandboxes' directories.
//!
//! ```text
//! snapshots/blobs/HASH      the content of a file, once whoever has it
//!           manifests/HASH  what a directory looked like: paths, modes, times
//!                           and links, and which blobs its files are
//!           new/…           what is being written
//! ```
//!
//! The hash of the manifest is the snapshot: the same directory always gives
//! the same one. Files are copied (cloned where the file system can), never
//! linked: a sandbox that changes a file must not change a snapshot.

mod blobs;
mod manifest;
mod restore;
mod take;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use self::{blobs::Blobs, manifest::Manifest};
use crate::{executor::Hash, state_dir};

/// The snapshots of a state directory. All methods block.
#[derive(Debug)]
pub(super) struct Snapshots {
    manifests: PathBuf,
    blobs: Blobs,
    /// Held for writing while snapshots are forgotten, so that none loses a
    /// blob that it is about to name.
    uses: RwLock<()>,
}

impl Snapshots {
    /// Below `root`, which is created.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let manifests = root.join("manifests");
        state_dir::create(root, false)?;
        state_dir::create(&manifests, false)?;
        Ok(Self {
            manifests,
            blobs: Blobs::open(root)?,
            uses: RwLock::default(),
        })
    }

    /// Takes a snapshot of a directory.
    ///
    /// Commands may write meanwhile: each file is as it was when it was read.
    /// Sockets and devices are left out, as archivers leave them out.
    pub(super) fn take(&self, directory: &Path) -> io::Result<Hash> {
        let _uses = self.read();
        let manifest = take::take(directory, &self.blobs)?.encode();
        let hash = Hash::of(&manifest);
        let path = self.manifest(hash);
        if !path.exists() {
            self.blobs.write(&manifest, &path)?;
        }
        Ok(hash)
    }

    /// Lays a snapshot into a directory that exists, and holds at most empty
    /// directories of the same names.
    pub(super) fn restore(&self, snapshot: Hash, directory: &Path) -> io::Result<()> {
        let _uses = self.read();
        let manifest = self.load(snapshot)?;
        restore::restore(&manifest, directory, &self.blobs)
    }

    /// Drops every snapshot but some, and the blobs that only the others had.
    pub(super) fn retain(&self, wanted: impl Fn(Hash) -> bool) -> io::Result<()> {
        let _uses = self.write();
        let mut used = BTreeSet::new();
        for entry in fs::read_dir(&self.manifests)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(hash) = name.and_then(Hash::parse) else {
                continue;
            };
            if !wanted(hash) {
                fs::remove_file(&path)?;
                continue;
            }
            used.extend(self.load(hash)?.blobs());
        }
        self.blobs.retain(|blob| used.contains(&blob))
    }

    /// Leaves nothing behind where there is no snapshot. None is taken any more.
    pub(super) fn close(&self) {
        for directory in self.blobs.directories().chain([self.manifests.as_path()]) {
            // Not when something is kept.
            let _ = fs::remove_dir(directory);
        }
        if let Some(root) = self.manifests.parent() {
            let _ = fs::remove_dir(root);
        }
    }

    fn load(&self, snapshot: Hash) -> io::Result<Manifest> {
        Manifest::decode(&fs::read(self.manifest(snapshot))?)
    }

    fn manifest(&self, snapshot: Hash) -> PathBuf {
        self.manifests.join(snapshot.to_string())
    }

    fn read(&self) -> RwLockReadGuard<'_, ()> {
        self.uses
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, ()> {
        self.uses
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
