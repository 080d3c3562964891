//! What runs the commands of sandboxes.
//!
//! The server decides *when* something starts, times out or is ended; an
//! executor decides *how*. [`process`] runs real commands on this machine.

pub(crate) mod process;

use std::{collections::BTreeMap, fmt, io, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use modal_proto::client::{self as pb, GenericStatus};
use tokio::sync::{oneshot, watch};

use crate::{ids::SandboxId, sandbox::Sandbox};

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
        started: oneshot::Sender<Outputs>,
        stop: Stop,
    ) -> BoxFuture<'static, Exit>;

    /// Drops what is kept of an ended sandbox.
    fn forget(&self, sandbox: SandboxId) -> BoxFuture<'static, ()>;

    /// Drops what is kept of every sandbox. None runs any more.
    fn close(&self) -> BoxFuture<'static, ()>;
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
}

/// How a sandbox came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) status: GenericStatus,
    pub(crate) code: i32,
    /// Empty when the status says everything.
    pub(crate) reason: String,
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
pub(crate) enum Stream {
    Stdout,
    Stderr,
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

    /// Bytes kept of both streams.
    pub(crate) fn kept(&self) -> u64 {
        self.stdout.kept().saturating_add(self.stderr.kept())
    }
}

/// One recorded stream.
pub(crate) trait Output: fmt::Debug + Send + Sync + 'static {
    /// The next bytes at or after an offset, never none; `None` at the end.
    /// Waits while the stream is open and has nothing there. May be dropped and
    /// called again.
    fn read(&self, offset: u64) -> BoxFuture<'_, io::Result<Option<Chunk>>>;

    /// Bytes kept, on disk or in memory.
    fn kept(&self) -> u64;
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
