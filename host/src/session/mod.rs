//! Sessions with sandboxes: commands, files, snapshots.
//!
//! ```no_run
//! # async fn example(
//! #     plugin: &flavor_host::Plugin,
//! #     target: flavor_host::Target,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use flavor_host::Connection;
//! use flavor_host::session::{command, options};
//!
//! let connection = Connection::new(target);
//! let session = plugin.create_session(connection, options("python:3.11-slim")).await?;
//! let process = session.exec(command(["echo", "hello"])).await?;
//! let mut stdout = process.stdout().await?;
//! while let Some(piece) = stdout.next().await {
//!     println!("{:?}", piece?);
//! }
//! println!("{}", process.wait(None).await?);
//! session.destroy().await?;
//! # Ok(())
//! # }
//! ```
//!
//! A session has an instance of the plugin of its own. It lives as long as anything of
//! the session does: [`Session`], [`Process`] or a stream. Commands run side by side;
//! [`Limits::session_calls`](crate::Limits::session_calls) bounds how many calls are
//! under way, and more wait in line.
//!
//! Whatever the plugin does, it ends nothing but its own session: a crash, a loop or a
//! broken promise comes out as the [`Error`] of every call under way and
//! of every later one. Sandboxes outlive their sessions;
//! [`Plugin::attach_session`](crate::Plugin::attach_session) opens another one.

mod files;
mod process;
mod streams;
mod worker;

pub use files::TransferError;
pub use process::{Process, WaitError};
pub use streams::{Bytestream, Lines};

use crate::connection::{Connection, Opened};
use crate::contract::bindings::{self, exports::zenml::flavor::sandbox};
use crate::contract::{self, ActiveStep, Arguments, Command, Listed, SessionOptions, Snapshot};
use crate::error::Error;
use crate::guest::GuestState;
use crate::host::{Host, Plugin};
use crate::limits::{CLOSING_SESSION, DROPPED_SESSION};
use crate::run::StartError;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wasmtime::component::{Accessor, ResourceAny};
use worker::{Handle, Worker};

/// A handle on a sandbox that is open for work.
///
/// Dropping it gives up the handle at once and leaves the sandbox alone. One that was
/// created with `destroy_on_exit` ends its sandbox then: in the background, for at most
/// ten seconds, which needs the runtime it was created on. Commands can still be read
/// and waited for through their own handles.
pub struct Session {
    worker: Arc<Worker>,
    handle: Arc<Handle>,
    facts: Facts,
    destroys_on_exit: AtomicBool,
}

/// What is known about a session from the beginning.
struct Facts {
    id: String,
    dashboard_url: String,
    metadata: String,
}

/// The component of a stack that opens sessions, or nothing but a way to the service.
#[derive(Debug, Clone)]
pub struct Component {
    /// The way to the service.
    pub connection: Connection,
    /// ZenML's id of the component, a UUID. It marks sandboxes and snapshots.
    pub id: Option<String>,
    /// The step of a run that sessions are part of. It marks sandboxes.
    pub step: Option<ActiveStep>,
}

impl From<Connection> for Component {
    fn from(connection: Connection) -> Self {
        Self {
            connection,
            id: None,
            step: None,
        }
    }
}

/// Options for a sandbox from an image, everything else being the plugin's default.
pub fn options(image: impl Into<String>) -> SessionOptions {
    SessionOptions {
        settings: "{}".to_owned(),
        image: Some(image.into()),
        environment: Vec::new(),
        tags: Vec::new(),
        name: None,
        destroy_on_exit: false,
    }
}

/// A command of a program and its arguments, everything else being the sandbox's own.
pub fn command<W: Into<String>>(words: impl IntoIterator<Item = W>) -> Command {
    Command {
        arguments: Arguments::Words(words.into_iter().map(Into::into).collect()),
        working_directory: None,
        environment: Vec::new(),
        timeout: None,
        terminal: None,
    }
}

/// How a plugin opens a session.
type Opening<'a> = BoxFuture<'a, wasmtime::Result<Result<ResourceAny, contract::Error>>>;

impl Plugin {
    /// Creates a sandbox and opens a session with it. Dropping the future while the
    /// plugin is at it cuts it off: whether a sandbox exists then is not known.
    ///
    /// # Errors
    ///
    /// When there is no sandbox.
    pub async fn create_session(
        &self,
        component: impl Into<Component>,
        options: SessionOptions,
    ) -> Result<Session, StartError> {
        let destroys = options.destroy_on_exit;
        self.open_session(component.into(), destroys, |accessor, plugin, context| {
            Box::pin(async move {
                let session = plugin.zenml_flavor_sandbox().session();
                session.call_create(accessor, context, options).await
            })
        })
        .await
    }

