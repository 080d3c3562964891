//! What a sandbox writes: followed from its beginning to its end over as many
//! streams as it takes, without losing or repeating a byte.

use super::call::Client;
use super::error::CallError;
use super::retry::doubled;
use super::router::{Piece, Router};
use super::rpc::SANDBOX_GET_LOGS;
use super::sandbox::{Backend, SandboxHandle, TaskId};
use crate::limits;
use crate::platform::{LogLevel, Platform};
use modal_proto::client::{FileDescriptor, SandboxGetLogsRequest};
use std::future::Future;
use std::time::Duration;

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
    let mut sandbox = sandbox.clone();
    if sandbox.task_id.is_none() {
        let TaskId::Scheduled(task_id) = client.task_id(&sandbox).await? else {
            return Ok(());
        };
        sandbox.task_id = Some(task_id);
    }
    let router = Router::new(client.clone(), sandbox);
    let mut reading = router.sandbox_output(stream).await?;
    while let Some(Piece { missing, data }) = reading.next().await? {
        if missing > 0 {
            sink.lost(Some(missing)).await;
        }
        for piece in data.chunks(limits::OUTPUT_PIECE) {
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
            let mut batches = client.stream(rpc, request.clone(), limits::OUTPUT).await?;
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
        if request.last_entry_id != before || lasted >= limits::OUTPUT.head {
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
}

impl Trouble {
    async fn wait_or_give_up<P: Platform>(
        &mut self,
        client: &Client<P>,
        error: CallError,
        lasted: Duration,
    ) -> Result<(), CallError> {
        // Silence is normal for a step: a stream that was merely quiet until
        // its deadline is opened again. Some servers send no head before the
        // first byte.
        if lasted < limits::OUTPUT.head {
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
