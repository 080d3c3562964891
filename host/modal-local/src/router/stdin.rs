//! Input of commands: in single writes or streams, at offsets.

use std::sync::Arc;

use bytes::Bytes;
use modal_proto::task_command_router::{
    SandboxStdinWriteV2Request, SandboxStdinWriteV2Response, TaskExecStdinStatusRequest,
    TaskExecStdinStatusResponse, TaskExecStdinWriteRequest, TaskExecStdinWriteResponse,
    TaskExecStdinWriteStreamRequest, TaskExecStdinWriteStreamResponse,
    TaskExecStdinWriteStreamStart, task_exec_stdin_write_stream_request::Payload,
};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use super::{Answer, Router, exec::exec_in, grant};
use crate::{
    execs::Exec,
    limits,
    stdin::{Stdin, StdinError, Writer},
};

impl Router {
    /// Answers once the command has taken the bytes, into its pipe at least.
    pub(super) async fn write_exec_stdin(
        &self,
        request: Request<TaskExecStdinWriteRequest>,
    ) -> Answer<TaskExecStdinWriteResponse> {
        let TaskExecStdinWriteRequest {
            task_id, exec_id, ..
        } = request.get_ref();
        let exec = self.exec(&request, task_id, exec_id)?;
        let sandbox = self.sandbox(&request, task_id)?;
        let request = request.into_inner();
        let stdin = stdin_of(&exec).await?;
        sandbox.activity.touch();
        let data = Bytes::from(request.data);
        put(&exec, &stdin.writer(), request.offset, data, request.eof).await?;
        Ok(Response::new(TaskExecStdinWriteResponse {}))
    }

    /// Takes a stream of bytes from its offset on. Only an explicit end closes
    /// the input: one that breaks can be taken up by the next.
    pub(super) async fn stream_exec_stdin(
        &self,
        request: Request<Streaming<TaskExecStdinWriteStreamRequest>>,
    ) -> Answer<TaskExecStdinWriteStreamResponse> {
        let grant = grant(&request)?.clone();
        let mut messages = request.into_inner();
        let Some(Payload::Start(start)) = next(&mut messages).await? else {
            return Err(Status::invalid_argument(
                "the first message of the stream must be its start",
            ));
        };
        let TaskExecStdinWriteStreamStart {
            task_id,
            exec_id,
            offset,
        } = start;
        let exec = exec_in(&*self.sandbox_of(&grant, &task_id)?, &exec_id)?;
        let stdin = stdin_of(&exec).await?;
        let writer = stdin.writer();
        let mut position = offset;
        loop {
            let (bytes, is_last) = match next(&mut messages).await? {
                Some(Payload::Data(data)) => (Bytes::from(data), false),
                Some(Payload::End(_)) => (Bytes::new(), true),
                Some(Payload::Start(_)) => {
                    return Err(Status::invalid_argument("the stream started twice"));
                }
                None => {
                    return Err(Status::aborted(
                        "the stream stopped without an end: stdin stays open",
                    ));
                }
            };
            let length = bytes.len() as u64;
            put(&exec, &writer, position, bytes, is_last).await?;
            if is_last {
                return Ok(Response::new(TaskExecStdinWriteStreamResponse {}));
            }
            position = position.saturating_add(length);
        }
    }

    /// How much was taken. Whoever writes at that moment is stopped.
    pub(super) async fn exec_stdin_status(
        &self,
        request: Request<TaskExecStdinStatusRequest>,
    ) -> Answer<TaskExecStdinStatusResponse> {
        let TaskExecStdinStatusRequest { task_id, exec_id } = request.get_ref();
        let exec = self.exec(&request, task_id, exec_id)?;
        let (num_bytes_written, closed) = stdin_of(&exec).await?.status().await;
        Ok(Response::new(TaskExecStdinStatusResponse {
            num_bytes_written,
            closed,
        }))
    }

    /// The same for the sandbox's own command.
    pub(super) async fn write_sandbox_stdin(
        &self,
        request: Request<SandboxStdinWriteV2Request>,
    ) -> Answer<SandboxStdinWriteV2Response> {
        let sandbox = self.sandbox(&request, &request.get_ref().task_id)?;
        let request = request.into_inner();
        let stdin = sandbox.stdin().await.ok_or_else(|| {
            Status::failed_precondition(format!("sandbox {} has ended", sandbox.id))
        })?;
        sandbox.activity.touch();
        let (writer, data) = (stdin.writer(), Bytes::from(request.data));
        let written = write(&writer, request.offset, data, request.eof).await;
        written.map_err(refusal)?;
        Ok(Response::new(SandboxStdinWriteV2Response {}))
    }
}

/// Writes to a command. When it does not read any more, its exit is awaited for
/// a moment: clients that are refused ask for it next, and take a command that
/// runs on for a fault of the server.
async fn put(
    exec: &Exec,
    writer: &Writer<'_>,
    offset: u64,
    data: Bytes,
    eof: bool,
) -> Result<(), Status> {
    let Err(error) = write(writer, offset, data, eof).await else {
        return Ok(());
    };
    if matches!(error, StdinError::Gone(_)) {
        let _ = timeout(limits::EXIT_HOLD, exec.ended()).await;
    }
    Err(refusal(error))
}

async fn write(writer: &Writer<'_>, offset: u64, data: Bytes, eof: bool) -> Result<(), StdinError> {
    writer.write(offset, data).await?;
    if eof {
        writer.close().await?;
    }
    Ok(())
}

async fn next(
    messages: &mut Streaming<TaskExecStdinWriteStreamRequest>,
) -> Result<Option<Payload>, Status> {
    let Some(message) = messages.message().await? else {
        return Ok(None);
    };
    let payload = message.payload;
    payload.map(Some).ok_or_else(|| {
        Status::invalid_argument("a message of the stream is neither start, data nor end")
    })
}

async fn stdin_of(exec: &Exec) -> Result<Arc<Stdin>, Status> {
    exec.stdin()
        .await
        .ok_or_else(|| Status::failed_precondition("the command could not be started"))
}

fn refusal(error: StdinError) -> Status {
    let message = error.to_string();
    match error {
        StdinError::Evicted => Status::aborted(message),
        StdinError::Gap { .. } => Status::out_of_range(message),
        StdinError::Closed(_) | StdinError::Gone(_) => Status::failed_precondition(message),
    }
}
