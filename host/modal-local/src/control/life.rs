//! Sandboxes: waiting for their task and their end, and ending them.

use std::time::Duration;

use modal_proto::client as pb;
use tokio::time::timeout;
use tonic::{Response, Status};

use super::{Answer, ControlPlane};
use crate::{ids::Backend, limits, sandbox::Phase};

impl ControlPlane {
    /// Answers at once when the sandbox is scheduled or has ended, else holds
    /// the question for a moment.
    ///
    /// The task of an ended sandbox is named together with the result: clients
    /// that find only a result take the creation for failed, or ask for ever.
    pub(super) async fn task_id(
        &self,
        backend: Backend,
        request: pb::SandboxGetTaskIdRequest,
    ) -> Answer<pb::SandboxGetTaskIdResponse> {
        let sandbox = self.sandbox(backend, request.sandbox_id)?;
        let hold = match request.timeout {
            Some(seconds) => hold(seconds)?,
            None => limits::TASK_ID_HOLD,
        };
        let settled = |phase: &Phase| phase.is_scheduled() || phase.is_final();
        let _ = timeout(hold, sandbox.reaches(settled)).await;
        let is_scheduled = sandbox.phase().is_scheduled();
        Ok(Response::new(pb::SandboxGetTaskIdResponse {
            task_id: is_scheduled.then(|| sandbox.task_id.to_string()),
            task_result: sandbox.result(),
        }))
    }

    /// The result, unset after `timeout` seconds in which the sandbox has not
    /// ended.
    pub(super) async fn wait(
        &self,
        backend: Backend,
        request: pb::SandboxWaitRequest,
    ) -> Answer<pb::SandboxWaitResponse> {
        let sandbox = self.sandbox(backend, request.sandbox_id)?;
        let hold = hold(request.timeout)?;
        let _ = timeout(hold, sandbox.reaches(Phase::is_final)).await;
        Ok(Response::new(pb::SandboxWaitResponse {
            result: sandbox.result(),
            metadata: Some(sandbox.handle_metadata()),
        }))
    }

    /// Returns when nothing of the sandbox runs any more. Whoever hangs up
    /// early ends it all the same.
    pub(super) async fn terminate(
        &self,
        backend: Backend,
        request: pb::SandboxTerminateRequest,
    ) -> Answer<pb::SandboxTerminateResponse> {
        let sandbox = self.sandbox(backend, request.sandbox_id)?;
        let existing_result = sandbox.result();
        if existing_result.is_none() {
            tracing::debug!(sandbox = %sandbox.id, "terminated by a client");
            sandbox.terminate();
            sandbox.reaches(Phase::is_final).await;
        }
        Ok(Response::new(pb::SandboxTerminateResponse {
            existing_result,
        }))
    }
}

/// How long to hold a call, from the seconds a client asks for.
pub(crate) fn hold(seconds: f32) -> Result<Duration, Status> {
    if seconds.is_nan() || seconds < 0.0 {
        return Err(Status::invalid_argument(format!(
            "timeout must be 0 or more seconds, not {seconds}"
        )));
    }
    let longest = limits::WAIT_HOLD;
    Ok(Duration::try_from_secs_f32(seconds).map_or(longest, |hold| hold.min(longest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_bounded() {
        assert_eq!(hold(0.0).unwrap(), Duration::ZERO);
        assert_eq!(hold(10.0).unwrap(), Duration::from_secs(10));
        assert_eq!(hold(f32::MAX).unwrap(), limits::WAIT_HOLD);
        assert_eq!(hold(f32::INFINITY).unwrap(), limits::WAIT_HOLD);
        assert!(hold(-1.0).is_err());
        assert!(hold(f32::NAN).is_err());
    }
}
