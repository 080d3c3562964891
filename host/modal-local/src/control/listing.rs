//! Sandboxes: finding them by tag, name and age.

use modal_proto::client as pb;
use tonic::{Response, Status};

use super::{Answer, ControlPlane};
use crate::{
    ids::{AppId, Backend},
    journal::Record,
    names::{Name, Tags},
    store::Query,
};

impl ControlPlane {
    /// Replaces all tags.
    pub(super) async fn set_tags(
        &self,
        backend: Backend,
        request: pb::SandboxTagsSetRequest,
    ) -> Answer<()> {
        let sandbox = self.sandbox(backend, request.sandbox_id)?;
        let tags = Tags::parse(request.tags)?;
        let recorded = {
            let _store = self.core.store();
            sandbox.set_tags(tags);
            self.core.record(vec![Record::sandbox(&sandbox, None)])
        };
        recorded.committed().await?;
        Ok(Response::new(()))
    }

    pub(super) fn tags(
        &self,
        backend: Backend,
        request: pb::SandboxTagsGetRequest,
    ) -> Answer<pb::SandboxTagsGetResponse> {
        let sandbox = self.sandbox(backend, request.sandbox_id)?;
        Ok(Response::new(pb::SandboxTagsGetResponse {
            tags: sandbox.tags().to_wire(),
        }))
    }

    /// One page, newest first. Clients ask again with the `created_at` of the
    /// last item until a page is empty.
    ///
    /// With an app, its sandboxes, whatever environment the client is
    /// configured for; without, those of the environment.
    pub(super) fn list(
        &self,
        backend: Option<Backend>,
        request: pb::SandboxListRequest,
    ) -> Answer<pb::SandboxListResponse> {
        if request.before_timestamp.is_nan() {
            return Err(Status::invalid_argument("before_timestamp is not a number"));
        }
        let tags = Tags::parse(request.tags)?;
        let store = self.core.store();
        let app = AppId::from_text(request.app_id);
        let environment = Name::environment(&request.environment_name)?;
        let by_app = !app.as_str().is_empty();
        if by_app && store.apps.get(&app).is_none() {
            return Err(Status::not_found(format!("app {app} not found")));
        }
        let in_app = |id: &AppId| {
            if by_app {
                *id == app
            } else {
                let app = store.apps.get(id);
                app.is_some_and(|app| app.environment == environment)
            }
        };
        let query = Query {
            before: (request.before_timestamp > 0.0).then_some(request.before_timestamp),
            include_finished: request.include_finished,
            tags: &tags,
            backend,
        };
        let sandboxes = store
            .sandboxes
            .list(&query, in_app)
            .take(self.core.limits.list_page.max(1))
            .map(|sandbox| sandbox.info())
            .collect();
        Ok(Response::new(pb::SandboxListResponse { sandboxes }))
    }

    /// The sandbox that uses a name, or on request the last one that did.
    pub(super) fn by_name(
        &self,
        backend: Backend,
        request: pb::SandboxGetFromNameRequest,
    ) -> Answer<pb::SandboxGetFromNameResponse> {
        let environment = Name::environment(&request.environment_name)?;
        let app_name = Name::parse("app", &request.app_name)?;
        let name = Name::parse("sandbox", &request.sandbox_name)?;
        let store = self.core.store();
        let app = store.apps.named(&environment, &app_name).ok_or_else(|| {
            Status::not_found(format!(
                "app {app_name} not found in environment {environment}"
            ))
        })?;
        let sandboxes = &store.sandboxes;
        let found = sandboxes.named(&app.id, &name).or_else(|| {
            let last = || sandboxes.last_named(&app.id, &name);
            request.include_terminated.then(last).flatten()
        });
        // The V2 call finds both kinds, as the V2 listing does.
        let found = found
            .filter(|sandbox| backend == Backend::V2 || sandbox.id.backend() == Backend::V1)
            .ok_or_else(|| {
                Status::not_found(format!("no running sandbox named {name} in app {app_name}"))
            })?;
        Ok(Response::new(pb::SandboxGetFromNameResponse {
            sandbox_id: found.id.to_string(),
            metadata: Some(found.handle_metadata()),
        }))
    }
}
