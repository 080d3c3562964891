//! The sandbox's own output, byte for byte.

use std::sync::Arc;

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use modal_proto::task_command_router::{
    SandboxStdioFileDescriptor, SandboxStdioReadV2Request, SandboxStdioReadV2Response,
};
use tonic::{Request, Response, Status};

use super::{Answer, Router};
use crate::{control::output_gone, executor::Stream, sandbox::Sandbox};

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
