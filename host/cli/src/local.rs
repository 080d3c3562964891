//! The local Modal inside this process, for `--on local`.

use crate::exit::{Exit, Failure};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, MetadataExt as _};
use flavor_host::credentials::Secret;
use flavor_host::credentials::modal::TokenPair;
use flavor_host::state::{RunDir, StateDir};
use flavor_host::{Digest, Target};
use modal_local::{Options, PrepareSandbox, Server, State};
use pipeline_file::RelativePath;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A server that lives as long as one run.
pub(crate) struct Local {
    server: Server,
}

impl Local {
    /// Starts it. Every sandbox finds the given files in its directory, at the
    /// same relative paths that they have next to the pipeline file.
    pub(crate) async fn start(run: &RunDir, files: LocalFiles) -> Result<Self, Failure> {
        let options = Options {
            state: State::Removed(run.local()),
            prepare: Some(Arc::new(move |sandbox: &PrepareSandbox<'_>| {
                files.copy_to(sandbox.directory)
            })),
            ..Options::default()
        };
        let server = Server::start(options).await.map_err(|error| {
            Failure::new(
                Exit::Failed,
                format!("the local Modal cannot be started: {error}"),
            )
        })?;
        Ok(Self { server })
    }

    pub(crate) fn target(&self) -> Result<Target, Failure> {
        let credentials = self.server.credentials();
        let secret = Secret::new(credentials.token_secret.clone());
        let pair = TokenPair::new(credentials.token_id.clone(), secret)?;
        Ok(Target::new(&self.server.url(), pair)?)
    }

    /// Ends it, its sandboxes, and all traces of them.
    pub(crate) async fn shutdown(self) {
        self.server.shutdown().await;
    }
}

/// Ends what runs of killed processes left running on this machine.
pub(crate) async fn end_leftovers(state: &StateDir) {
    let Ok(left) = leftovers(state) else { return };
    for run in left {
        if let Err(failure) = end_leftover(state, &run).await {
            tracing::warn!("{}", failure.message());
        }
    }
}

/// Runs that have a local Modal which no process looks after any more.
pub(crate) fn leftovers(state: &StateDir) -> io::Result<Vec<String>> {
    let mut left = Vec::new();
    for run in state.run_dirs()? {
        let directory = state.run_dir(&run)?;
        // Whoever holds the lock still looks after its own.
        if directory.local().is_dir() && directory.try_lock()?.is_some() {
            left.push(run);
        }
    }
    Ok(left)
}

/// Ends what a run left running on this machine. False when somebody has come to look
/// after it.
pub(crate) async fn end_leftover(state: &StateDir, run: &str) -> Result<bool, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(
            Exit::Failed,
            format!("what run {run} left behind cannot be ended: {error}"),
        )
    };
    let directory = state.run_dir(run).map_err(|error| failed(&error))?;
    let lock = directory.try_lock().map_err(|error| failed(&error))?;
    let Some(_lock) = lock else { return Ok(false) };
    let options = Options {
        state: State::Removed(directory.local()),
        ..Options::default()
    };
    let server = Server::start(options).await;
    server.map_err(|error| failed(&error))?.shutdown().await;
    Ok(true)
}

/// Files that every sandbox gets.
#[derive(Debug)]
pub(crate) struct LocalFiles {
    /// What they are relative to; none when there are none.
    source: Option<Dir>,
    files: Vec<RelativePath>,
}

impl LocalFiles {
    /// The files of a pipeline, which must all be there.
    pub(crate) fn new(pipeline: &Path, files: &[RelativePath]) -> Result<Self, Failure> {
        if files.is_empty() {
            // Whoever takes a run up again may find no directory either.
            return Ok(Self {
                source: None,
                files: Vec::new(),
            });
        }
        let directory = match pipeline.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let unusable = |what: &Path, error: io::Error| {
            let what = what.display();
            Failure::bad_input(format!("{}: files: {what}: {error}", pipeline.display()))
        };
        let source = Dir::open_ambient_dir(directory, ambient_authority())
            .map_err(|error| unusable(directory, error))?;
        for file in files {
            source
                .metadata(file.as_str())
                .map_err(|error| unusable(Path::new(file.as_str()), error))?;
        }
        Ok(Self {
            source: Some(source),
            files: files.to_vec(),
        })
    }

    /// Stands for the files: for their paths, contents, and who may execute them. None
    /// when there are no files.
    pub(crate) fn digest(&self) -> io::Result<Option<Digest>> {
        let Some(source) = &self.source else {
            return Ok(None);
        };
        let mut found = Vec::new();
        for file in &self.files {
            list(source, Path::new(file.as_str()), &[], &mut found)?;
        }
        found.sort_unstable();
        Ok((!found.is_empty()).then(|| Digest::of(found.join("\0").as_bytes())))
    }

    fn copy_to(&self, directory: &Path) -> io::Result<()> {
        let Some(source) = &self.source else {
            return Ok(());
        };
        let target = Dir::open_ambient_dir(directory, ambient_authority())?;
        for file in &self.files {
            let path = Path::new(file.as_str());
            if let Some(parent) = path.parent() {
                target.create_dir_all(parent)?;
            }
            copy(source, &target, path, &[])?;
        }
        Ok(())
    }
}

/// Copies a file, or a directory with all that is in it. `above`: the directories
/// that it is in.
fn copy(source: &Dir, target: &Dir, path: &Path, above: &[FileId]) -> io::Result<()> {
    let failed = |error: io::Error| {
        let path = path.display();
        io::Error::new(error.kind(), format!("{path}: {error}"))
    };
    let metadata = source.metadata(path).map_err(failed)?;
    if !metadata.is_dir() {
        return source.copy(path, target, path).map(|_| ()).map_err(failed);
    }
    let above = enter(&metadata, above).map_err(failed)?;
    target.create_dir_all(path).map_err(failed)?;
    for entry in source.read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        copy(source, target, &path.join(name), &above)?;
    }
    Ok(())
}

/// One text for each file below a path, and for each directory.
fn list(source: &Dir, path: &Path, above: &[FileId], found: &mut Vec<String>) -> io::Result<()> {
    let failed = |error: io::Error| {
        let path = path.display();
        io::Error::new(error.kind(), format!("{path}: {error}"))
    };
    let metadata = source.metadata(path).map_err(failed)?;
    if !metadata.is_dir() {
        let mut content = source.open(path).map_err(failed)?;
        let digest = Digest::of_reader(&mut content).map_err(failed)?;
        let executable = metadata.mode() & 0o111;
        found.push(format!("{}\0{executable:o}\0{digest}", path.display()));
        return Ok(());
    }
    found.push(format!("{}/", path.display()));
    let above = enter(&metadata, above).map_err(failed)?;
    for entry in source.read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        list(source, &path.join(name), &above, found)?;
    }
    Ok(())
}

/// The directories above what is in a directory.
fn enter(directory: &Metadata, above: &[FileId]) -> io::Result<Vec<FileId>> {
    let id = FileId(directory.dev(), directory.ino());
    if above.contains(&id) {
        return Err(io::Error::other(
            "the link leads to a directory that it is in",
        ));
    }
    Ok([above, &[id]].concat())
}

/// What tells files apart, whatever paths lead to them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileId(u64, u64);
