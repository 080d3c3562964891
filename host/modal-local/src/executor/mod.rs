//! What runs the commands of sandboxes.
//!
//! The server decides *when* something starts, times out or is ended; an
//! executor decides *how*. [`process`] runs real commands on this machine.

mod hash;
mod pins;
pub(crate) mod process;
pub(crate) mod scripted;
mod text;

pub(crate) use self::{
    hash::Hash,
    pins::{Pin, Pins},
    text::Text,
};

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    sync::Arc,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use modal_proto::client::{self as pb, GenericStatus};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

use crate::{
    ids::{ImageId, SandboxId},
    sandbox::Sandbox,
};

/// Runs sandboxes.
///
/// Implementations wait only through tokio, and one without real processes
/// stays on the caller's thread, so that a paused clock drives it.
pub(crate) trait Executor: fmt::Debug + Send + Sync + 'static {
    /// Runs one sandbox from its start to its end.
    ///
    /// `started` is sent once the command runs; dropped unsent, the command
    /// never ran. When `stop` asks for it, everything in the sandbox is ended.
    /// The future resolves when nothing of the sandbox runs any more and its
    /// output is complete. Dropping it kills what can be killed at once.
    fn run(
        &self,
        launch: Launch,
        started: oneshot::Sender<Streams>,
        stop: Stop,
    ) -> BoxFuture<'static, Exit>;

    /// Runs one more command in a sandbox whose own command runs.
    ///
    /// `started` is sent once it runs. When `stop` asks for it, or the sandbox
    /// ends, the command is killed. The future resolves with its exit; what it
    /// started may go on, and hold its output open, until the sandbox ends.
    fn exec(
        &self,
        launch: ExecLaunch,
        started: oneshot::Sender<Streams>,
        stop: Stop,
    ) -> BoxFuture<'static, Result<ProcessExit, NeverRan>>;

    /// Takes a snapshot of the files of a sandbox that runs. The same files
    /// give the same snapshot.
    fn snapshot(&self, sandbox: SandboxId) -> BoxFuture<'static, io::Result<Hash>>;

    /// Drops every snapshot but some. None is being taken.
    fn retain_snapshots(&self, wanted: BTreeSet<Hash>) -> BoxFuture<'static, ()>;

    /// The bytes of disk that sandboxes and snapshots take.
    fn disk_usage(&self) -> BoxFuture<'static, io::Result<u64>>;

    /// Takes over what an earlier server kept of the output of ended
    /// sandboxes, and drops the rest. With it comes what was recorded.
    fn reopen(&self, recorded: Vec<(SandboxId, Heads)>) -> BTreeMap<SandboxId, Outputs>;

    /// Drops what is kept of an ended sandbox.
    fn forget(&self, sandbox: SandboxId) -> BoxFuture<'static, ()>;

    /// Drops what is kept of every sandbox but its output. None runs any more.
    fn close(&self) -> BoxFuture<'static, ()>;

    /// Whether commands run in something else than the image that they ask for.
    fn ignores_images(&self) -> bool {
        true
    }

    /// How far an image is. Where images are ignored, all are there.
    fn build(&self, _: &ImageId) -> Build {
        Build::Done
    }
}

/// How far an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    /// It is there.
    Done,
    /// It will be known then.
    UnderWay(Instant),
    /// It cannot be built, for this reason.
    Failed(String),
}

/// What to run.
#[derive(Debug)]
pub(crate) struct Launch {
    /// Identity, tags and resources.
    pub(crate) sandbox: Arc<Sandbox>,
    /// The command and its arguments, without NUL bytes. Empty: run until
    /// ended.
    pub(crate) argv: Vec<String>,
    /// The request's variables; keys without `=`, nothing with NUL.
    pub(crate) env: BTreeMap<String, String>,
    /// An absolute path, or the sandbox's directory.
    pub(crate) workdir: Option<String>,
    /// The files to begin with.
    pub(crate) snapshot: Option<Hash>,
}

/// What to run in a sandbox that runs.
#[derive(Debug)]
pub(crate) struct ExecLaunch {
    pub(crate) sandbox: SandboxId,
    /// The command and its arguments, without NUL bytes; never empty.
    pub(crate) argv: Vec<String>,
    /// Variables laid over those of the sandbox; keys without `=`, nothing with
    /// NUL.
    pub(crate) env: BTreeMap<String, String>,
    /// An absolute path, or the sandbox's working directory.
    pub(crate) workdir: Option<String>,
    pub(crate) stdio: Stdio,
}

