//! The control plane, `modal.client.ModalClient`: one file per group of calls.

mod access;
mod apps;
mod create;
mod images;
mod life;
mod listing;
mod logs;
mod secrets;
mod stdin;
mod text;

pub(crate) use self::{access::BUILDER_VERSION, life::hold, logs::output_gone};

use std::sync::Arc;

use futures::stream::BoxStream;
use modal_proto::client::{self as pb, modal_client_server::ModalClient};
use tonic::{Request, Response, Status};

use crate::{
    auth::Caller,
    core::Core,
    ids::{Backend, SandboxId},
    sandbox::Sandbox,
};

/// Answers the control plane's calls.
#[derive(Clone, Debug)]
pub(crate) struct ControlPlane {
    core: Arc<Core>,
}

type Answer<T> = Result<Response<T>, Status>;

impl ControlPlane {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// The sandbox of a request. The calls of one backend know nothing of the
    /// other's sandboxes.
    fn sandbox(&self, backend: Backend, id: String) -> Result<Arc<Sandbox>, Status> {
        if id.is_empty() {
            return Err(Status::invalid_argument("sandbox_id is empty"));
        }
        let id = SandboxId::from_text(id);
        let sandbox = self.core.sandbox(&id)?;
        if id.backend() == backend {
            return Ok(sandbox);
        }
        Err(Status::not_found(match backend {
            Backend::V1 => format!("{id} is a V2 sandbox: call the RPC whose name ends in V2"),
            Backend::V2 => format!(
                "{id} is a V1 sandbox (sb- and 22 letters or digits): \
                 call the RPC whose name does not end in V2"
            ),
        }))
    }
}

/// Who calls: put there when the call was authenticated.
fn caller<T>(request: &Request<T>) -> Result<&Caller, Status> {
    request
        .extensions()
        .get()
        .ok_or_else(|| Status::internal("the caller was not authenticated"))
}

fn not_yet<T>(rpc: &str) -> Result<T, Status> {
    Err(Status::unimplemented(format!(
        "{rpc} is not implemented by the local Modal"
    )))
}

#[tonic::async_trait]
impl ModalClient for ControlPlane {
    async fn client_hello(&self, _: Request<()>) -> Answer<pb::ClientHelloResponse> {
        Ok(self.hello())
    }

    async fn auth_token_get(
        &self,
        _: Request<pb::AuthTokenGetRequest>,
    ) -> Answer<pb::AuthTokenGetResponse> {
        Ok(self.auth_token())
    }

    async fn app_get_or_create(
        &self,
        request: Request<pb::AppGetOrCreateRequest>,
    ) -> Answer<pb::AppGetOrCreateResponse> {
        self.app(request).await
    }

    async fn app_fetch_logs(
        &self,
        _: Request<pb::AppFetchLogsRequest>,
    ) -> Answer<pb::AppFetchLogsResponse> {
        not_yet("AppFetchLogs")
    }

    async fn environment_get_or_create(
        &self,
        request: Request<pb::EnvironmentGetOrCreateRequest>,
    ) -> Answer<pb::EnvironmentGetOrCreateResponse> {
        self.environment(request).await
    }

    async fn secret_get_or_create(
        &self,
        request: Request<pb::SecretGetOrCreateRequest>,
    ) -> Answer<pb::SecretGetOrCreateResponse> {
        self.secret(request).await
    }

    async fn image_get_or_create(
        &self,
        request: Request<pb::ImageGetOrCreateRequest>,
    ) -> Answer<pb::ImageGetOrCreateResponse> {
        self.image(request).await
    }

    type ImageJoinStreamingStream =
        BoxStream<'static, Result<pb::ImageJoinStreamingResponse, Status>>;

    async fn image_join_streaming(
        &self,
        request: Request<pb::ImageJoinStreamingRequest>,
    ) -> Answer<Self::ImageJoinStreamingStream> {
        self.join_image(request.into_inner())
    }

    async fn image_from_id(
        &self,
        request: Request<pb::ImageFromIdRequest>,
    ) -> Answer<pb::ImageFromIdResponse> {
        self.image_by_id(request.into_inner())
    }

    async fn sandbox_create(
        &self,
        request: Request<pb::SandboxCreateRequest>,
    ) -> Answer<pb::SandboxCreateResponse> {
        self.create_v1(request).await
    }

    async fn sandbox_create_v2(
        &self,
        request: Request<pb::SandboxCreateV2Request>,
    ) -> Answer<pb::SandboxCreateV2Response> {
        self.create_v2(request).await
    }

