//! The worker plane, `modal.task_command_router.TaskCommandRouter`: one file
//! per group of calls.

mod exec;
mod ready;
mod snapshot;
mod stdin;
mod stdio;

use std::sync::Arc;

use futures::stream::BoxStream;
use modal_proto::task_command_router::{
    self as tcr, task_command_router_server::TaskCommandRouter,
};
use tonic::{Request, Response, Status, Streaming};

use crate::{auth::RouterGrant, core::Core, sandbox::Sandbox};

/// Answers the worker plane's calls.
#[derive(Clone, Debug)]
pub(crate) struct Router {
    core: Arc<Core>,
}

type Answer<T> = Result<Response<T>, Status>;

impl Router {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// The sandbox of a request's task, if the caller may.
    fn sandbox<T>(&self, request: &Request<T>, task_id: &str) -> Result<Arc<Sandbox>, Status> {
        self.sandbox_of(grant(request)?, task_id)
    }

    fn sandbox_of(&self, grant: &RouterGrant, task_id: &str) -> Result<Arc<Sandbox>, Status> {
        let task = grant.covers(task_id)?;
        let sandbox = self.core.store().sandboxes.of_task(task).cloned();
        sandbox.ok_or_else(|| {
            Status::not_found(format!("task {task} not found: its sandbox was forgotten"))
        })
    }
}

/// What the caller may: put there when the call was authenticated.
fn grant<T>(request: &Request<T>) -> Result<&RouterGrant, Status> {
    request
        .extensions()
        .get()
        .ok_or_else(|| Status::internal("the caller was not authenticated"))
}

#[tonic::async_trait]
impl TaskCommandRouter for Router {
    type SandboxStdioReadV2Stream =
        BoxStream<'static, Result<tcr::SandboxStdioReadV2Response, Status>>;

    async fn sandbox_stdio_read_v2(
        &self,
        request: Request<tcr::SandboxStdioReadV2Request>,
    ) -> Answer<Self::SandboxStdioReadV2Stream> {
        self.sandbox_stdio(request)
    }

    async fn sandbox_stdin_write_v2(
        &self,
        request: Request<tcr::SandboxStdinWriteV2Request>,
    ) -> Answer<tcr::SandboxStdinWriteV2Response> {
        self.write_sandbox_stdin(request).await
    }

    async fn sandbox_wait_until_ready(
        &self,
        request: Request<tcr::SandboxWaitUntilReadyTcrRequest>,
    ) -> Answer<tcr::SandboxWaitUntilReadyTcrResponse> {
        self.wait_until_ready(request).await
    }

    async fn task_exec_start(
        &self,
        request: Request<tcr::TaskExecStartRequest>,
    ) -> Answer<tcr::TaskExecStartResponse> {
        self.start_exec(request).await
    }

    async fn task_exec_poll(
        &self,
        request: Request<tcr::TaskExecPollRequest>,
    ) -> Answer<tcr::TaskExecPollResponse> {
        self.poll_exec(&request)
    }

    async fn task_exec_wait(
        &self,
        request: Request<tcr::TaskExecWaitRequest>,
    ) -> Answer<tcr::TaskExecWaitResponse> {
        self.wait_exec(request).await
    }

    type TaskExecStdioReadStream =
        BoxStream<'static, Result<tcr::TaskExecStdioReadResponse, Status>>;

    async fn task_exec_stdio_read(
        &self,
        request: Request<tcr::TaskExecStdioReadRequest>,
    ) -> Answer<Self::TaskExecStdioReadStream> {
        self.exec_stdio(request).await
    }

    async fn task_exec_stdin_write(
        &self,
        request: Request<tcr::TaskExecStdinWriteRequest>,
    ) -> Answer<tcr::TaskExecStdinWriteResponse> {
        self.write_exec_stdin(request).await
    }

    async fn task_exec_stdin_write_stream(
        &self,
        request: Request<Streaming<tcr::TaskExecStdinWriteStreamRequest>>,
    ) -> Answer<tcr::TaskExecStdinWriteStreamResponse> {
        self.stream_exec_stdin(request).await
    }

    async fn task_exec_stdin_status(
        &self,
        request: Request<tcr::TaskExecStdinStatusRequest>,
    ) -> Answer<tcr::TaskExecStdinStatusResponse> {
        self.exec_stdin_status(request).await
    }

    async fn task_snapshot_filesystem(
        &self,
        request: Request<tcr::TaskSnapshotFilesystemRequest>,
    ) -> Answer<tcr::TaskSnapshotFilesystemResponse> {
        self.snapshot(request).await
    }
}
