//! A command in a sandbox: start, output, input, end.

use super::reading::Reading;
use super::trouble::Patience;
use super::{Router, RouterCall};
use crate::limits::{self, Deadline};
use crate::modal::error::CallError;
use crate::modal::output::OutputStream;
use crate::modal::rpc::{
    TASK_EXEC_POLL, TASK_EXEC_START, TASK_EXEC_STDIN_STATUS, TASK_EXEC_STDIN_WRITE,
    TASK_EXEC_STDIO_READ, TASK_EXEC_WAIT,
};
use crate::platform::{Platform, TransportFault};
use bytes::{Buf as _, Bytes};
use futures::{Stream, stream};
use modal_proto::client::pty_info::PtyType;
use modal_proto::client::secret_source::Source as SecretKind;
use modal_proto::client::{PtyInfo, SecretSource, StringMap};
use modal_proto::task_command_router::{
    TaskExecPollRequest, TaskExecStartRequest, TaskExecStderrConfig, TaskExecStdinStatusRequest,
    TaskExecStdinWriteRequest, TaskExecStdioFileDescriptor, TaskExecStdioReadRequest,
    TaskExecStdoutConfig, TaskExecWaitRequest, task_exec_poll_response, task_exec_wait_response,
};
use std::cell::Cell;
use tonic::Code;

/// What is to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandSpec {
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// An absolute path. Absent: the sandbox's own.
    pub working_directory: Option<String>,
    /// On top of the sandbox's own variables. They travel with the request and are
    /// not stored.
    pub environment: Vec<(String, String)>,
    /// Seconds after which the service ends it.
    pub timeout: Option<u32>,
    /// A terminal to run in.
    pub terminal: Option<Terminal>,
}

/// A terminal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
    /// Value of TERM.
    pub name: String,
}

/// A command that was started.
#[derive(Debug)]
pub struct Command<P> {
    router: Router<P>,
    task_id: String,
    id: String,
    /// Once it is known.
    exit_code: Cell<Option<i32>>,
}

impl<P: Platform> Router<P> {
    /// Starts a command. Its id is kept over all attempts, so that it starts once.
    ///
    /// # Errors
    ///
    /// When the router says no or is not there, and when the sandbox has ended.
    pub async fn start(&self, spec: CommandSpec) -> Result<Command<P>, CallError> {
        let task_id = self.task_id().await?.to_owned();
        // Random UUIDs, as keys for calls are.
        let id = self.client().new_idempotency_key();
        let request = TaskExecStartRequest {
            task_id: task_id.clone(),
            exec_id: id.clone(),
            command_args: spec.arguments,
            stdout_config: TaskExecStdoutConfig::Pipe.into(),
            stderr_config: TaskExecStderrConfig::Pipe.into(),
            timeout_secs: spec.timeout,
            workdir: spec.working_directory,
            pty_info: spec.terminal.map(pty_info),
            secret_sources: variables(spec.environment),
            ..TaskExecStartRequest::default()
        };
        self.call(&TASK_EXEC_START, &request, QUICK).await?;
        Ok(Command {
            router: self.clone(),
            task_id,
            id,
            exit_code: Cell::new(None),
        })
    }
}

/// A call that is answered at once, about something that runs already or is
/// started by it.
const QUICK: RouterCall = RouterCall {
    deadline: limits::CALL,
    announced: None,
    patience: Patience::Short,
};

/// The same about something that must not be lost.
const LASTING: RouterCall = RouterCall {
    patience: Patience::Long,
    ..QUICK
};

fn variables(variables: Vec<(String, String)>) -> Vec<SecretSource> {
    if variables.is_empty() {
        return Vec::new();
    }
    let contents = variables.into_iter().collect();
    vec![SecretSource {
        source: Some(SecretKind::Env(StringMap { contents })),
    }]
}

/// What the SDK says about a terminal.
fn pty_info(terminal: Terminal) -> PtyInfo {
    PtyInfo {
        enabled: true,
        winsz_rows: terminal.rows.into(),
        winsz_cols: terminal.columns.into(),
        env_term: terminal.name,
        pty_type: PtyType::Shell.into(),
        no_terminate_on_idle_stdin: true,
        ..PtyInfo::default()
    }
}

