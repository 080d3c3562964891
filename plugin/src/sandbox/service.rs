//! What sessions need of the world around them.

use crate::modal::image::RegistryLogin;
use crate::modal::router::Terminal;
use crate::resources::gpu::Gpu;
use bytes::Bytes;
use futures::Stream;
use serde_json::{Map, Value};
use std::fmt;
use std::future::Future;
use std::time::Duration;
use uuid::Uuid;

/// A failure of the service.
pub trait ServiceError: fmt::Display {
    /// The name under which Modal's SDK raises it, such as `NotFoundError`.
    fn kind(&self) -> &str;
}

/// The service, seen with one account's eyes.
pub trait SandboxService {
    /// What any of it may fail with.
    type Error: ServiceError;
    /// What a sandbox belongs to.
    type App;
    /// What a sandbox is made from.
    type Image;
    /// Variables that nobody is to see.
    type Secret;
    /// A sandbox.
    type Sandbox: RunningSandbox<Error = Self::Error>;

    /// The image of this name in a registry.
    fn registry_image(
        &self,
        reference: &str,
        login: Option<&RegistryLogin>,
    ) -> impl Future<Output = Result<Self::Image, Self::Error>>;

    /// The image that a snapshot was kept as.
    fn snapshot_image(&self, id: &str) -> impl Future<Output = Result<Self::Image, Self::Error>>;

    /// The app of this name, created if it is missing.
    fn app(
        &self,
        name: &str,
        environment: Option<&str>,
    ) -> impl Future<Output = Result<Self::App, Self::Error>>;

    /// Keeps variables as a secret.
    fn secret(
        &self,
        variables: Vec<(String, String)>,
    ) -> impl Future<Output = Result<Self::Secret, Self::Error>>;

    /// Creates a sandbox without a command of its own.
    fn create(
        &self,
        spec: SandboxSpec<Self>,
    ) -> impl Future<Output = Result<Self::Sandbox, Self::Error>>;

    /// The sandbox with this id, whether it lives or not.
    fn find(&self, id: &str) -> impl Future<Output = Result<Self::Sandbox, Self::Error>>;

    /// The sandbox of an app that runs under this name.
    fn find_named(
        &self,
        app: &str,
        environment: Option<&str>,
        name: &str,
    ) -> impl Future<Output = Result<Self::Sandbox, Self::Error>>;
}

/// What a sandbox is to be.
pub struct SandboxSpec<S: SandboxService + ?Sized> {
    /// What it belongs to.
    pub app: S::App,
    /// What it is made from.
    pub image: S::Image,
    /// GPUs, if any.
    pub gpu: Option<Gpu>,
    /// Cores. Absent: the service's default.
    pub cpu: Option<f64>,
    /// MiB. Absent: the service's default.
    pub memory: Option<u32>,
    /// Whose machines. Absent: any.
    pub cloud: Option<String>,
    /// Where they stand. Absent: anywhere.
    pub region: Option<String>,
    /// Seconds after which the service ends it.
    pub timeout: u32,
    /// Variables that anybody may see.
    pub environment: Vec<(String, String)>,
    /// Variables that nobody is to see.
    pub secrets: Vec<S::Secret>,
    /// Unique among the running sandboxes of the app.
    pub name: Option<String>,
}

/// One sandbox.
pub trait RunningSandbox {
    /// What any of it may fail with.
    type Error: ServiceError;
    /// A command in it.
    type Command: RunningCommand<Error = Self::Error>;
    /// Where the contents of a file on the caller's side come from.
    type Source;
    /// Where the contents of a file go to on the caller's side.
    type Sink;

    /// The service's id of it.
    fn id(&self) -> &str;

    /// Replaces its tags.
    fn set_tags(
        &self,
        tags: Vec<(String, String)>,
    ) -> impl Future<Output = Result<(), Self::Error>>;