    async fn sandbox_get_task_id(
        &self,
        request: Request<pb::SandboxGetTaskIdRequest>,
    ) -> Answer<pb::SandboxGetTaskIdResponse> {
        self.task_id(Backend::V1, request.into_inner()).await
    }

    async fn sandbox_get_task_id_v2(
        &self,
        request: Request<pb::SandboxGetTaskIdRequest>,
    ) -> Answer<pb::SandboxGetTaskIdResponse> {
        self.task_id(Backend::V2, request.into_inner()).await
    }

    async fn sandbox_wait(
        &self,
        request: Request<pb::SandboxWaitRequest>,
    ) -> Answer<pb::SandboxWaitResponse> {
        self.wait(Backend::V1, request.into_inner()).await
    }

    async fn sandbox_wait_v2(
        &self,
        request: Request<pb::SandboxWaitRequest>,
    ) -> Answer<pb::SandboxWaitResponse> {
        self.wait(Backend::V2, request.into_inner()).await
    }

    async fn sandbox_terminate(
        &self,
        request: Request<pb::SandboxTerminateRequest>,
    ) -> Answer<pb::SandboxTerminateResponse> {
        self.terminate(Backend::V1, request.into_inner()).await
    }

    async fn sandbox_terminate_v2(
        &self,
        request: Request<pb::SandboxTerminateRequest>,
    ) -> Answer<pb::SandboxTerminateResponse> {
        self.terminate(Backend::V2, request.into_inner()).await
    }

    async fn sandbox_tags_set(&self, request: Request<pb::SandboxTagsSetRequest>) -> Answer<()> {
        self.set_tags(Backend::V1, request.into_inner()).await
    }

    async fn sandbox_tags_set_v2(&self, request: Request<pb::SandboxTagsSetRequest>) -> Answer<()> {
        self.set_tags(Backend::V2, request.into_inner()).await
    }

    async fn sandbox_tags_get(
        &self,
        request: Request<pb::SandboxTagsGetRequest>,
    ) -> Answer<pb::SandboxTagsGetResponse> {
        self.tags(Backend::V1, request.into_inner())
    }

    async fn sandbox_tags_get_v2(
        &self,
        request: Request<pb::SandboxTagsGetRequest>,
    ) -> Answer<pb::SandboxTagsGetResponse> {
        self.tags(Backend::V2, request.into_inner())
    }

    async fn sandbox_list(
        &self,
        request: Request<pb::SandboxListRequest>,
    ) -> Answer<pb::SandboxListResponse> {
        self.list(Some(Backend::V1), request.into_inner())
    }

    async fn sandbox_list_v2(
        &self,
        request: Request<pb::SandboxListRequest>,
    ) -> Answer<pb::SandboxListResponse> {
        self.list(None, request.into_inner())
    }

    async fn sandbox_get_from_name(
        &self,
        request: Request<pb::SandboxGetFromNameRequest>,
    ) -> Answer<pb::SandboxGetFromNameResponse> {
        self.by_name(Backend::V1, request.into_inner())
    }

    async fn sandbox_get_from_name_v2(
        &self,
        request: Request<pb::SandboxGetFromNameRequest>,
    ) -> Answer<pb::SandboxGetFromNameResponse> {
        self.by_name(Backend::V2, request.into_inner())
    }

    async fn sandbox_get_command_router_access(
        &self,
        request: Request<pb::SandboxGetCommandRouterAccessRequest>,
    ) -> Answer<pb::SandboxGetCommandRouterAccessResponse> {
        self.sandbox_router(request)
    }

    async fn task_get_command_router_access(
        &self,
        request: Request<pb::TaskGetCommandRouterAccessRequest>,
    ) -> Answer<pb::TaskGetCommandRouterAccessResponse> {
        self.task_router(request)
    }

    type SandboxGetLogsStream = BoxStream<'static, Result<pb::TaskLogsBatch, Status>>;

    async fn sandbox_get_logs(
        &self,
        request: Request<pb::SandboxGetLogsRequest>,
    ) -> Answer<Self::SandboxGetLogsStream> {
        self.logs(request.into_inner())
    }

    async fn sandbox_stdin_write(
        &self,
        request: Request<pb::SandboxStdinWriteRequest>,
    ) -> Answer<pb::SandboxStdinWriteResponse> {
        self.write_stdin(request.into_inner()).await
    }

    async fn sandbox_snapshot_fs(
        &self,
        request: Request<pb::SandboxSnapshotFsRequest>,
    ) -> Answer<pb::SandboxSnapshotFsResponse> {
        self.snapshot(request.into_inner()).await
    }
}
