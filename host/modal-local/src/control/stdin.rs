//! Input of V1 sandboxes.

use bytes::Bytes;
use modal_proto::client as pb;
use tonic::{Response, Status};

use super::{Answer, ControlPlane};
use crate::{
    ids::Backend,
    stdin::{NumberedWrite, StdinError},
};

impl ControlPlane {
    /// Takes the writes that clients number from 1. One that was taken before
    /// is left out, and one that broke off is taken up where it did.
    pub(super) async fn write_stdin(
        &self,
        request: pb::SandboxStdinWriteRequest,
    ) -> Answer<pb::SandboxStdinWriteResponse> {
        let sandbox = self.sandbox(Backend::V1, request.sandbox_id)?;
        if request.index == 0 {
            return Err(Status::invalid_argument("index is 0: the first write is 1"));
        }
        let stdin = sandbox.stdin().await.ok_or_else(|| {
            Status::failed_precondition(format!("sandbox {} has ended", sandbox.id))
        })?;
        sandbox.activity.touch();
        let mut newest = sandbox.newest_write.lock().await;
        let next = newest.index.saturating_add(1);
        if request.index > next {
            return Err(Status::out_of_range(format!(
                "index is {}, but write {next} was not sent yet",
                request.index,
            )));
        }
        if request.index == next {
            let (start, _) = stdin.status().await;
            *newest = NumberedWrite { index: next, start };
        }
        let refusal = |error: StdinError| Status::failed_precondition(error.to_string());
        let writer = stdin.writer();
        if request.index == newest.index {
            let input = Bytes::from(request.input);
            writer.write(newest.start, input).await.map_err(refusal)?;
        }
        if request.eof {
            writer.close().await.map_err(refusal)?;
        }
        Ok(Response::new(pb::SandboxStdinWriteResponse {}))
    }
}
