//! `flavor sandbox cp`

use super::open;
use crate::args::{CpArgs, Known, Place};
use crate::exit::{Exit, Failure};
use crate::{remote, terminal};
use flavor_host::session::{Bytestream, TransferError};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

pub(crate) async fn cp(args: CpArgs) -> Result<Exit, Failure> {
    let CpArgs {
        known,
        source,
        target,
    } = args;
    match (source, target) {
        (Place::Sandbox { sandbox, path }, Place::Local(file)) => {
            let copying = async {
                // From here on an interrupt no longer ends the process by itself.
                let target = Target::new(&file, &path)?;
                let contents = download(&known, &sandbox, &path).await?;
                target.fill(contents).await
            };
            remote::interruptible(copying, "nothing was written").await
        }
        (Place::Sandbox { sandbox, path }, Place::Stream) => {
            let copying = async {
                let contents = download(&known, &sandbox, &path).await?;
                contents.pour(tokio::io::stdout(), "standard output").await
            };
            remote::interruptible(copying, "not everything was written").await
        }
        (Place::Local(file), Place::Sandbox { sandbox, path }) => {
            let contents = readable(&file)?;
            let path = named_like(path, &file)?;
            upload(
                &known,
                &sandbox,
                path,
                contents,
                &file.display().to_string(),
            )
            .await
        }
        (Place::Stream, Place::Sandbox { sandbox, path }) => {
            let contents = tokio::io::stdin();
            upload(&known, &sandbox, path, contents, "standard input").await
        }
        (Place::Sandbox { .. }, Place::Sandbox { .. }) => Err(Failure::bad_input(
            "both sides are in sandboxes: copy through this machine, such as with `flavor sandbox \
             cp SANDBOX:PATH - | flavor sandbox cp - OTHER:PATH`",
        )),
        _ => Err(Failure::bad_input(
            "neither side is in a sandbox: write one as SANDBOX:PATH",
        )),
    }?;
    Ok(Exit::Done)
}

/// What a file in a sandbox holds, and how the user calls it.
struct Contents {
    name: String,
    pieces: Bytestream,
}

async fn download(known: &Known, sandbox: &str, path: &str) -> Result<Contents, Failure> {
    let session = open(known, sandbox).await?;
    let name = format!("{sandbox}:{path}");
    let pieces = session.download(path).await;
    let pieces = pieces.map_err(|error| Failure::from(error).at(&name))?;
    Ok(Contents { name, pieces })
}

impl Contents {
    async fn pour(mut self, mut to: impl AsyncWrite + Unpin, target: &str) -> Result<(), Failure> {
        let unwritable = |error: io::Error| {
            Failure::new(Exit::Failed, format!("{target} cannot be written: {error}"))
        };
        while let Some(piece) = self.pieces.next().await {
            let piece = piece.map_err(|error| Failure::from(error).at(&self.name))?;
            to.write_all(&piece).await.map_err(unwritable)?;
        }
        to.flush().await.map_err(unwritable)
    }
}

/// Copies into a sandbox.
async fn upload(
    known: &Known,
    sandbox: &str,
    path: String,
    contents: impl AsyncRead + Send + 'static,
    name: &str,
) -> Result<(), Failure> {
    let copying = async {
        let session = open(known, sandbox).await?;
        session
            .upload(&path, contents)
            .await
            .map_err(|error| match error {
                TransferError::Plugin(error) => {
                    Failure::from(error).at(&format!("{sandbox}:{path}"))
                }
                error => Failure::bad_input(format!(
                    "{name} cannot be read to its end: {error}; {sandbox}:{path} holds what was \
                     read before"
                )),
            })
    };
    let left = format!("{sandbox}:{path} may be there with a part of its contents");
    remote::interruptible(copying, &left).await?;
    Ok(())
}

/// A file on this machine, to be read.
fn readable(file: &Path) -> Result<File, Failure> {
    let unreadable = |error: io::Error| {
        Failure::bad_input(format!("{} cannot be read: {error}", file.display()))
    };
    let opened = fs::File::open(file).map_err(unreadable)?;
    match opened.metadata().map_err(unreadable)?.is_dir() {
        true => Err(Failure::bad_input(format!(
            "{0} is a directory: copy its files one by one, or as one with `tar -c {0} | flavor \
             sandbox exec SANDBOX tar -x`",
            file.display()
        ))),
        false => Ok(File::from_std(opened)),
    }
}

/// A path in a sandbox that ends with `/` is a directory, and the file keeps its name.
fn named_like(path: String, file: &Path) -> Result<String, Failure> {
    if !path.ends_with('/') {
        return Ok(path);
    }
    match file.file_name().and_then(|name| name.to_str()) {
        Some(name) => Ok(path + name),
        None => Err(Failure::bad_input(format!(
            "{} has no name to go by in {path}: write one there",
            file.display()
        ))),
    }
}

/// A file on this machine that is to be there as a whole or not at all.
struct Target {
    file: PathBuf,
    beside: NamedTempFile,
}

impl Target {
    /// For what is called so in a sandbox.
    fn new(file: &Path, path: &str) -> Result<Self, Failure> {
        let mut file = file.to_owned();
        if file.is_dir() {
            let name = path.rsplit('/').next().filter(|name| !name.is_empty());
            file.push(
                name.ok_or_else(|| Failure::bad_input(format!("{path} names no file: write one")))?,
            );
        }
        // What a link leads to is replaced, not the link.
        let file = fs::canonicalize(&file).unwrap_or(file);
        let directory = match file.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        // The error of what is made in it would name a file that nobody knows.
        fs::metadata(directory).map_err(|error| unwritable(&file, &error))?;
        let mode = match fs::metadata(&file) {
            Ok(known) if known.is_file() => known.permissions().mode(),
            Ok(_) => {
                return Err(Failure::bad_input(format!(
                    "{} is there already, and no file",
                    file.display()
                )));
            }
            // Less what the process takes away.
            Err(_) => 0o666,
        };
        let beside = tempfile::Builder::new()
            .prefix(".flavor-")
            .permissions(fs::Permissions::from_mode(mode))
            .tempfile_in(directory)
            .map_err(|error| unwritable(&file, &error))?;
        Ok(Self { file, beside })
    }

    async fn fill(self, contents: Contents) -> Result<(), Failure> {
        let Self { file, beside } = self;
        let opened = beside.as_file().try_clone();
        let opened = opened.map_err(|error| unwritable(&file, &error))?;
        let name = file.display().to_string();
        contents.pour(File::from_std(opened), &name).await?;
        let persisted = beside.persist(&file);
        persisted.map_err(|error| unwritable(&file, &error.error))?;
        Ok(())
    }
}

fn unwritable(file: &Path, error: &io::Error) -> Failure {
    let name = terminal::escape(&file.display().to_string());
    Failure::new(Exit::Failed, format!("{name} cannot be written: {error}"))
}
