//! Sandboxes: creation.

use std::{mem, sync::Arc};

use modal_proto::client::{self as pb, secret_source::Source};
use tonic::{Request, Response, Status};

use super::{Answer, ControlPlane, caller};
use crate::{
    environment,
    ids::{AppId, Backend, ImageId, SandboxId, TaskId},
    journal::Record,
    lifecycle::{self, Command},
    names::{IdempotencyKey, Name, Tags},
    quota,
    sandbox::{Identity, Phase, Sandbox},
    store::{Image, Store},
    token::Audience,
};

/// A create request of either backend.
struct Create {
    backend: Backend,
    app_id: AppId,
    definition: pb::Sandbox,
    tags: Vec<pb::SandboxTag>,
    /// Variables in the order in which they are laid over one another.
    env: Vec<Source>,
    key: Option<IdempotencyKey>,
}

impl ControlPlane {
    pub(super) async fn create_v1(
        &self,
        request: Request<pb::SandboxCreateRequest>,
    ) -> Answer<pb::SandboxCreateResponse> {
        let key = IdempotencyKey::parse(request.metadata())?;
        let request = request.into_inner();
        let sandbox = self
            .create(Create {
                backend: Backend::V1,
                app_id: AppId::from_text(request.app_id),
                definition: defined(request.definition)?,
                tags: request.tags,
                env: Vec::new(),
                key,
            })
            .await?;
        Ok(Response::new(pb::SandboxCreateResponse {
            sandbox_id: sandbox.id.to_string(),
            metadata: Some(created(&sandbox)),
        }))
    }

    pub(super) async fn create_v2(
        &self,
        request: Request<pb::SandboxCreateV2Request>,
    ) -> Answer<pb::SandboxCreateV2Response> {
        let key = IdempotencyKey::parse(request.metadata())?;
        let caller = caller(&request)?.clone();
        let request = request.into_inner();
        let older_clients = request.ephemeral_secrets.map(Source::Env);
        let sources = request
            .secret_sources
            .into_iter()
            .filter_map(|source| source.source);
        let sandbox = self
            .create(Create {
                backend: Backend::V2,
                app_id: AppId::from_text(request.app_id),
                definition: defined(request.definition)?,
                tags: request.tags,
                env: older_clients.into_iter().chain(sources).collect(),
                key,
            })
            .await?;
        let core = &self.core;
        Ok(Response::new(pb::SandboxCreateV2Response {
            sandbox_id: sandbox.id.to_string(),
            tunnels: Vec::new(),
            task_id: sandbox.task_id.to_string(),
            metadata: Some(created(&sandbox)),
            command_router_access: Some(self.router_access(&sandbox, &caller)),
            sandbox_token: core.tokens.issue(
                Audience::Sandbox,
                sandbox.id.as_str(),
                core.clock.now(),
            ),
        }))
    }

    /// Creates a sandbox, or finds the one that this call's first attempt
    /// created; returns when it is recorded.
    async fn create(&self, create: Create) -> Result<Arc<Sandbox>, Status> {
        let sandbox = self.find_or_create(create)?;
        match sandbox
            .reaches(|phase| !matches!(phase, Phase::Recording))
            .await
        {
            Phase::Discarded(reason) => Err(Status::resource_exhausted(&*reason)),
            _ => Ok(sandbox),
        }
    }

    fn find_or_create(&self, mut create: Create) -> Result<Arc<Sandbox>, Status> {
        let core = &self.core;
        let mut store = core.store();
        let first_attempt = store
            .sandboxes
            .created_by(create.backend, create.key.as_ref());
        if let Some(sandbox) = first_attempt {
            return Ok(Arc::clone(sandbox));
        }
        if core.is_closing() {
            return Err(Status::unavailable("the local Modal is shutting down"));
        }
        let tags = Tags::parse(mem::take(&mut create.tags))?;
        let name = self.check(&store, &create)?;
        let image = ImageId::from_text(create.definition.image_id.clone());
        let image = core.image(&store, &image)?;
        let command = command(&store, &mut create, &image)?;
        quota::check(core)?;
        if store.sandboxes.running() >= core.limits.running_sandboxes {
            return Err(Status::resource_exhausted(format!(
                "the local Modal runs at most {} sandboxes at once",
                core.limits.running_sandboxes
            )));
        }

        let created_at = store.creation_time(core.clock.now());
        let sandbox = Arc::new(Sandbox::new(
            Identity {
                id: SandboxId::fresh(create.backend, &core.random, created_at),
                task_id: TaskId::fresh(create.backend, &core.random, created_at),
                app_id: create.app_id,
                name,
                created_at,
                idempotency_key: create.key,
                definition: create.definition,
                tags,
            },
            Phase::Recording,
        ));
        store.sandboxes.insert(Arc::clone(&sandbox));
        let recorded = core.record(vec![Record::sandbox(&sandbox, None)]);
        drop(store);
        lifecycle::spawn(Arc::clone(core), Arc::clone(&sandbox), command, recorded);
        Ok(sandbox)
    }

    fn check(&self, store: &Store, create: &Create) -> Result<Option<Name>, Status> {
        let invalid = |text: &str| Err(Status::invalid_argument(text));
        let definition = &create.definition;
        if store.apps.get(&create.app_id).is_none() {
            return Err(Status::not_found(format!(
                "app {:?} not found: look it up with AppGetOrCreate",
                create.app_id.as_str()
            )));
        }
        if definition.image_id.is_empty() {
            return invalid("definition.image_id is empty: create an image first");
        }
        let resources = definition.resources.as_ref();
        let gpu = resources.and_then(|resources| resources.gpu_config.as_ref());
        let wants_gpu = gpu.is_some_and(|gpu| gpu.count > 0 || !gpu.gpu_type.is_empty());
        if wants_gpu && create.backend == Backend::V2 {
            return invalid("SandboxCreateV2 gives no GPU: use SandboxCreate");
        }
        environment::check_command(&definition.entrypoint_args, definition.workdir.as_deref())?;
        let Some(name) = definition.name.as_deref().filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let name = Name::parse("sandbox", name)?;
        if let Some(holder) = store.sandboxes.named(&create.app_id, &name) {
            return Err(Status::already_exists(format!(
                "sandbox name {name} is in use by {}, which has not ended",
                holder.id
            )));
        }
        Ok(Some(name))
    }
}

/// Takes command and variables out of a request.
fn command(store: &Store, create: &mut Create, image: &Image) -> Result<Command, Status> {
    let definition = &mut create.definition;
    // Named secrets are listed here as well as among the sources: the sources,
    // laid over them, have the say.
    let referenced = definition.secret_ids.iter().cloned().map(Source::SecretId);
    let own = definition.environment_variables.take().map(Source::Env);
    let sources = referenced.chain(own).chain(mem::take(&mut create.env));
    let env = environment::overlay(store, sources)?;
    Ok(Command {
        argv: mem::take(&mut definition.entrypoint_args),
        env,
        workdir: definition.workdir.clone(),
        snapshot: image.snapshot.map(|snapshot| snapshot.hash),
    })
}

fn defined(definition: Option<pb::Sandbox>) -> Result<pb::Sandbox, Status> {
    definition.ok_or_else(|| Status::invalid_argument("definition is missing"))
}

/// The same for every attempt of a call, also when the sandbox has ended in the
/// meantime.
fn created(sandbox: &Sandbox) -> pb::SandboxHandleMetadata {
    pb::SandboxHandleMetadata {
        result: None,
        app_id: sandbox.app_id.to_string(),
    }
}
