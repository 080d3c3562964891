//! The directory that a server owns: its lock, its database, snapshots, and a
//! directory per sandbox.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

use crate::limits;

/// Where a server keeps its state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// In a new directory under `TMPDIR`, removed at the end. What a killed
    /// process leaves there, nobody clears away.
    #[default]
    Temporary,
    /// In this directory, created when missing. At the end the database and the
    /// lock stay, snapshots, and the output of sandboxes; the next server on it
    /// remembers what ran, and ends what a killed one left running.
    Kept(PathBuf),
    /// As `Kept`, but removed altogether at an orderly end.
    Removed(PathBuf),
}

/// A state directory, locked. One living server per directory: a second one
/// would end the first one's sandboxes.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    _temporary: Option<TempDir>,
    lock: File,
}

/// Why a state directory cannot be used.
#[derive(Debug)]
pub(crate) enum StateDirError {
    InUse,
    Io(io::Error),
}

impl From<io::Error> for StateDirError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl StateDir {
    /// Creates it if need be, and locks it; waits a moment for the lock.
    pub(crate) async fn open(state: &State) -> Result<Self, StateDirError> {
        let (path, temporary) = match state {
            State::Temporary => {
                let temporary = tempfile::Builder::new().prefix("modal-local-").tempdir()?;
                (temporary.path().to_owned(), Some(temporary))
            }
            State::Kept(path) | State::Removed(path) => (std::path::absolute(path)?, None),
        };
        create(&path, true)?;
        let lock = Self::acquire(&path.join("lock")).await?;
        let directory = Self {
            path,
            _temporary: temporary,
            lock,
        };
        create(&directory.sandboxes(), false)?;
        Ok(directory)
    }

    async fn acquire(path: &Path) -> Result<File, StateDirError> {
        let mut waited = Duration::ZERO;
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(path)?;
            match file.try_lock() {
                // Its last owner may have removed the whole directory.
                Ok(()) if is_still(&file, path)? => return Ok(file),
                Ok(()) | Err(TryLockError::WouldBlock) if waited >= limits::LOCK_WAIT => {
                    return Err(StateDirError::InUse);
                }
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
            tokio::time::sleep(limits::LOCK_POLL).await;
            waited += limits::LOCK_POLL;
        }
    }

    /// Lets the next server have it. Nothing is written to it any more.
    pub(crate) fn release(&self) {
        // Else it is free when the last owner is gone.
        let _ = self.lock.unlock();
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("state.db")
    }

    /// The file with the text that tells this directory's processes apart from
    /// those of every other one.
    pub(crate) fn instance(&self) -> PathBuf {
        self.path.join("instance")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    pub(crate) fn sandboxes(&self) -> PathBuf {
        self.path.join("sandboxes")
    }
}

fn is_still(file: &File, path: &Path) -> io::Result<bool> {
    match path.metadata() {
        Ok(there) => {
            let here = file.metadata()?;
            Ok((here.dev(), here.ino()) == (there.dev(), there.ino()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Creates a directory that only its owner can enter.
pub(crate) fn create(path: &Path, with_parents: bool) -> io::Result<()> {
    match DirBuilder::new()
        .mode(0o700)
        .recursive(with_parents)
        .create(path)
    {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }
}
