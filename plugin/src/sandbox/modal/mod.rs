//! Sandboxes of Modal, as sessions need them.

mod error;
mod files;

pub use error::{FileError, ModalError};
pub use files::{Sink, check_path};

use super::service::{Command, RunningCommand, RunningSandbox, SandboxService, SandboxSpec};
use crate::environment::SplitEnvironment;
use crate::limits;
use crate::modal::call::{Ahead, Client};
use crate::modal::error::CallError;
use crate::modal::image::{Images, RegistryLogin};
use crate::modal::output::OutputStream;
use crate::modal::router::{self, CommandSpec, Input, Router};
use crate::modal::sandbox::{Backend, SandboxHandle, SandboxSpec as ModalSpec, TaskId};
use crate::platform::{LogLevel, Platform};
use crate::resources::cpu::MilliCpu;
use crate::status::Sandboxes as _;
use crate::text::non_blank;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use tonic::Code;

/// The sandboxes of one account.
///
/// `K` is where files that are copied out of a sandbox go to.
#[derive(Debug)]
pub struct ModalSandboxes<P, K> {
    client: Client<P>,
    /// Whether sandboxes that are created have a GPU.
    has_gpu: bool,
    /// Whether an image in a registry was asked for.
    is_from_registry: Cell<bool>,
    sink: PhantomData<fn(K)>,
}

impl<P: Platform, K> ModalSandboxes<P, K> {
    /// The sandboxes that a client reaches. Knowing beforehand whether those that
    /// are created will have a GPU saves a round trip.
    pub fn new(client: Client<P>, has_gpu: bool) -> Self {
        Self {
            client,
            has_gpu,
            is_from_registry: Cell::new(false),
            sink: PhantomData,
        }
    }

    fn sandbox(&self, handle: SandboxHandle) -> ModalSandbox<P, K> {
        ModalSandbox {
            router: Router::new(self.client.clone(), handle),
            sink: PhantomData,
        }
    }

    /// A sandbox of the older backend exists once it is scheduled; one that is not
    /// in the end is given up.
    async fn schedule(&self, mut handle: SandboxHandle) -> Result<SandboxHandle, CallError> {
        let failure = match self.client.task_id(&handle).await {
            Ok(TaskId::Scheduled(task_id)) => {
                handle.task_id = Some(task_id);
                return Ok(handle);
            }
            Ok(TaskId::Ended(ending)) => {
                let reason = ending.reason().unwrap_or_default();
                return Err(CallError::Status {
                    operation: "SandboxGetTaskId",
                    code: Code::FailedPrecondition,
                    message: format!("the sandbox ended before it ran: {reason}"),
                    retry_after: None,
                });
            }
            Err(failure) => failure,
        };
        let patience = limits::TERMINATE_PATIENCE;
        if let Err(error) = self.client.terminate_sandbox(&handle, patience).await {
            let message = format!("{} was not scheduled and not ended: {error}", handle.id);
            self.client.platform().log(LogLevel::Warn, &message);
        }
        Err(failure)
    }
}

/// What a sandbox is made from.
#[derive(Debug, Clone)]
pub enum ImageSource {
    /// An image in a registry, and who it knows us as.
    Registry(String, Option<RegistryLogin>),
    /// An image that exists.
    Snapshot(String),
}

impl<P: Platform, K: Sink> SandboxService for ModalSandboxes<P, K> {
    type Error = ModalError;
    type App = String;
    type Image = ImageSource;
    type Secret = Vec<(String, String)>;
    type Sandbox = ModalSandbox<P, K>;

    async fn registry_image(
        &self,
        reference: &str,
        login: Option<&RegistryLogin>,
    ) -> Result<ImageSource, ModalError> {
        self.is_from_registry.set(true);
        Ok(ImageSource::Registry(reference.to_owned(), login.cloned()))
    }

    async fn snapshot_image(&self, id: &str) -> Result<ImageSource, ModalError> {
        Ok(ImageSource::Snapshot(id.to_owned()))
    }

    async fn app(&self, name: &str, environment: Option<&str>) -> Result<String, ModalError> {
        let ahead = Ahead {
            auth_token: !self.has_gpu && self.client.options().sandbox_v2,
            builder_version: self.is_from_registry.get(),
        };
        Ok(self.client.open_app(name, environment, ahead).await?)
    }

    async fn secret(
        &self,
        variables: Vec<(String, String)>,
    ) -> Result<Vec<(String, String)>, ModalError> {
        Ok(variables)
    }

    async fn create(&self, spec: SandboxSpec<Self>) -> Result<ModalSandbox<P, K>, ModalError> {
        let cpu = match spec.cpu {
            Some(cores) => MilliCpu::from_cores(cores)?,
            None => MilliCpu::default(),
        };
        let image_id = match spec.image {
            ImageSource::Snapshot(id) => self.client.image_from_id(&id).await?,
            ImageSource::Registry(reference, login) => {
                let images = Images::new(self.client.clone(), spec.app.clone());
                images.from_registry(&reference, login.as_ref()).await?
            }
        };
        let key = self.client.new_idempotency_key();
        let optional = |text: Option<String>| non_blank(text.as_deref()).map(ToOwned::to_owned);
        let spec = ModalSpec {
            app_id: spec.app,
            image_id,
            command: Vec::new(),
            environment: SplitEnvironment {
                plain: spec.environment,
                secret: spec.secrets.into_iter().flatten().collect(),
            },
            cpu,
            memory: spec.memory.unwrap_or_default(),
            gpu: spec.gpu,
            region: optional(spec.region),
            cloud: optional(spec.cloud),
            timeout: spec.timeout,
            name: spec.name,
            // One of its kind, by which the sandbox is found when the answer is
            // lost. The tags that it is to have take its place.
            tags: vec![(CREATED_BY.to_owned(), key.clone())],
        };
        let handle = self.client.create_sandbox(&spec, &key, None).await?;
        let handle = match handle.backend() {
            Backend::V1 => self.schedule(handle).await?,
            Backend::V2 => handle,
        };
        Ok(self.sandbox(handle))
    }

