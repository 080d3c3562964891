//! The local Modal inside this process, for `--on local`.

use crate::exit::{Exit, Failure};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt as _};
use flavor_host::Target;
use flavor_host::credentials::Secret;
use flavor_host::credentials::modal::TokenPair;
use flavor_host::state::{RunDir, StateDir};
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
    let Ok(runs) = state.run_dirs() else { return };
    for run in runs {
        let Ok(directory) = state.run_dir(&run) else {
            continue;
        };
        if !directory.local().is_dir() {
            continue;
        }
        // Whoever holds the lock still looks after its own.
        if let Ok(Some(_lock)) = directory.try_lock() {
            let options = Options {
                state: State::Removed(directory.local()),
                ..Options::default()
            };
            match Server::start(options).await {
                Ok(server) => server.shutdown().await,
                Err(error) => tracing::warn!("what run {run} left behind cannot be ended: {error}"),
            }
        }
    }
}

/// Files that every sandbox gets.
#[derive(Debug)]
pub(crate) struct LocalFiles {
    source: Dir,
    files: Vec<RelativePath>,
}

impl LocalFiles {
    /// The files of a pipeline, which must all be there.
    pub(crate) fn new(pipeline: &Path, files: &[RelativePath]) -> Result<Self, Failure> {
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
            source,
            files: files.to_vec(),
        })
    }

    fn copy_to(&self, directory: &Path) -> io::Result<()> {
        if self.files.is_empty() {
            return Ok(());
        }
        let target = Dir::open_ambient_dir(directory, ambient_authority())?;
        for file in &self.files {
            let path = Path::new(file.as_str());
            if let Some(parent) = path.parent() {
                target.create_dir_all(parent)?;
            }
            copy(&self.source, &target, path, &[])?;
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
    let id = FileId(metadata.dev(), metadata.ino());
    if above.contains(&id) {
        return Err(failed(io::Error::other(
            "the link leads to a directory that it is in",
        )));
    }
    let above = [above, &[id]].concat();
    target.create_dir_all(path).map_err(failed)?;
    for entry in source.read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        copy(source, target, &path.join(name), &above)?;
    }
    Ok(())
}

/// What tells files apart, whatever paths lead to them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileId(u64, u64);
