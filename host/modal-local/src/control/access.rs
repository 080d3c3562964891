//! Greeting, short-lived tokens, and the way to the worker plane.

use modal_proto::client::{self as pb, sandbox_get_command_router_access_request::Target};
use tonic::{Request, Response, Status};

use super::{Answer, ControlPlane, caller};
use crate::{
    auth::Caller,
    ids::{SandboxId, TaskId},
    sandbox::Sandbox,
    token::Audience,
};

/// The image builder version that environments report. The official clients
/// refuse one they do not know, the empty one too.
pub(crate) const BUILDER_VERSION: &str = "2025.06";

impl ControlPlane {
    pub(super) fn hello(&self) -> Response<pb::ClientHelloResponse> {
        Response::new(pb::ClientHelloResponse {
            warning: String::new(),
            image_builder_version: BUILDER_VERSION.to_owned(),
        })
    }

    pub(super) fn auth_token(&self) -> Response<pb::AuthTokenGetResponse> {
        let core = &self.core;
        Response::new(pb::AuthTokenGetResponse {
            token: core.tokens.issue(
                Audience::ControlPlane,
                &core.credentials.token_id,
                core.clock.now(),
            ),
        })
    }

    pub(super) fn sandbox_router(
        &self,
        request: Request<pb::SandboxGetCommandRouterAccessRequest>,
    ) -> Answer<pb::SandboxGetCommandRouterAccessResponse> {
        let sandbox = match &request.get_ref().target {
            Some(Target::SandboxId(id)) => self.core.sandbox(&SandboxId::from_text(id))?,
            Some(Target::TaskId(id)) => self.sandbox_of_task(id)?,
            None => {
                return Err(Status::invalid_argument(
                    "neither sandbox_id nor task_id is given",
                ));
            }
        };
        let access = self.router_access(&sandbox, caller(&request)?);
        Ok(Response::new(pb::SandboxGetCommandRouterAccessResponse {
            jwt: access.jwt,
            url: access.url,
        }))
    }

    pub(super) fn task_router(
        &self,
        request: Request<pb::TaskGetCommandRouterAccessRequest>,
    ) -> Answer<pb::TaskGetCommandRouterAccessResponse> {
        let sandbox = self.sandbox_of_task(&request.get_ref().task_id)?;
        let access = self.router_access(&sandbox, caller(&request)?);
        Ok(Response::new(pb::TaskGetCommandRouterAccessResponse {
            jwt: access.jwt,
            url: access.url,
        }))
    }

    /// Given out for ended sandboxes too: their output can still be read.
    pub(super) fn router_access(
        &self,
        sandbox: &Sandbox,
        caller: &Caller,
    ) -> pb::CommandRouterAccess {
        let now = self.core.clock.now();
        pb::CommandRouterAccess {
            jwt: self
                .core
                .tokens
                .issue(Audience::Router, sandbox.task_id.as_str(), now),
            url: caller.router_url(),
        }
    }

    fn sandbox_of_task(&self, id: &str) -> Result<std::sync::Arc<Sandbox>, Status> {
        let task = TaskId::from_text(id);
        self.core
            .store()
            .sandboxes
            .of_task(&task)
            .cloned()
            .ok_or_else(|| Status::not_found(format!("task {id:?} not found")))
    }
}
