//! The stack component: how sessions come to be.

use super::error::{CreateError, OpenError, ResourceFaults};
use super::service::{RunningSandbox, SandboxService, SandboxSpec, Surroundings};
use super::session::Session;
use crate::config::FieldFault;
use crate::config::sandbox::SandboxSettings;
use crate::environment;
use crate::modal::image::RegistryLogin;
use crate::registry;
use crate::resources::gpu::{self, Choice};
use crate::resources::settings::ResourceSettings;
use crate::text::non_blank;
use serde_json::Map;
use uuid::Uuid;

/// A component of the sandbox flavor.
#[derive(Debug, Clone)]
pub struct Component {
    /// ZenML's id of it. Absent outside of a stack.
    pub id: Option<Uuid>,
    /// The Modal app of its sandboxes.
    pub app_name: String,
    /// The registry of the stack, and who it knows us as.
    pub registry: Option<(String, RegistryLogin)>,
}

/// The files of a sandbox, kept as an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The component whose sandbox it was taken of. Absent outside of a stack.
    pub component: Option<Uuid>,
    /// Modal's id of the image.
    pub image: String,
}

/// What is particular about a new session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Particulars {
    /// Unique among the running sandboxes of the app.
    pub name: Option<String>,
    /// Besides the tags that every sandbox gets, which win.
    pub tags: Vec<(String, String)>,
    /// Whether leaving the session ends the sandbox.
    pub destroy_on_exit: bool,
}

/// A session of a service.
pub type SessionOf<S, U> = Session<<S as SandboxService>::Sandbox, U>;

/// Why there is no session with a service.
pub type OpenErrorOf<S> = OpenError<<S as SandboxService>::Error>;

impl Component {
    /// Creates a sandbox and opens a session with it. `connect` is called when the
    /// service is first needed.
    ///
    /// # Errors
    ///
    /// When the settings make no sense or the service fails. No sandbox is left
    /// then.
    pub async fn create<S: SandboxService, U: Surroundings>(
        &self,
        connect: impl FnOnce() -> Result<S, S::Error>,
        surroundings: U,
        settings: SandboxSettings,
        particulars: Particulars,
    ) -> Result<SessionOf<S, U>, OpenErrorOf<S>> {
        let service = connect().map_err(OpenError::Service)?;
        let image = service
            .registry_image(&settings.image, self.login_for(&settings.image))
            .await
            .map_err(OpenError::Service)?;
        let sandbox = self
            .boot(&service, &surroundings, image, settings, &particulars)
            .await
            .map_err(OpenError::Create)?;
        let destroy_on_exit = particulars.destroy_on_exit;
        Ok(Session::open(sandbox, self.id, surroundings, destroy_on_exit).await)
    }

    /// Opens a session with a sandbox that lives.
    ///
    /// # Errors
    ///
    /// When there is none with this id, or it has ended.
    pub async fn attach<S: SandboxService, U: Surroundings>(
        &self,
        connect: impl FnOnce() -> Result<S, S::Error>,
        surroundings: U,
        sandbox_id: &str,
    ) -> Result<SessionOf<S, U>, OpenErrorOf<S>> {
        let service = connect().map_err(OpenError::Service)?;
        let found = service.find(sandbox_id).await;
        self.open_found(found, surroundings, sandbox_id).await
    }

    /// Opens a session with the sandbox of the app that runs under a name.
    ///
    /// # Errors
    ///
    /// When there is none, or it has ended meanwhile.
    pub async fn attach_named<S: SandboxService, U: Surroundings>(
        &self,
        connect: impl FnOnce() -> Result<S, S::Error>,
        surroundings: U,
        environment: Option<&str>,
        name: &str,
    ) -> Result<SessionOf<S, U>, OpenErrorOf<S>> {
        let service = connect().map_err(OpenError::Service)?;
        let found = service.find_named(&self.app_name, environment, name).await;
        self.open_found(found, surroundings, name).await
    }

    async fn open_found<B: RunningSandbox, U: Surroundings>(
        &self,
        found: Result<B, B::Error>,
        surroundings: U,
        sandbox_id: &str,
    ) -> Result<Session<B, U>, OpenError<B::Error>> {
        let sandbox = found.map_err(|cause| OpenError::Attach {
            id: sandbox_id.to_owned(),
            cause,
        })?;
        // The service hands out dead ones too; the first command would fail.
        match sandbox.poll().await.map_err(OpenError::Service)? {
            None => Ok(Session::open(sandbox, self.id, surroundings, false).await),
            Some(_) => Err(OpenError::Ended {
                id: sandbox_id.to_owned(),
            }),
        }
    }

