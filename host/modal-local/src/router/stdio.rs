//! Output of a sandbox's own command, and of those executed in it, byte for
//! byte.

use std::sync::Arc;

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use modal_proto::task_command_router::{
    SandboxStdioFileDescriptor, SandboxStdioReadV2Request, SandboxStdioReadV2Response,
    TaskExecStdioFileDescriptor, TaskExecStdioReadRequest, TaskExecStdioReadResponse,
};
use tonic::{Request, Response, Status};

use super::{Answer, Router};
use crate::{
    control::output_gone,
    executor::{Output, Pin, Stream},
    sandbox::Sandbox,
};

impl Router {
    /// Streams a descriptor's bytes from `offset` to the end, which is the end
    /// of the stream; while the sandbox runs, as they come.
    ///
    /// `starting_offset` is larger than the offset asked for when older output
    /// was dropped.
    pub(super) fn sandbox_stdio(
        &self,
        request: Request<SandboxStdioReadV2Request>,
    ) -> Answer<BoxStream<'static, Result<SandboxStdioReadV2Response, Status>>> {
        let sandbox = self.sandbox(&request, &request.get_ref().task_id)?;
        let request = request.into_inner();
        let stream = match request.file_descriptor() {
            SandboxStdioFileDescriptor::Stdout => Stream::Stdout,
            SandboxStdioFileDescriptor::Stderr => Stream::Stderr,
        };
        let chunks = stream::unfold(Some(request.offset), move |offset| {
            next(Arc::clone(&sandbox), stream, offset)
        });
        Ok(Response::new(chunks.boxed()))
    }

    /// The same for an executed command, but its readers are told of no gaps,
    /// so that there are none: output that was dropped is an error.
    pub(super) async fn exec_stdio(
        &self,
        request: Request<TaskExecStdioReadRequest>,
    ) -> Answer<BoxStream<'static, Result<TaskExecStdioReadResponse, Status>>> {
        let TaskExecStdioReadRequest {
            task_id,
            exec_id,
            offset,
            ..
        } = request.get_ref();
        let exec = self.exec(&request, task_id, exec_id)?;
        let stream = match request.get_ref().file_descriptor() {
            TaskExecStdioFileDescriptor::Stdout => Stream::Stdout,
            TaskExecStdioFileDescriptor::Stderr => Stream::Stderr,
        };
        let outputs = exec.outputs().await;
        let reader = outputs.map(|outputs| {
            let output = Arc::clone(outputs.stream(stream));
            Reader {
                pin: output.pin(*offset),
                output,
                offset: *offset,
            }
        });
        let chunks = stream::unfold(reader, async |reader| reader?.next().await);
        Ok(Response::new(chunks.boxed()))
    }
}

/// A reader of a command's output.
struct Reader {
    output: Arc<dyn Output>,
    pin: Option<Pin>,
    offset: u64,
}

impl Reader {
    /// The next chunk and who reads on; nobody after an error.
    async fn next(mut self) -> Option<(Result<TaskExecStdioReadResponse, Status>, Option<Self>)> {
        let failed = |status| Some((Err(status), None));
        match self.output.read(self.offset).await {
            Ok(None) => {
                self.pin.iter().for_each(Pin::finish);
                None
            }
            Ok(Some(chunk)) if chunk.start != self.offset => failed(Status::data_loss(format!(
                "output up to byte {} was dropped: the command wrote more than is kept while \
                 nobody read it",
                chunk.start
            ))),
            Ok(Some(chunk)) => {
                self.offset = chunk.end();
                self.pin.iter().for_each(|pin| pin.advance(self.offset));
                let data = chunk.bytes.into();
                Some((Ok(TaskExecStdioReadResponse { data }), Some(self)))
            }
            Err(error) => failed(Status::data_loss(format!("output cannot be read: {error}"))),
        }
    }
}

type Step = Option<(Result<SandboxStdioReadV2Response, Status>, Option<u64>)>;

async fn next(sandbox: Arc<Sandbox>, stream: Stream, offset: Option<u64>) -> Step {
    let outputs = sandbox.outputs().await?;
    match outputs.stream(stream).read(offset?).await {
        Ok(chunk) => {
            let chunk = chunk?;
            let next = Some(chunk.end());
            let response = SandboxStdioReadV2Response {
                data: chunk.bytes.into(),
                starting_offset: chunk.start,
            };
            Some((Ok(response), next))
        }
        Err(error) => Some((Err(output_gone(&sandbox, &error)), None)),
    }
}