    /// Opens a session with a sandbox that lives.
    ///
    /// # Errors
    ///
    /// When there is none with this id, or it has ended.
    pub async fn attach_session(
        &self,
        component: impl Into<Component>,
        sandbox: &str,
    ) -> Result<Session, StartError> {
        let sandbox = sandbox.to_owned();
        self.open_session(component.into(), false, |accessor, plugin, context| {
            Box::pin(async move {
                let session = plugin.zenml_flavor_sandbox().session();
                session.call_attach(accessor, context, sandbox).await
            })
        })
        .await
    }

    /// Opens a session with a sandbox that lives, by its name in the component's app.
    ///
    /// # Errors
    ///
    /// As [`Self::attach_session`].
    pub async fn attach_named_session(
        &self,
        component: impl Into<Component>,
        name: &str,
    ) -> Result<Session, StartError> {
        let name = name.to_owned();
        self.open_session(component.into(), false, |accessor, plugin, context| {
            Box::pin(async move {
                let session = plugin.zenml_flavor_sandbox().session();
                session.call_attach_named(accessor, context, name).await
            })
        })
        .await
    }

    /// Creates a sandbox with the files of a snapshot and opens a session with it. As
    /// [`Self::create_session`] otherwise; `image` and `destroy_on_exit` in the options do
    /// not count.
    ///
    /// # Errors
    ///
    /// When there is no sandbox.
    pub async fn restore_session(
        &self,
        component: impl Into<Component>,
        snapshot: Snapshot,
        options: SessionOptions,
    ) -> Result<Session, StartError> {
        self.open_session(component.into(), false, |accessor, plugin, context| {
            Box::pin(async move {
                let session = plugin.zenml_flavor_sandbox().session();
                session
                    .call_restore(accessor, context, snapshot, options)
                    .await
            })
        })
        .await
    }

    /// Sandboxes that have all the given tags, newest first.
    ///
    /// # Errors
    ///
    /// When they cannot be told.
    pub async fn list_sandboxes(
        &self,
        component: impl Into<Component>,
        tags: Vec<(String, String)>,
        include_finished: bool,
    ) -> Result<Vec<Listed>, StartError> {
        let (opened, context) = component.into().open(self.host())?;
        self.ask(opened, async move |accessor, plugin, _| {
            let sandbox = plugin.zenml_flavor_sandbox();
            sandbox
                .call_list(accessor, context, tags, include_finished)
                .await
        })
        .await
    }

    async fn open_session(
        &self,
        component: Component,
        destroys_on_exit: bool,
        open: impl for<'a> FnOnce(
            &'a Accessor<GuestState>,
            &'a bindings::Flavor,
            sandbox::Context,
        ) -> Opening<'a>
        + Send
        + 'static,
    ) -> Result<Session, StartError> {
        let (opened, context) = component.open(self.host())?;
        let limits = self.host().limits();
        let voice = opened.voice();
        let instance = self.instantiate(opened.grants()).await;
        let instance = instance.map_err(|error| voice.error(error))?;
        let worker = Worker::start(instance, voice, limits);
        let guard = worker.guard();
        let call = worker.call(limits.service_time, |accessor, plugin| {
            Box::pin(async move {
                let handle = match open(accessor, plugin, context).await? {
                    Ok(session) => guard(session),
                    Err(error) => return Ok(Err(error)),
                };
                let session = plugin.zenml_flavor_sandbox().session();
                let resource = handle.resource();
                let facts = Facts {
                    id: session.call_id(accessor, resource).await?,
                    dashboard_url: session.call_dashboard_url(accessor, resource).await?,
                    metadata: session.call_metadata(accessor, resource).await?,
                };
                Ok(Ok((handle, facts)))
            })
        });
        let (handle, facts) = call.await?;
        Ok(Session {
            worker,
            handle,
            facts,
            destroys_on_exit: AtomicBool::new(destroys_on_exit),
        })
    }
}

impl Component {
    fn open(self, host: &Host) -> Result<(Opened, sandbox::Context), StartError> {
        let opened = self.connection.open(host)?;
        let context = sandbox::Context {
            service: opened.service.clone(),
            config: opened.config.clone(),
            registry: opened.registry.clone(),
            component: self.id,
            step: self.step,
        };
        Ok((opened, context))
    }
}

impl Session {
    /// The service's id of the sandbox.
    pub fn id(&self) -> &str {
        &self.facts.id
    }

    /// A page about the sandbox for people.
    pub fn dashboard_url(&self) -> &str {
        &self.facts.dashboard_url
    }

    /// Facts for people and other programs: one JSON object, as text.
    pub fn metadata(&self) -> &str {
        &self.facts.metadata
    }

