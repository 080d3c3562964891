//! The file tool of Modal's sandboxes, which the file operations of the
//! official clients execute: here without a process, and for a sandbox's own
//! directory only.
//!
//! It is asked with one JSON argument, reads what is to be written from its
//! stdin, and says on stderr, as JSON, what went wrong.

mod failure;
mod input;
mod operations;
mod output;
mod place;
mod watch;

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use rustix::process::Signal;
use serde::Deserialize;
use tokio::{sync::oneshot, task::spawn_blocking, time::timeout};

use self::{
    failure::{Failure, Kind},
    input::{Closed, UntilEnd, Upload, upload},
    output::FileOutput,
    place::Place,
    watch::Watch,
};
use super::{
    log::{Appender, Log},
    room::{Occupant, Room},
};
use crate::executor::{ExecLaunch, Input, Outputs, ProcessExit, Stop, Streams};

/// Where clients find the tool.
const PATH: &str = "/__modal/.bin/modal-sandbox-fs-tools";

/// Whether a command is the tool.
pub(super) fn is_asked_for(argv: &[String]) -> bool {
    argv.first().is_some_and(|program| program == PATH)
}

/// Whether a command is the tool, asked to write a file.
pub(crate) fn writes_a_file(argv: &[String]) -> bool {
    is_asked_for(argv) && matches!(parse(argv), Ok(Request::WriteFile { .. }))
}

/// What it is asked to do. Paths are absolute.
#[derive(Debug, Deserialize)]
enum Request {
    ReadFile {
        path: PathBuf,
    },
    WriteFile {
        path: PathBuf,
    },
    ListFiles {
        path: PathBuf,
    },
    Stat {
        path: PathBuf,
    },
    MakeDirectory {
        path: PathBuf,
        #[serde(default)]
        parents: bool,
    },
    Remove {
        path: PathBuf,
        #[serde(default)]
        recursive: bool,
    },
    Watch {
        path: PathBuf,
        #[serde(default)]
        recursive: bool,
        /// Names of events; all of them without it.
        filter: Option<Vec<String>>,
        timeout_secs: Option<u64>,
    },
}

/// What is there when an operation has begun.
enum Begun {
    /// It is done, and this is what it prints.
    Printed(Vec<u8>),
    /// It prints a file.
    File(FileOutput),
    /// It takes a file.
    Upload(Upload),
    /// It tells what happens, for so long.
    Watch(Watch, Option<Duration>),
}

/// Runs the tool in a room. It is killed as a command is.
pub(super) async fn run(
    occupant: &Occupant,
    number: u64,
    launch: &ExecLaunch,
    cap: u64,
    started: oneshot::Sender<Streams>,
    mut stop: Stop,
) -> ProcessExit {
    let mut tool = Tool::new(occupant.room(), number, cap);
    let done = match tool.begin(&launch.argv).await {
        Ok(begun) => tool.carry_out(begun, started, &mut stop).await,
        Err(failure) => {
            let _ = started.send(tool.streams(Arc::new(Closed)));
            Some(Err(failure))
        }
    };
    match done {
        Some(Ok(())) => ProcessExit::Code(0),
        Some(Err(failure)) => {
            tool.complaint.append(Bytes::from(failure.to_json())).await;
            ProcessExit::Code(1)
        }
        None => ProcessExit::Signal(Signal::KILL.as_raw()),
    }
}

/// One call of the tool.
struct Tool<'a> {
    room: &'a Room,
    stdout: Arc<Log>,
    printed: Appender,
    stderr: Arc<Log>,
    complaint: Appender,
}

impl<'a> Tool<'a> {
    fn new(room: &'a Room, number: u64, cap: u64) -> Self {
        let log = |name: &str| {
            let name = format!("exec-{number}-{name}");
            Log::pinned(room.place.path.clone(), name, cap)
        };
        let (stdout, printed) = log("stdout");
        let (stderr, complaint) = log("stderr");
        Self {
            room,
            stdout,
            printed,
            stderr,
            complaint,
        }
    }

    async fn begin(&self, argv: &[String]) -> Result<Begun, Failure> {
        let request = parse(argv)?;
        let place = Place::new(&self.room.place.path);
        blocking(move || begin(&place, request)).await
    }

    /// Does what takes time; `None` when it is killed meanwhile.
    async fn carry_out(
        &mut self,
        begun: Begun,
        started: oneshot::Sender<Streams>,
        stop: &mut Stop,
    ) -> Option<Result<(), Failure>> {
        let closed = || Arc::new(Closed);
        match begun {
            Begun::Printed(text) => {
                if !text.is_empty() {
                    self.printed.append(Bytes::from(text)).await;
                }
                let _ = started.send(self.streams(closed()));
                Some(Ok(()))
            }
            Begun::File(file) => {
                let mut streams = self.streams(closed());
                streams.outputs.stdout = Arc::new(file);
                let _ = started.send(streams);
                Some(Ok(()))
            }
            Begun::Upload(file) => {
                let (input, bytes) = upload();
                let _ = started.send(self.streams(input));
                let taken = unless_killed(self.room, stop, file.take(bytes)).await?;
                // Without its end it is not complete, and nobody will send it.
                taken.map(|complete| complete.then_some(())).transpose()
            }
            Begun::Watch(watch, time) => {
                let (input, ended) = UntilEnd::new();
                let _ = started.send(self.streams(input));
                let told = watch.follow(ended, &mut self.printed);
                let told = async {
                    match time {
                        Some(time) => timeout(time, told).await.unwrap_or(Ok(())),
                        None => told.await,
                    }
                };
                unless_killed(self.room, stop, told).await
            }
        }
    }

    fn streams(&self, input: Arc<dyn Input>) -> Streams {
        Streams {
            input,
            outputs: Outputs {
                stdout: Arc::<Log>::clone(&self.stdout),
                stderr: Arc::<Log>::clone(&self.stderr),
            },
        }
    }
}

async fn unless_killed<T>(
    room: &Room,
    stop: &mut Stop,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        () = stop.requested() => None,
        () = room.closing() => None,
        done = work => Some(done),
    }
}

fn parse(argv: &[String]) -> Result<Request, Failure> {
    let invalid = |message: String| Failure::new(Kind::InvalidArgument, message);
    let [_, argument] = argv else {
        return Err(invalid("the file tool takes one argument".to_owned()));
    };
    serde_json::from_str(argument).map_err(|error| {
        invalid(format!(
            "the argument of the file tool is no request: {error}"
        ))
    })
}

/// Blocks.
fn begin(place: &Place, request: Request) -> Result<Begun, Failure> {
    let done = |()| Begun::Printed(Vec::new());
    match request {
        Request::ReadFile { path } => operations::read(place, &path).map(Begun::File),
        Request::WriteFile { path } => operations::write(place, &path).map(Begun::Upload),
        Request::ListFiles { path } => operations::list(place, &path).map(Begun::Printed),
        Request::Stat { path } => operations::stat(place, &path).map(Begun::Printed),
        Request::MakeDirectory { path, parents } => {
            operations::make_directory(place, &path, parents).map(done)
        }
        Request::Remove { path, recursive } => {
            operations::remove(place, &path, recursive).map(done)
        }
        Request::Watch {
            path,
            recursive,
            filter,
            timeout_secs,
        } => Watch::begin(place, &path, recursive, filter)
            .map(|watch| Begun::Watch(watch, timeout_secs.map(Duration::from_secs))),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Failure::new(
            Kind::Other,
            format!("the file tool failed: {error}"),
        ))
    })
}
