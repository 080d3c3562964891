//! The state directory: the run store, and one directory for each run.
//!
//! ```text
//! runs.db            the run store
//! runs/RUN/lock      locked by the process that controls the run
//! runs/RUN/outputs   what its steps wrote
//! runs/RUN/shared/   what its steps left for each other and for the user
//! runs/RUN/local/    an embedded local Modal, while it lives
//! ```

use crate::contract::{self, RunStatus, StopMode, StoreError};
use crate::error::Error;
use crate::outputs::Outputs;
use crate::store::{RunStore as _, SqliteStore, StoreOpenError};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _};
use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// A state directory. It belongs to one user and is readable by that user only.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    runs: Dir,
    store: SqliteStore,
}

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be created or read.
    #[error("the state directory {} cannot be used: {error}", path.display())]
    Directory {
        /// Where it is.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// Its run store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreOpenError),
}

/// Why a run is not forgotten, or not quite.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// Its directory cannot be removed.
    #[error("{} cannot be removed: {error}", path.display())]
    Directory {
        /// Where it is.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// Its record cannot be removed.
    #[error(transparent)]
    Store(Error),
}

impl From<StoreError> for ForgetError {
    fn from(error: StoreError) -> Self {
        Self::Store(contract::Error::Store(error).into())
    }
}