    /// Starts a command. It runs from here on, whoever looks at it.
    ///
    /// # Errors
    ///
    /// When it is not started.
    pub async fn exec(&self, command: Command) -> Result<Process, Error> {
        let handle = Arc::clone(&self.handle);
        let guard = self.worker.guard();
        let limit = self.worker.limits().service_time;
        let call = self.worker.call(limit, |accessor, plugin| {
            Box::pin(async move {
                let session = plugin.zenml_flavor_sandbox().session();
                let process = session.call_exec(accessor, handle.resource(), command);
                Ok(process.await?.map(guard))
            })
        });
        let process = call.await?;
        Ok(Process::new(Arc::clone(&self.worker), process))
    }

    /// Keeps the sandbox's files, not what runs in it.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        let handle = Arc::clone(&self.handle);
        let limit = self.worker.limits().service_time;
        let call = self.worker.call(limit, |accessor, plugin| {
            Box::pin(async move {
                let session = plugin.zenml_flavor_sandbox().session();
                session.call_snapshot(accessor, handle.resource()).await
            })
        });
        call.await
    }

    /// Replaces the sandbox's tags.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub async fn set_tags(&self, tags: Vec<(String, String)>) -> Result<(), Error> {
        let handle = Arc::clone(&self.handle);
        let limit = self.worker.limits().service_time;
        let call = self.worker.call(limit, |accessor, plugin| {
            Box::pin(async move {
                let session = plugin.zenml_flavor_sandbox().session();
                let resource = handle.resource();
                session.call_set_tags(accessor, resource, tags).await
            })
        });
        call.await
    }

    /// The sandbox's tags.
    ///
    /// # Errors
    ///
    /// When they cannot be told.
    pub async fn tags(&self) -> Result<Vec<(String, String)>, Error> {
        let handle = Arc::clone(&self.handle);
        let limit = self.worker.limits().service_time;
        let call = self.worker.call(limit, |accessor, plugin| {
            Box::pin(async move {
                let session = plugin.zenml_flavor_sandbox().session();
                session.call_tags(accessor, handle.resource()).await
            })
        });
        call.await
    }

    /// Gives up this handle; the sandbox lives on. Other calls fail from here on, but
    /// commands can still be read and waited for. May be repeated.
    ///
    /// # Errors
    ///
    /// When the plugin fails.
    pub async fn close(&self) -> Result<(), Error> {
        let handle = Arc::clone(&self.handle);
        let call = self.worker.call(CLOSING_SESSION, |accessor, plugin| {
            Box::pin(async move {
                let session = plugin.zenml_flavor_sandbox().session();
                Ok(Ok(session.call_close(accessor, handle.resource()).await?))
            })
        });
        call.await?;
        self.destroys_on_exit.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Ends the sandbox and gives up this handle. May be repeated, also after a
    /// failure.
    ///
    /// # Errors
    ///
    /// When the sandbox may still live.
    pub async fn destroy(&self) -> Result<(), Error> {
        let handle = Arc::clone(&self.handle);
        let limit = self.worker.limits().service_time;
        let call = self.worker.call(limit, |accessor, plugin| {
            Box::pin(async move {
                let session = plugin.zenml_flavor_sandbox().session();
                session.call_destroy(accessor, handle.resource()).await
            })
        });
        call.await?;
        self.destroys_on_exit.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Leaves the session the way it was opened for: by [`Self::destroy`] when it was
    /// created with `destroy_on_exit`, else by [`Self::close`].
    ///
    /// # Errors
    ///
    /// When the sandbox may still live against that wish.
    pub async fn leave(&self) -> Result<(), Error> {
        leave(
            &self.worker,
            &self.handle,
            self.worker.limits().service_time,
        )
        .await?;
        self.destroys_on_exit.store(false, Ordering::Relaxed);
        Ok(())
    }
}

async fn leave(worker: &Worker, handle: &Arc<Handle>, limit: Duration) -> Result<(), Error> {
    let handle = Arc::clone(handle);
    let call = worker.call(limit, |accessor, plugin| {
        Box::pin(async move {
            let session = plugin.zenml_flavor_sandbox().session();
            session.call_leave(accessor, handle.resource()).await
        })
    });
    call.await
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.destroys_on_exit.load(Ordering::Relaxed) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (worker, handle) = (Arc::clone(&self.worker), Arc::clone(&self.handle));
        let id = self.facts.id.clone();
        runtime.spawn(async move {
            if let Err(error) = leave(&worker, &handle, DROPPED_SESSION).await {
                tracing::warn!("the sandbox {id} of a dropped session may live on: {error}");
            }
        });
    }
}
