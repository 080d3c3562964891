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
    execs::Exec,
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
    pub(super) fn exec_stdio(
        &self,
        request: &Request<TaskExecStdioReadRequest>,
    ) -> Answer<BoxStream<'static, Result<TaskExecStdioReadResponse, Status>>> {
        let TaskExecStdioReadRequest {
            task_id,
            exec_id,
            offset,
            ..
        } = request.get_ref();
        let exec = self.exec(request, task_id, exec_id)?;
        let stream = match request.get_ref().file_descriptor() {
            TaskExecStdioFileDescriptor::Stdout => Stream::Stdout,
            TaskExecStdioFileDescriptor::Stderr => Stream::Stderr,
        };
        let begin = Reading::Begin {
            exec,
            stream,
            offset: *offset,
        };
        Ok(Response::new(stream::unfold(begin, Reading::next).boxed()))
    }
}

/// Where a reader of a command's output stands.
enum Reading {
    Begin {
        exec: Arc<Exec>,
        stream: Stream,
        offset: u64,
    },
    At(Place),
    Over,
}

struct Place {
    output: Arc<dyn Output>,
    pin: Option<Pin>,
    offset: u64,
}

impl Reading {
    async fn next(self) -> Option<(Result<TaskExecStdioReadResponse, Status>, Self)> {
        let mut place = match self {
            Self::Begin {
                exec,
                stream,
                offset,
            } => {
                let output = Arc::clone(exec.outputs().await?.stream(stream));
                Place {
                    pin: output.pin(offset),
                    output,
                    offset,
                }
            }
            Self::At(place) => place,
            Self::Over => return None,
        };
        let failed = |status| Some((Err(status), Self::Over));
        match place.output.read(place.offset).await {
            Ok(None) => {
                place.pin.iter().for_each(Pin::finish);
                None
            }
            Ok(Some(chunk)) if chunk.start != place.offset => failed(Status::data_loss(format!(
                "output up to byte {} was dropped: the command wrote more than is kept while \
                 nobody read it",
                chunk.start
            ))),
            Ok(Some(chunk)) => {
                place.offset = chunk.end();
                place.pin.iter().for_each(|pin| pin.advance(place.offset));
                let data = chunk.bytes.into();
                Some((Ok(TaskExecStdioReadResponse { data }), Self::At(place)))
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