/// Where the output of a command goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stdio {
    /// To pipes, or nowhere.
    Pipes { stdout: bool, stderr: Stderr },
    /// To a terminal, all of it as stdout.
    Terminal(WindowSize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stderr {
    Nowhere,
    Pipe,
    /// Where stdout goes.
    Stdout,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowSize {
    pub(crate) rows: u16,
    pub(crate) columns: u16,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessExit {
    Code(i32),
    Signal(i32),
}

/// Why a command never ran, or is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NeverRan {
    /// Nothing runs in the sandbox any more.
    SandboxEnded,
    /// It could not be started; with the exit code that a shell would give.
    CannotStart { code: i32, reason: String },
}

/// How a sandbox came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) status: GenericStatus,
    pub(crate) code: i32,
    /// Empty when the status says everything.
    pub(crate) reason: String,
}

impl From<ProcessExit> for Exit {
    fn from(exit: ProcessExit) -> Self {
        match exit {
            ProcessExit::Code(code) => Self::code(code),
            ProcessExit::Signal(signal) => Self::signal(signal),
        }
    }
}

impl Exit {
    /// The command returned this code.
    pub(crate) fn code(code: i32) -> Self {
        Self {
            status: if code == 0 {
                GenericStatus::Success
            } else {
                GenericStatus::Failure
            },
            code,
            reason: String::new(),
        }
    }

    /// A signal that the server did not send ended the command; the code is
    /// what a shell would report.
    pub(crate) fn signal(signal: i32) -> Self {
        Self {
            status: GenericStatus::Failure,
            code: signal.saturating_add(128),
            reason: format!("killed by signal {signal}"),
        }
    }

    /// The command never ran. Clients tell success from failure by the code
    /// alone, so that it must not be 0.
    pub(crate) fn never_ran(code: i32, reason: impl Into<String>) -> Self {
        Self {
            status: GenericStatus::InitFailure,
            code,
            reason: reason.into(),
        }
    }

    /// The executor lost track of the command.
    pub(crate) fn lost(reason: impl Into<String>) -> Self {
        Self {
            status: GenericStatus::InternalFailure,
            code: 1,
            reason: reason.into(),
        }
    }

    /// The sandbox outlived its `timeout_secs`.
    pub(crate) fn timed_out() -> Self {
        Self {
            status: GenericStatus::Timeout,
            code: 124,
            reason: String::new(),
        }
    }

    /// Nothing happened in the sandbox for its `idle_timeout_secs`.
    pub(crate) fn idle() -> Self {
        Self {
            status: GenericStatus::IdleTimeout,
            code: 124,
            reason: "nothing happened for the idle timeout".to_owned(),
        }
    }

    /// Somebody asked for the end.
    pub(crate) fn terminated(reason: &str) -> Self {
        Self {
            status: GenericStatus::Terminated,
            code: 137,
            reason: reason.to_owned(),
        }
    }

    pub(crate) fn to_wire(&self) -> pb::GenericResult {
        pb::GenericResult {
            status: self.status.into(),
            exception: self.reason.clone(),
            exitcode: self.code,
            traceback: String::new(),
        }
    }
}

/// The wish that a sandbox ends.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    pub(crate) fn new(wish: watch::Receiver<bool>) -> Self {
        Self(wish)
    }

    /// Resolves once the end is asked for, or when nobody is left who could
    /// ask.
    pub(crate) async fn requested(&mut self) {
        let _ = self.0.wait_for(|wanted| *wanted).await;
    }
}

/// One of the two streams of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The standard streams of a command.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    pub(crate) input: Arc<dyn Input>,
    pub(crate) outputs: Outputs,
}

/// The standard input of a command.
pub(crate) trait Input: fmt::Debug + Send + Sync + 'static {
    /// Writes at least one of these bytes, and tells how many; waits until the
    /// command has room for them. Dropped before it resolves, it has written
    /// nothing.
    fn write(&self, bytes: Bytes) -> BoxFuture<'_, io::Result<usize>>;

    /// Has the command read the end. Nothing is written after that.
    fn close(&self) -> BoxFuture<'_, io::Result<()>>;
}

/// What a command wrote; readable while it runs and after.
#[derive(Clone, Debug)]
pub(crate) struct Outputs {
    pub(crate) stdout: Arc<dyn Output>,
    pub(crate) stderr: Arc<dyn Output>,
}

impl Outputs {
    pub(crate) fn stream(&self, stream: Stream) -> &Arc<dyn Output> {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }

    /// What is to be recorded of both streams.
    pub(crate) fn heads(&self) -> Heads {
        Heads {
            stdout: self.stdout.head(),
            stderr: self.stderr.head(),
        }
    }

    /// Bytes kept of both streams.
    pub(crate) fn kept(&self) -> u64 {
        self.stdout.kept().saturating_add(self.stderr.kept())
    }
}

/// What of a command's output is in memory only: the beginning of each stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heads {
    pub(crate) stdout: Bytes,
    pub(crate) stderr: Bytes,
}

/// One recorded stream.
pub(crate) trait Output: fmt::Debug + Send + Sync + 'static {
    /// The next bytes at or after an offset, never none; `None` at the end.
    /// Waits while the stream is open and has nothing there. May be dropped and
    /// called again.
    fn read(&self, offset: u64) -> BoxFuture<'_, io::Result<Option<Chunk>>>;

    /// Has whoever writes wait for a reader at an offset before anything is
    /// dropped that it has not read. `None` where nothing is ever dropped.
    fn pin(&self, offset: u64) -> Option<Pin>;

    /// The beginning, as far as it is in memory only.
    fn head(&self) -> Bytes;

    /// Bytes kept, on disk or in memory.
    fn kept(&self) -> u64;

    /// Drops all of it: nobody can ask for it any more.
    fn discard(&self) -> BoxFuture<'_, ()>;
}

/// Consecutive bytes of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Offset of the first byte; larger than asked for when older output was
    /// dropped.
    pub(crate) start: u64,
    /// Never empty.
    pub(crate) bytes: Bytes,
}

impl Chunk {
    /// The offset after the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.start.saturating_add(self.bytes.len() as u64)
    }
}
