//! Whether a sandbox is ready.

use modal_proto::task_command_router::{
    SandboxWaitUntilReadyTcrRequest, SandboxWaitUntilReadyTcrResponse,
};
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use super::{Answer, Router};
use crate::{control, sandbox::Phase};

impl Router {
    /// Here a sandbox is ready once its command runs: readiness probes are not
    /// looked at.
    pub(super) async fn wait_until_ready(
        &self,
        request: Request<SandboxWaitUntilReadyTcrRequest>,
    ) -> Answer<SandboxWaitUntilReadyTcrResponse> {
        let sandbox = self.sandbox(&request, &request.get_ref().task_id)?;
        let hold = control::hold(request.get_ref().timeout)?;
        let runs = |phase: &Phase| matches!(phase, Phase::Running { .. }) || phase.is_final();
        match timeout(hold, sandbox.reaches(runs)).await {
            Ok(Phase::Running { started_at, .. }) => {
                Ok(Response::new(SandboxWaitUntilReadyTcrResponse {
                    ready_at: started_at.seconds(),
                }))
            }
            Ok(_) => Err(Status::not_found(format!(
                "sandbox {} has ended",
                sandbox.id
            ))),
            Err(_) => Err(Status::deadline_exceeded(format!(
                "sandbox {} has not started yet",
                sandbox.id
            ))),
        }
    }
}