    /// Its tags.
    fn tags(&self) -> impl Future<Output = Result<Vec<(String, String)>, Self::Error>>;

    /// A page about it for people.
    fn dashboard_url(&self) -> impl Future<Output = Result<Option<String>, Self::Error>>;

    /// Its exit code, when it has ended.
    fn poll(&self) -> impl Future<Output = Result<Option<i32>, Self::Error>>;

    /// Ends it.
    fn terminate(&self) -> impl Future<Output = Result<(), Self::Error>>;

    /// Starts a command in it.
    fn exec(&self, command: Command) -> impl Future<Output = Result<Self::Command, Self::Error>>;

    /// Keeps its files as an image, and gives the image's id.
    fn snapshot(&self) -> impl Future<Output = Result<String, Self::Error>>;

    /// Copies a file into it, and gives the number of its bytes.
    fn upload(
        &self,
        source: Self::Source,
        path: &str,
    ) -> impl Future<Output = Result<u64, Self::Error>>;

    /// Copies a file out of it.
    fn download(
        &self,
        path: &str,
        sink: Self::Sink,
    ) -> impl Future<Output = Result<(), Self::Error>>;
}

/// A command that is about to run in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments. May be empty: the service says so then.
    pub arguments: Vec<String>,
    /// Absent: the sandbox's own. An empty text is handed on.
    pub working_directory: Option<String>,
    /// On top of the sandbox's own variables.
    pub environment: Vec<(String, String)>,
    /// Seconds after which the service ends it.
    pub timeout: Option<u32>,
    /// A terminal to run in.
    pub terminal: Option<Terminal>,
}

/// A command in a sandbox.
pub trait RunningCommand {
    /// What any of it may fail with.
    type Error: ServiceError;

    /// What it writes to its standard output, from the beginning.
    fn stdout(&self) -> impl Stream<Item = Result<Bytes, Self::Error>>;

    /// What it writes to its standard error, from the beginning.
    fn stderr(&self) -> impl Stream<Item = Result<Bytes, Self::Error>>;

    /// Writes what it reads from its standard input, and closes that. What it does
    /// not want is dropped.
    fn feed(
        &self,
        input: impl Stream<Item = Bytes> + Unpin,
    ) -> impl Future<Output = Result<(), Self::Error>>;

    /// Waits for its end. The service may not know the exit code of a command
    /// that has ended.
    fn wait(&self) -> impl Future<Output = Result<Option<i32>, Self::Error>>;

    /// Its exit code, when it has ended.
    fn poll(&self) -> impl Future<Output = Result<Option<i32>, Self::Error>>;
}

/// Who opens a session: a clock, a place for warnings, and perhaps a step that the
/// session is part of.
pub trait Surroundings {
    /// The step, when there is one.
    fn step(&self) -> Option<ActiveStep>;

    /// Publishes facts on the step.
    fn publish(
        &self,
        metadata: Map<String, Value>,
    ) -> impl Future<Output = Result<(), PublishError>>;

    /// Begins a log of the step's own. Called once, before the first line.
    ///
    /// # Errors
    ///
    /// When it cannot be kept; the session goes on without.
    fn begin_log(&self, source: &str) -> Result<(), String>;

    /// Writes one line to that log, without its end.
    fn log(&self, level: Level, line: &str);

    /// Ends that log.
    fn end_log(&self);

    /// Tells whoever looks after the plugin.
    fn warn(&self, message: &str);

    /// Time since some fixed moment; never goes back.
    fn now(&self) -> Duration;

    /// Waits.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;
}

/// The step that a session is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveStep {
    /// The pipeline's run.
    pub run: Uuid,
    /// The step's run.
    pub step_run: Uuid,
}

/// Why facts were not published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishError {
    /// There is no step to publish them on.
    NoStep,
    /// The store did not take them.
    Failed(String),
}

/// How much a line of a step's log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// What goes on.
    Info,
    /// What went wrong.
    Error,
}
