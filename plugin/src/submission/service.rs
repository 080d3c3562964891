//! What submissions ask of Modal.

use crate::environment::SplitEnvironment;
use crate::modal::call::Ahead;
use crate::modal::image::{ImageError, Images, RegistryLogin};
use crate::modal::recovery::CreateError;
use crate::modal::sandbox::{SandboxHandle, SandboxSpec};
use crate::modal::{CallError, Client};
use crate::platform::Platform;
use crate::resources::cpu::MilliCpu;
use crate::resources::gpu::Gpu;
use crate::status::Sandboxes;
use crate::text::non_blank;
use std::future::Future;
use std::time::Duration;

/// The way to Modal, for whoever creates sandboxes.
pub trait Service: Sandboxes {
    /// Where an image comes from.
    type Image;
    /// An app that was found or created.
    type App;
    /// Variables that nobody may see.
    type Secret;

    /// Makes sure of the account.
    fn sign_in(&self) -> impl Future<Output = Result<(), Self::Error>>;

    /// An image in a registry. Nothing is fetched yet.
    fn image(&self, reference: &str, login: Option<&RegistryLogin>) -> Self::Image;

    /// Finds an app by its name, or creates it.
    fn app(
        &self,
        name: &str,
        environment: Option<&str>,
    ) -> impl Future<Output = Result<Self::App, Self::Error>>;

    /// Variables that nobody may see. Nothing is stored yet.
    fn secret(&self, variables: Vec<(String, String)>) -> Self::Secret;

    /// Creates a sandbox.
    fn create(
        &self,
        app: Self::App,
        image: Self::Image,
        request: SandboxRequest<Self::Secret>,
    ) -> impl Future<Output = Result<Self::Sandbox, Self::Error>>;

    /// The service's id of a sandbox.
    fn id(&self, sandbox: &Self::Sandbox) -> String;
}

/// What a sandbox is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxRequest<S> {
    /// The command and its arguments.
    pub command: Vec<String>,
    /// GPUs.
    pub gpu: Option<Gpu>,
    /// Cores.
    pub cpu: Option<f64>,
    /// Memory in the unit that Modal takes.
    pub memory: Option<u32>,
    /// At whose.
    pub cloud: Option<String>,
    /// Where.
    pub region: Option<String>,
    /// Seconds after which it is ended.
    pub timeout: u32,
    /// Variables that may be seen.
    pub environment: Vec<(String, String)>,
    /// Variables that may not.
    pub secret: Option<S>,
}

/// Modal's own, for one submission.
#[derive(Debug, Clone)]
pub struct ModalService<P> {
    client: Client<P>,
    name: Option<String>,
    tags: Vec<(String, String)>,
    ahead: Ahead,
}

impl<P: Platform> ModalService<P> {
    /// Sandboxes that are created through it get this name and these tags.
    pub fn new(client: Client<P>, name: Option<String>, tags: Vec<(String, String)>) -> Self {
        Self {
            client,
            name,
            tags,
            ahead: Ahead::default(),
        }
    }

    /// The same for a sandbox that has a GPU or not: what its creation needs is
    /// fetched beside its app, which saves two round trips.
    #[must_use]
    pub fn knowing(mut self, has_gpu: bool) -> Self {
        self.ahead = Ahead {
            auth_token: !has_gpu && self.client.options().sandbox_v2,
            builder_version: true,
        };
        self
    }
}

/// Why Modal did not do what a submission asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ServiceError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// There is no sandbox, as far as can be known.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The image cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// More cores than can be asked for.
    #[error(transparent)]
    Cpu(#[from] crate::resources::cpu::CpuError),
}

impl<P: Platform> Sandboxes for ModalService<P> {
    type Sandbox = SandboxHandle;
    type Error = ServiceError;

    async fn find(&self, id: &str) -> Result<SandboxHandle, ServiceError> {
        Ok(self.client.find(id).await?)
    }

    async fn exit_code(&self, sandbox: &SandboxHandle) -> Result<Option<i32>, ServiceError> {
        Ok(self.client.exit_code(sandbox).await?)
    }

    async fn terminate(&self, sandbox: &SandboxHandle) -> Result<(), ServiceError> {
        Ok(self.client.terminate(sandbox).await?)
    }

    async fn pause(&self, duration: Duration) {
        self.client.pause(duration).await;
    }

    fn now(&self) -> Duration {
        self.client.now()
    }

    fn warn(&self, message: &str) {
        self.client.warn(message);
    }
}

impl<P: Platform> Service for ModalService<P> {
    type Image = (String, Option<RegistryLogin>);
    type App = String;
    type Secret = Vec<(String, String)>;

    /// The host adds the account's credentials to every request.
    async fn sign_in(&self) -> Result<(), ServiceError> {
        Ok(())
    }

    fn image(&self, reference: &str, login: Option<&RegistryLogin>) -> Self::Image {
        (reference.to_owned(), login.cloned())
    }

    async fn app(&self, name: &str, environment: Option<&str>) -> Result<String, ServiceError> {
        Ok(self.client.open_app(name, environment, self.ahead).await?)
    }

    fn secret(&self, variables: Vec<(String, String)>) -> Vec<(String, String)> {
        variables
    }

    async fn create(
        &self,
        app_id: String,
        (reference, login): Self::Image,
        request: SandboxRequest<Self::Secret>,
    ) -> Result<SandboxHandle, ServiceError> {
        let cpu = match request.cpu {
            Some(cores) => MilliCpu::from_cores(cores)?,
            None => MilliCpu::default(),
        };
        let images = Images::new(self.client.clone(), app_id.clone());
        let image_id = images.from_registry(&reference, login.as_ref()).await?;
        let optional = |text: Option<String>| non_blank(text.as_deref()).map(ToOwned::to_owned);
        let spec = SandboxSpec {
            app_id,
            image_id,
            command: request.command,
            environment: SplitEnvironment {
                plain: request.environment,
                secret: request.secret.unwrap_or_default(),
            },
            cpu,
            memory: request.memory.unwrap_or_default(),
            gpu: request.gpu,
            region: optional(request.region),
            cloud: optional(request.cloud),
            timeout: request.timeout,
            name: self.name.clone(),
            tags: self.tags.clone(),
        };
        let key = self.client.new_idempotency_key();
        Ok(self.client.create_sandbox(&spec, &key, None).await?)
    }

    fn id(&self, sandbox: &SandboxHandle) -> String {
        sandbox.id.clone()
    }
}