    /// Creates a sandbox from a snapshot and opens a session with it. `connect` is
    /// called when the service is first needed.
    ///
    /// # Errors
    ///
    /// When the snapshot is another component's, the settings make no sense or the
    /// service fails. No sandbox is left then.
    pub async fn restore<S: SandboxService, U: Surroundings>(
        &self,
        connect: impl FnOnce() -> Result<S, S::Error>,
        surroundings: U,
        snapshot: &Snapshot,
        settings: SandboxSettings,
        particulars: Particulars,
    ) -> Result<SessionOf<S, U>, OpenErrorOf<S>> {
        if let (Some(snapshot), Some(component)) = (snapshot.component, self.id)
            && snapshot != component
        {
            return Err(OpenError::OtherComponent {
                snapshot,
                component,
            });
        }
        let service = connect().map_err(OpenError::Service)?;
        let booted = async {
            let image = service.snapshot_image(&snapshot.image).await;
            let image = image.map_err(CreateError::Service)?;
            self.boot(&service, &surroundings, image, settings, &particulars)
                .await
        };
        let sandbox = booted.await.map_err(|cause| OpenError::Restore {
            image: snapshot.image.clone(),
            cause,
        })?;
        Ok(Session::open(sandbox, self.id, surroundings, false).await)
    }

    /// The login for an image, when the stack's registry holds it. An image is what
    /// a user writes; a login must not go to whatever registry that names.
    fn login_for(&self, image: &str) -> Option<&RegistryLogin> {
        let (registry, login) = self.registry.as_ref()?;
        registry::holds(registry, image).then_some(login)
    }

    /// Creates a sandbox and tags it. One that cannot be tagged is ended: nobody
    /// would ever find it.
    async fn boot<S: SandboxService, U: Surroundings>(
        &self,
        service: &S,
        surroundings: &U,
        image: S::Image,
        settings: SandboxSettings,
        particulars: &Particulars,
    ) -> Result<S::Sandbox, CreateError<S::Error>> {
        let mut spec = self.spec(service, surroundings, image, settings).await?;
        spec.name.clone_from(&particulars.name);
        let sandbox = service.create(spec).await.map_err(CreateError::Service)?;
        let mut tags = self.tags(sandbox.id(), surroundings);
        for (name, value) in &particulars.tags {
            if tags.iter().all(|(known, _)| known != name) {
                tags.push((name.clone(), value.clone()));
            }
        }
        let Err(untagged) = sandbox.set_tags(tags).await else {
            return Ok(sandbox);
        };
        if let Err(error) = sandbox.terminate().await {
            surroundings.warn(&format!(
                "Modal sandbox '{}' could not be tagged and could not be terminated either: \
                 {error}. It may keep running (and billing) until its timeout; stop it from the \
                 Modal dashboard.",
                sandbox.id()
            ));
        }
        Err(CreateError::Service(untagged))
    }

    async fn spec<S: SandboxService, U: Surroundings>(
        &self,
        service: &S,
        surroundings: &U,
        image: S::Image,
        settings: SandboxSettings,
    ) -> Result<SandboxSpec<S>, CreateError<S::Error>> {
        let environment = non_blank(settings.modal_environment.as_deref());
        let app = service.app(&self.app_name, environment).await;
        let app = app.map_err(CreateError::Service)?;
        let Resources { cpu, memory } = resources(&settings).map_err(CreateError::Resources)?;
        let variables = environment::split(settings.environment);
        let mut secrets = Vec::new();
        if !variables.secret.is_empty() {
            let secret = service.secret(variables.secret).await;
            secrets.push(secret.map_err(CreateError::Service)?);
        }
        let choice = gpu::choose(settings.gpu.as_deref(), None, gpu::STEP_OPERATOR);
        let choice = choice.map_err(CreateError::Gpu)?;
        if let Some(warning) = choice.warning() {
            surroundings.warn(&warning);
        }
        Ok(SandboxSpec {
            app,
            image,
            gpu: match choice {
                Choice::Gpu(gpu) => Some(gpu),
                Choice::Cpu | Choice::CpuDespite { .. } => None,
            },
            cpu,
            memory,
            cloud: settings.cloud,
            region: settings.region,
            timeout: settings.timeout,
            environment: variables.plain,
            secrets,
            name: None,
        })
    }

    fn tags<U: Surroundings>(&self, sandbox_id: &str, surroundings: &U) -> Vec<(String, String)> {
        let mut tags = vec![("zenml-sandbox-id", sandbox_id.to_owned())];
        if let Some(id) = self.id {
            tags.push(("zenml-sandbox-component-id", id.to_string()));
        }
        if let Some(step) = surroundings.step() {
            tags.push(("run_id", step.run.to_string()));
            tags.push(("step_run_id", step.step_run.to_string()));
        }
        let tags = tags.into_iter();
        tags.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

struct Resources {
    cpu: Option<f64>,
    memory: Option<u32>,
}

/// What a session asks of its machine. All that is wrong at once.
fn resources(settings: &SandboxSettings) -> Result<Resources, ResourceFaults> {
    let mut document = Map::new();
    document.insert("cpu_count".to_owned(), settings.cpu.into());
    document.insert("memory".to_owned(), settings.memory.clone().into());
    let invalid = |faults| ResourceFaults::new(faults, &document);
    let resources = ResourceSettings::read(document.clone()).map_err(invalid)?;
    let memory = resources
        .memory
        .map(|(_, memory)| memory.request(settings.measure));
    let memory = memory
        .transpose()
        .map_err(|error| invalid(vec![FieldFault::new(["memory"], error.kind(), error)]))?;
    Ok(Resources {
        cpu: resources.cpu_count,
        memory,
    })
}