impl StateDir {
    /// Opens a state directory, and creates it if need be. `durable`: what is
    /// recorded survives a power cut.
    ///
    /// # Errors
    ///
    /// When it cannot be used.
    pub fn open(path: &Path, durable: bool) -> Result<Self, StateError> {
        let failed = |error| StateError::Directory {
            path: path.to_owned(),
            error,
        };
        let runs = private_directory(path)
            .and_then(|directory| subdirectory(&directory, "runs"))
            .map_err(failed)?;
        let file = path.join("runs.db");
        // SQLite takes an empty file for a new one.
        if is_empty(&file).map_err(failed)? && has_entries(&runs).map_err(failed)? {
            let finding = "it is empty, although there are directories of runs".to_owned();
            return Err(StoreOpenError::Damaged { file, finding }.into());
        }
        Ok(Self {
            store: SqliteStore::open(&file, durable)?,
            path: path.to_owned(),
            runs,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run store.
    pub fn store(&self) -> &SqliteStore {
        &self.store
    }

    /// The directory of a run, created if need be.
    ///
    /// # Errors
    ///
    /// When it cannot be created.
    pub fn run_dir(&self, run: &str) -> io::Result<RunDir> {
        Ok(RunDir {
            path: self.path.join("runs").join(run),
            directory: subdirectory(&self.runs, run)?,
        })
    }

    /// Names of the directories of runs, for finding what was left behind.
    ///
    /// # Errors
    ///
    /// When they cannot be listed.
    pub fn run_dirs(&self) -> io::Result<Vec<String>> {
        let names = self.runs.entries()?.map(|entry| {
            let name = entry?.file_name();
            Ok(name.to_str().map(ToOwned::to_owned))
        });
        names.filter_map(Result::transpose).collect()
    }

    /// Forgets a run that has ended: what its steps wrote and shared, then its record.
    /// May be repeated when it fails in between. False when there is no such run, it
    /// has not ended, or somebody controls it.
    ///
    /// # Errors
    ///
    /// When something of it is still there.
    pub async fn forget(&self, run: &str) -> Result<bool, ForgetError> {
        let recorded = self.store.run(run).await?;
        if !recorded.is_some_and(|run| run.summary.status.is_final()) {
            return Ok(false);
        }
        let failed = |error| ForgetError::Directory {
            path: self.path.join("runs").join(run),
            error,
        };
        let directory = self.run_dir(run).map_err(failed)?;
        let Some(_lock) = directory.try_lock().map_err(failed)? else {
            return Ok(false);
        };
        self.runs.remove_dir_all(run).map_err(failed)?;
        Ok(self.store.forget(run).await?)
    }

    /// How a run stands, the life of its controller considered.
    pub fn standing(&self, run: &str, recorded: RunStatus) -> Standing {
        if recorded.is_final() {
            return Standing::Recorded(recorded);
        }
        match self
            .run_dir(run)
            .and_then(|directory| directory.is_controlled())
        {
            Ok(false) => Standing::Interrupted,
            Ok(true) | Err(_) => Standing::Recorded(recorded),
        }
    }

    /// Asks for a stop of a run in this or another process.
    ///
    /// # Errors
    ///
    /// When it cannot be recorded.
    pub async fn request_stop(&self, run: &str, mode: StopMode) -> Result<(), StoreError> {
        self.store.request_stop(run, mode).await
    }
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// As the store has it.
    Recorded(RunStatus),
    /// Not ended, and its controller is gone.
    Interrupted,
}

impl Standing {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Recorded(status) => status.word(),
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether anything of it may still be going on.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Recorded(status) if !status.is_final())
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The directory of one run.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    directory: Dir,
}

/// Held by whoever controls a run; given up when dropped, also by the death of
/// the process.
#[derive(Debug)]
pub struct RunLock(#[allow(dead_code, reason = "held for its lock")] File);

impl RunDir {
    /// Takes control of the run; none when somebody else has it.
    ///
    /// # Errors
    ///
    /// When the lock file cannot be used.
    pub fn try_lock(&self) -> io::Result<Option<RunLock>> {
        let file = self.lock_file()?;
        match file.try_lock() {
            Ok(()) => Ok(Some(RunLock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether somebody controls the run. The lock for asking is a shared one: two
    /// who ask do not take each other for a controller.
    fn is_controlled(&self) -> io::Result<bool> {
        match self.lock_file()?.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn lock_file(&self) -> io::Result<File> {
        let mut options = cap_std::fs::OpenOptions::new();
        options.create(true).write(true).truncate(false);
        Ok(self.directory.open_with("lock", &options)?.into_std())
    }

    /// What its steps wrote.
    ///
    /// # Errors
    ///
    /// When the directory is gone.
    pub fn outputs(&self) -> io::Result<Outputs> {
        Ok(Outputs::new(self.directory.try_clone()?))
    }

    /// What its steps leave for each other and for the user. Created if need be.
    ///
    /// # Errors
    ///
    /// When it cannot be created.
    pub fn shared(&self) -> io::Result<PathBuf> {
        subdirectory(&self.directory, "shared")?;
        Ok(self.path.join("shared"))
    }

    /// Where an embedded local Modal lives while the run does. Not created here.
    pub fn local(&self) -> PathBuf {
        self.path.join("local")
    }
}

/// Whether a file is there and holds nothing.
fn is_empty(file: &Path) -> io::Result<bool> {
    match file.metadata() {
        Ok(metadata) => Ok(metadata.len() == 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn has_entries(directory: &Dir) -> io::Result<bool> {
    Ok(directory.entries()?.next().transpose()?.is_some())
}

fn private_directory(path: &Path) -> io::Result<Dir> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    ignore_existing(builder.create(path))?;
    Dir::open_ambient_dir(path, ambient_authority())
}

fn subdirectory(parent: &Dir, name: &str) -> io::Result<Dir> {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    ignore_existing(parent.create_dir_with(name, &builder))?;
    parent.open_dir(name)
}

fn ignore_existing(created: io::Result<()>) -> io::Result<()> {
    match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{StateDir, StateError};
    use crate::store::StoreOpenError;

    #[test]
    fn an_emptied_store_is_not_a_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::open(directory.path(), false).unwrap();
        state.run_dir("r").unwrap();
        drop(state);
        let file = directory.path().join("runs.db");
        std::fs::write(&file, "").unwrap();
        let refused = StateDir::open(directory.path(), false);
        assert!(
            matches!(
                refused,
                Err(StateError::Store(StoreOpenError::Damaged { .. }))
            ),
            "{refused:?}"
        );
        // Moving it away is how to begin a new one.
        std::fs::remove_file(&file).unwrap();
        StateDir::open(directory.path(), false).unwrap();
    }
}