    async fn find(&self, id: &str) -> Result<ModalSandbox<P, K>, ModalError> {
        let handle = SandboxHandle::attached(id.to_owned());
        let asked = self.client.exit_code(&handle);
        self.client
            .within(limits::FIRST_CONTACT, "SandboxWait", asked)
            .await?;
        Ok(self.sandbox(handle))
    }

    async fn find_named(
        &self,
        app: &str,
        environment: Option<&str>,
        name: &str,
    ) -> Result<ModalSandbox<P, K>, ModalError> {
        let id = self.client.find_named(app, environment, name).await?;
        Ok(self.sandbox(SandboxHandle::attached(id)))
    }
}

/// Tag of a sandbox whose creation is under way: the key of the request.
const CREATED_BY: &str = "zenml-sandbox-request";

/// A sandbox of Modal.
pub struct ModalSandbox<P, K> {
    router: Router<P>,
    sink: PhantomData<fn(K)>,
}

impl<P: fmt::Debug, K> fmt::Debug for ModalSandbox<P, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ModalSandbox").field(&self.router).finish()
    }
}

/// Where the page about a sandbox is; nothing is asked for it.
pub fn page(id: &str) -> String {
    format!("https://modal.com/id/{id}")
}

/// The contents of a file, in pieces of [`limits::INPUT_PIECE`] but for the last.
pub type Source = Pin<Box<dyn Stream<Item = Bytes>>>;

impl<P: Platform, K: Sink> RunningSandbox for ModalSandbox<P, K> {
    type Error = ModalError;
    type Command = ModalCommand<P>;
    type Source = Source;
    type Sink = K;

    fn id(&self) -> &str {
        &self.router.sandbox().id
    }

    async fn set_tags(&self, tags: Vec<(String, String)>) -> Result<(), ModalError> {
        let client = self.router.client();
        Ok(client.set_tags(self.router.sandbox(), &tags).await?)
    }

    async fn tags(&self) -> Result<Vec<(String, String)>, ModalError> {
        let client = self.router.client();
        Ok(client.tags(self.router.sandbox()).await?)
    }

    async fn dashboard_url(&self) -> Result<Option<String>, ModalError> {
        Ok(Some(page(self.id())))
    }

    async fn poll(&self) -> Result<Option<i32>, ModalError> {
        let client = self.router.client();
        Ok(client.exit_code(self.router.sandbox()).await?)
    }

    async fn terminate(&self) -> Result<(), ModalError> {
        let client = self.router.client();
        Ok(client.terminate(self.router.sandbox()).await?)
    }

    async fn exec(&self, command: Command) -> Result<ModalCommand<P>, ModalError> {
        let started = self.router.start(spec(command)?).await?;
        Ok(ModalCommand(started))
    }

    async fn snapshot(&self) -> Result<String, ModalError> {
        Ok(self.router.snapshot().await?)
    }

    async fn upload(&self, source: Source, path: &str) -> Result<u64, ModalError> {
        files::upload(&self.router, source, path).await
    }

    async fn download(&self, path: &str, sink: K) -> Result<(), ModalError> {
        files::download(&self.router, path, sink).await
    }
}

/// Checks a command as the SDK does before it asks for anything.
fn spec(command: Command) -> Result<CommandSpec, ModalError> {
    let length: usize = command.arguments.iter().map(String::len).sum();
    if length > limits::ARGUMENTS {
        return Err(ModalError::Argument {
            place: "arguments",
            message: format!(
                "the command has {length} bytes, more than {}",
                limits::ARGUMENTS
            ),
        });
    }
    if let Some(directory) = &command.working_directory
        && !directory.starts_with('/')
    {
        return Err(ModalError::Argument {
            place: "working-directory",
            message: format!("`{directory}` is no absolute path"),
        });
    }
    Ok(CommandSpec {
        arguments: command.arguments,
        working_directory: command.working_directory,
        environment: command.environment,
        timeout: command.timeout,
        terminal: command.terminal,
    })
}

/// A command in a sandbox of Modal.
#[derive(Debug)]
pub struct ModalCommand<P>(router::Command<P>);

impl<P: Platform> RunningCommand for ModalCommand<P> {
    type Error = ModalError;

    fn stdout(&self) -> impl Stream<Item = Result<Bytes, ModalError>> {
        let pieces = self.0.output(OutputStream::Stdout);
        pieces.map(|piece| piece.map_err(ModalError::Call))
    }

    fn stderr(&self) -> impl Stream<Item = Result<Bytes, ModalError>> {
        let pieces = self.0.output(OutputStream::Stderr);
        pieces.map(|piece| piece.map_err(ModalError::Call))
    }

    /// Each piece is written as it comes: whoever types it waits for an answer.
    async fn feed(&self, mut input: impl Stream<Item = Bytes> + Unpin) -> Result<(), ModalError> {
        let mut offset = 0;
        while let Some(piece) = input.next().await {
            let length = piece.len() as u64;
            if self.0.write(offset, piece, false).await? == Input::Closed {
                return Ok(());
            }
            offset += length;
        }
        self.0.write(offset, Bytes::new(), true).await?;
        Ok(())
    }

    async fn wait(&self) -> Result<Option<i32>, ModalError> {
        Ok(Some(self.0.wait().await?))
    }

    async fn poll(&self) -> Result<Option<i32>, ModalError> {
        Ok(self.0.poll().await?)
    }
}