impl<P: Platform> Command<P> {
    /// One of its outputs, from the beginning. A stream that breaks is opened
    /// again at the byte where it broke.
    pub fn output(
        &self,
        descriptor: OutputStream,
    ) -> impl Stream<Item = Result<Bytes, CallError>> + use<P> {
        let descriptor = match descriptor {
            OutputStream::Stdout => TaskExecStdioFileDescriptor::Stdout,
            OutputStream::Stderr => TaskExecStdioFileDescriptor::Stderr,
        };
        let request = TaskExecStdioReadRequest {
            task_id: self.task_id.clone(),
            exec_id: self.id.clone(),
            offset: 0,
            file_descriptor: descriptor.into(),
        };
        let rpc = &TASK_EXEC_STDIO_READ;
        let set_offset = |request: &mut TaskExecStdioReadRequest, offset| request.offset = offset;
        let trouble = self.router.trouble(Patience::Long);
        let reading = Reading::new(&self.router, rpc, request, set_offset, trouble);
        stream::unfold(Some(reading), async |reading| {
            let mut reading = reading?;
            match reading.next().await {
                Ok(Some(piece)) => Some((Ok(piece.data.into()), Some(reading))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// Waits for its end, however long that takes: only a service that is silent
    /// for [`limits::STATUS_PATIENCE`] is given up.
    ///
    /// # Errors
    ///
    /// When the command or its sandbox is gone, and when the service is silent.
    pub async fn wait(&self) -> Result<i32, CallError> {
        if let Some(code) = self.exit_code.get() {
            return Ok(code);
        }
        let request = TaskExecWaitRequest {
            task_id: self.task_id.clone(),
            exec_id: self.id.clone(),
        };
        let options = RouterCall {
            deadline: Deadline::both(limits::EXEC_WAIT + limits::WAIT_GRACE),
            announced: Some(limits::EXEC_WAIT),
            patience: Patience::Short,
        };
        let platform = self.router.client().platform();
        let mut trouble = self.router.trouble(Patience::Short);
        let mut answered = platform.monotonic();
        loop {
            let rpc = &TASK_EXEC_WAIT;
            let access = self.router.access().await?;
            let attempt = self
                .router
                .attempt(rpc, &request, &access, &trouble, options);
            let error = match attempt.await {
                Ok(answer) => return self.ended(answer.exit_status),
                Err(error) => error,
            };
            if !error.is_transient() || error.retry_after().is_some() {
                self.router.overcome(&mut trouble, &access, error).await?;
                continue;
            }
            let now = platform.monotonic();
            // A router that says no lives.
            if matches!(error, CallError::Status { .. }) {
                answered = now;
            }
            if now.saturating_sub(answered) > limits::STATUS_PATIENCE {
                return Err(error);
            }
            trouble.is_over();
            platform.sleep(limits::EXEC_WAIT_PAUSE).await;
            if matches!(error, CallError::Transport { .. }) {
                self.router.look_again(&access).await;
            }
        }
    }

    fn ended(&self, status: Option<task_exec_wait_response::ExitStatus>) -> Result<i32, CallError> {
        use task_exec_wait_response::ExitStatus::{Code, Signal};
        let code = match status {
            Some(Code(code)) => code,
            Some(Signal(signal)) => signalled(signal),
            None => {
                return Err(CallError::Transport {
                    operation: TASK_EXEC_WAIT.name,
                    fault: TransportFault::Broken {
                        reason: "the answer does not say how the command ended".into(),
                    },
                });
            }
        };
        self.exit_code.set(Some(code));
        Ok(code)
    }

    /// Its exit code, when it has ended.
    ///
    /// # Errors
    ///
    /// When the command or its sandbox is gone, and when the router says no or is
    /// not there.
    pub async fn poll(&self) -> Result<Option<i32>, CallError> {
        use task_exec_poll_response::ExitStatus::{Code, Signal};
        if let Some(code) = self.exit_code.get() {
            return Ok(Some(code));
        }
        let request = TaskExecPollRequest {
            task_id: self.task_id.clone(),
            exec_id: self.id.clone(),
        };
        let answer = self.router.call(&TASK_EXEC_POLL, &request, LASTING).await?;
        let code = answer.exit_status.map(|status| match status {
            Code(code) => code,
            Signal(signal) => signalled(signal),
        });
        self.exit_code.set(code);
        Ok(code)
    }

    /// Writes a piece of its input, of which `offset` bytes were taken before.
    /// `is_last` closes the input. After a failure the router is asked how much it
    /// has taken, so that no byte is written twice.
    ///
    /// # Errors
    ///
    /// When the command or its sandbox is gone, and when the router says no or is
    /// not there. A command that wants no more input is no failure: the rest is
    /// dropped, as it is when a pipe is closed.
    pub async fn write(&self, offset: u64, data: Bytes, is_last: bool) -> Result<Input, CallError> {
        let platform = self.router.client().platform();
        let mut trouble = self.router.trouble(Patience::Long);
        let options = RouterCall {
            deadline: limits::INPUT,
            ..LASTING
        };
        let mut request = TaskExecStdinWriteRequest {
            task_id: self.task_id.clone(),
            exec_id: self.id.clone(),
            offset,
            data: data.into(),
            eof: is_last,
        };
        loop {
            let rpc = &TASK_EXEC_STDIN_WRITE;
            let access = self.router.access().await?;
            let asked_at = platform.monotonic();
            let written = self
                .router
                .attempt(rpc, &request, &access, &trouble, options)
                .await;
            let error = match written {
                Ok(_) => return Ok(Input::Taken),
                Err(error) => error,
            };
            if is_closed(&error) {
                return Ok(Input::Closed);
            }
            // A command may take its time to read: what was merely not taken until
            // the deadline is offered again.
            if platform.monotonic().saturating_sub(asked_at) >= limits::INPUT.head {
                trouble.is_over();
            }
            let is_in_doubt = error.is_transient();
            self.router.overcome(&mut trouble, &access, error).await?;
            if is_in_doubt && let Some(input) = self.taken_already(&mut request).await? {
                return Ok(input);
            }
        }
    }

    /// Takes off a piece of input what the router has taken of it. None: there is
    /// something left to write.
    async fn taken_already(
        &self,
        request: &mut TaskExecStdinWriteRequest,
    ) -> Result<Option<Input>, CallError> {
        let InputStatus { taken, is_closed } = self.input_status().await?;
        let Some(new) = taken.checked_sub(request.offset) else {
            return Err(lost(request.offset, taken));
        };
        let length = request.data.len() as u64;
        if is_closed {
            let is_ours = request.eof && new >= length;
            return Ok(Some(if is_ours { Input::Taken } else { Input::Closed }));
        }
        if new >= length && !request.eof {
            return Ok(Some(Input::Taken));
        }
        let mut rest = Bytes::from(std::mem::take(&mut request.data));
        rest.advance(usize::try_from(new).unwrap_or(usize::MAX).min(rest.len()));
        request.data = rest.into();
        request.offset = taken;
        Ok(None)
    }

    /// How much of its input has been taken.
    ///
    /// # Errors
    ///
    /// When the command or its sandbox is gone, and when the router says no or is
    /// not there.
    pub(super) async fn input_status(&self) -> Result<InputStatus, CallError> {
        let request = TaskExecStdinStatusRequest {
            task_id: self.task_id.clone(),
            exec_id: self.id.clone(),
        };
        let rpc = &TASK_EXEC_STDIN_STATUS;
        let answer = self.router.call(rpc, &request, LASTING).await?;
        Ok(InputStatus {
            taken: answer.num_bytes_written,
            is_closed: answer.closed,
        })
    }

    pub(super) fn router(&self) -> &Router<P> {
        &self.router
    }

    pub(super) fn task_id(&self) -> &str {
        &self.task_id
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

/// What became of a piece of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// It was taken.
    Taken,
    /// The command takes no more.
    Closed,
}

/// What a router knows about the input of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InputStatus {
    /// Bytes that have been taken.
    pub(super) taken: u64,
    /// Whether it takes no more.
    pub(super) is_closed: bool,
}

/// Whether a router says that a command takes no more input.
pub(super) fn is_closed(error: &CallError) -> bool {
    error.is(Code::FailedPrecondition) || error.is(Code::Aborted)
}

/// A router that has forgotten bytes it took cannot be told them again.
pub(super) fn lost(sent: u64, taken: u64) -> CallError {
    CallError::Status {
        operation: TASK_EXEC_STDIN_STATUS.name,
        code: Code::DataLoss,
        message: format!("of {sent} bytes of input that were taken, {taken} are left"),
        retry_after: None,
    }
}

/// The exit code that stands for a signal, as shells have it.
fn signalled(signal: i32) -> i32 {
    signal.saturating_add(128)
}
