//! What a sandbox writes: followed from its beginning to its end over as many
//! streams as it takes, without losing or repeating a byte.

use super::call::{Client, Target};
use super::error::CallError;
use super::retry::doubled;
use super::rpc::{SANDBOX_GET_LOGS, SANDBOX_STDIO_READ_V2};
use super::sandbox::{Backend, RouterAccess, SandboxHandle, TaskId};
use crate::limits;
use crate::platform::{LogLevel, Platform};
use modal_proto::client::{FileDescriptor, SandboxGetLogsRequest};
use modal_proto::task_command_router::{SandboxStdioFileDescriptor, SandboxStdioReadV2Request};
use std::future::Future;
use std::time::Duration;
use tonic::Code;

/// One of the two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Where output goes.
pub trait OutputSink {
    /// Takes a piece, in order. Reading pauses until it is taken.
    fn piece(&self, data: Vec<u8>) -> impl Future<Output = ()>;
    /// A part is missing at this place; how much may not be known. Reading pauses
    /// until this is taken.
    fn lost(&self, bytes: Option<u64>) -> impl Future<Output = ()>;
}

/// Follows one output of a sandbox until it ends. What cannot be read is
/// reported to the sink; reading never fails a step.
pub async fn follow<P: Platform>(
    client: &Client<P>,
    sandbox: &SandboxHandle,
    stream: OutputStream,
    sink: &impl OutputSink,
) {
    let result = match sandbox.backend() {
        Backend::V1 => follow_logs(client, sandbox, stream, sink).await,
        Backend::V2 => follow_router(client, sandbox, stream, sink).await,
    };
    if let Err(error) = result {
        let message = format!("output of {} is incomplete: {error}", sandbox.id);
        client.platform().log(LogLevel::Warn, &message);
        sink.lost(None).await;
    }
}

/// Newer backend: bytes by offset, from the sandbox's command router.
async fn follow_router<P: Platform>(
    client: &Client<P>,
    sandbox: &SandboxHandle,
    stream: OutputStream,
    sink: &impl OutputSink,
) -> Result<(), CallError> {
    let TaskId::Scheduled(task_id) = client.task_id(sandbox).await? else {
        return Ok(());
    };
    let mut access = match &sandbox.router {
        Some(access) => access.clone(),
        None => client.router_access(sandbox, &task_id).await?,
    };
    let mut offset = 0;
    let mut trouble = Trouble::default();
    loop {
        let request = SandboxStdioReadV2Request {
            task_id: task_id.clone(),
            offset,
            file_descriptor: match stream {
                OutputStream::Stdout => SandboxStdioFileDescriptor::Stdout,
                OutputStream::Stderr => SandboxStdioFileDescriptor::Stderr,
            }
            .into(),
        };
        let opened = client.platform().monotonic();
        let before = offset;
        let error = match read_router(client, request, &access, sink, &mut offset).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let lasted = client.platform().monotonic().saturating_sub(opened);
        if offset > before || lasted >= limits::OUTPUT.body {
            trouble = Trouble::default();
        }
        if error.is(Code::Unauthenticated) && !trouble.refused {
            trouble.refused = true;
            if access.expires_soon(client.platform().unix_time()) {
                access = client.router_access(sandbox, &task_id).await?;
            }
        } else {
            trouble.wait_or_give_up(client, error, lasted).await?;
        }
    }
}

async fn read_router<P: Platform>(
    client: &Client<P>,
    request: SandboxStdioReadV2Request,
    access: &RouterAccess,
    sink: &impl OutputSink,
    offset: &mut u64,
) -> Result<(), CallError> {
    let rpc = &SANDBOX_STDIO_READ_V2;
    let target = Target::Router {
        endpoint: access.endpoint.clone(),
        jwt: access.jwt.clone(),
    };
    let mut answers = client.stream(rpc, request, &target, limits::OUTPUT).await?;
    while let Some(answer) = answers
        .message()
        .await
        .map_err(|status| client.failure(rpc.name, &status))?
    {
        if let Some(missing) = answer
            .starting_offset
            .checked_sub(*offset)
            .filter(|n| *n > 0)
        {
            sink.lost(Some(missing)).await;
            *offset = answer.starting_offset;
        }
        *offset = offset.saturating_add(answer.data.len() as u64);
        for piece in answer.data.chunks(limits::OUTPUT_PIECE) {
            sink.piece(piece.to_vec()).await;
        }
    }
    Ok(())
}

/// Older backend: text by entry, from the control plane.
async fn follow_logs<P: Platform>(
    client: &Client<P>,
    sandbox: &SandboxHandle,
    stream: OutputStream,
    sink: &impl OutputSink,
) -> Result<(), CallError> {
    let rpc = &SANDBOX_GET_LOGS;
    let mut request = SandboxGetLogsRequest {
        sandbox_id: sandbox.id.clone(),
        file_descriptor: match stream {
            OutputStream::Stdout => FileDescriptor::Stdout,
            OutputStream::Stderr => FileDescriptor::Stderr,
        }
        .into(),
        timeout: limits::LOG_HOLD,
        last_entry_id: String::new(),
    };
    let mut trouble = Trouble::default();
    loop {
        let opened = client.platform().monotonic();
        let before = request.last_entry_id.clone();
        let result = async {
            let mut batches = client
                .stream(rpc, request.clone(), &Target::ControlPlane, limits::OUTPUT)
                .await?;
            while let Some(batch) = batches
                .message()
                .await
                .map_err(|status| client.failure(rpc.name, &status))?
            {
                for item in batch.items {
                    for piece in item.data.as_bytes().chunks(limits::OUTPUT_PIECE) {
                        sink.piece(piece.to_vec()).await;
                    }
                }
                if !batch.entry_id.is_empty() {
                    request.last_entry_id = batch.entry_id;
                }
                if batch.eof {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        .await;
        let lasted = client.platform().monotonic().saturating_sub(opened);
        if request.last_entry_id != before || lasted >= limits::OUTPUT.body {
            trouble = Trouble::default();
        }
        match result {
            Ok(true) => return Ok(()),
            // The end of a stretch, not of the output.
            Ok(false) if lasted >= limits::OUTPUT_RETRY_PAUSE => {}
            Ok(false) => client.platform().sleep(limits::OUTPUT_RETRY_PAUSE).await,
            Err(error) => trouble.wait_or_give_up(client, error, lasted).await?,
        }
    }
}

/// Failures since the last byte.
#[derive(Debug, Default)]
struct Trouble {
    failures: u32,
    /// Whether a token was refused.
    refused: bool,
}

impl Trouble {
    async fn wait_or_give_up<P: Platform>(
        &mut self,
        client: &Client<P>,
        error: CallError,
        lasted: Duration,
    ) -> Result<(), CallError> {
        // Silence is normal for a step: a stream that was merely quiet until
        // its deadline is opened again.
        if lasted < limits::OUTPUT.body {
            self.failures += 1;
        }
        if !error.is_transient() || self.failures > limits::OUTPUT_RETRIES {
            return Err(error);
        }
        let pause = doubled(limits::OUTPUT_RETRY_PAUSE, self.failures);
        client.platform().sleep(pause).await;
        Ok(())
    }
}
