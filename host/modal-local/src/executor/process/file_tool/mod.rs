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
use serde::Deserialize;
use tokio::{sync::oneshot, task::spawn_blocking, time::sleep};

use self::{
    failure::{Failure, Kind},
    input::{Closed, Receiver, UntilEnd, Upload, upload},
    output::FileOutput,
    place::Place,
    watch::Watch,
};
use super::{
    log::{Appender, Log},
    room::{Occupant, Room},
};
use crate::executor::{ExecLaunch, Input, NeverRan, Output, Outputs, ProcessExit, Stop, Streams};

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
) -> Result<ProcessExit, NeverRan> {
    let room = occupant.room();
    let log = |name: &str| {
        let name = format!("exec-{number}-{name}");
        Log::pinned(room.place.path.clone(), name, cap)
    };
    let (stdout, mut printed) = log("stdout");
    let (stderr, complaint) = log("stderr");
    let begun = match parse(&launch.argv) {
        Ok(request) => {
            let place = Place::new(&room.place.path);
            blocking(move || begin(&place, request)).await
        }
        Err(failure) => Err(failure),
    };
    let streams = |input: Arc<dyn Input>, stdout: Arc<dyn Output>| Streams {
        input,
        outputs: Outputs {
            stdout,
            stderr: stderr.clone(),
        },
    };
    let done = match begun {
        Ok(Begun::Printed(text)) => {
            if !text.is_empty() {
                printed.append(Bytes::from(text)).await;
            }
            let _ = started.send(streams(Arc::new(Closed), stdout));
            Ok(())
        }
        Ok(Begun::File(file)) => {
            let _ = started.send(streams(Arc::new(Closed), Arc::new(file)));
            Ok(())
        }
        Ok(Begun::Upload(file)) => {
            let (input, bytes) = upload();
            let _ = started.send(streams(input, stdout));
            match receive(room, file, bytes, &mut stop).await {
                Some(done) => done,
                None => return Ok(ProcessExit::Signal(KILLED)),
            }
        }
        Ok(Begun::Watch(watch, time)) => {
            let (input, ended) = UntilEnd::new();
            let _ = started.send(streams(input, stdout));
            let told = watch.follow(ended, &mut printed);
            match tell(room, told, time, &mut stop).await {
                Some(done) => done,
                None => return Ok(ProcessExit::Signal(KILLED)),
            }
        }
        Err(failure) => {
            let _ = started.send(streams(Arc::new(Closed), stdout));
            Err(failure)
        }
    };
    drop(printed);
    Ok(exit(done, complaint).await)
}

/// SIGKILL.
const KILLED: i32 = 9;

/// Takes the file; `None` when it is not to be taken any more.
async fn receive(
    room: &Room,
    file: Upload,
    bytes: Receiver,
    stop: &mut Stop,
) -> Option<Result<(), Failure>> {
    let taken = file.take(bytes);
    tokio::select! {
        biased;
        () = stop.requested() => None,
        () = room.closing() => None,
        taken = taken => match taken {
            Ok(true) => Some(Ok(())),
            Ok(false) => None,
            Err(failure) => Some(Err(failure)),
        }
    }
}

/// Tells what happens for a while; `None` when it is not to go on.
async fn tell(
    room: &Room,
    told: impl Future<Output = Result<(), Failure>>,
    time: Option<Duration>,
    stop: &mut Stop,
) -> Option<Result<(), Failure>> {
    let time_is_up = async move {
        match time {
            Some(time) => sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = stop.requested() => None,
        () = room.closing() => None,
        told = told => Some(told),
        () = time_is_up => Some(Ok(())),
    }
}

async fn exit(done: Result<(), Failure>, mut complaint: Appender) -> ProcessExit {
    match done {
        Ok(()) => ProcessExit::Code(0),
        Err(failure) => {
            complaint.append(Bytes::from(failure.to_json())).await;
            ProcessExit::Code(1)
        }
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
