//! A session: a handle on a sandbox that is open for work.

use super::component::Snapshot;
use super::error::SessionError;
use super::log::SessionLog;
use super::process::Process;
use super::service::{Command, PublishError, RunningSandbox, Surroundings};
use super::words;
use crate::modal::router::Terminal;
use serde_json::{Map, Value};
use std::cell::Cell;
use std::rc::Rc;
use uuid::Uuid;

/// A handle on a sandbox.
///
/// Closing it gives the handle up and leaves the sandbox alone; destroying ends the
/// sandbox first. Both may be repeated. Everything else is refused on a closed
/// handle. Commands that run already can still be read and waited for.
#[derive(Debug)]
pub struct Session<B: RunningSandbox, U: Surroundings> {
    sandbox: B,
    component: Option<Uuid>,
    surroundings: Rc<U>,
    log: Rc<SessionLog<U>>,
    destroy_on_exit: bool,
    is_closed: Cell<bool>,
    metadata: Map<String, Value>,
}

/// A command that is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What is to run.
    pub command: CommandLine,
    /// Absent: the sandbox's own. An empty text is handed on.
    pub working_directory: Option<String>,
    /// On top of the sandbox's own variables.
    pub environment: Vec<(String, String)>,
    /// Seconds after which the service ends it.
    pub timeout: Option<u32>,
    /// A terminal to run in.
    pub terminal: Option<Terminal>,
}

impl Order {
    /// A command without any of the rest.
    pub fn new(command: CommandLine) -> Self {
        Self {
            command,
            working_directory: None,
            environment: Vec::new(),
            timeout: None,
            terminal: None,
        }
    }
}

/// A command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// Words as they are.
    Words(Vec<String>),
    /// A text to be split into words.
    Text(String),
}

impl<B: RunningSandbox, U: Surroundings> Session<B, U> {
    /// A session with a sandbox. Publishes what is known about it; that nobody
    /// takes it is no reason to fail.
    pub(super) async fn open(
        sandbox: B,
        component: Option<Uuid>,
        surroundings: U,
        destroy_on_exit: bool,
    ) -> Self {
        let metadata = facts(&sandbox).await;
        match surroundings.publish(metadata.clone()).await {
            Ok(()) | Err(PublishError::NoStep) => {}
            Err(PublishError::Failed(reason)) => {
                surroundings.warn(&format!(
                    "Failed to publish sandbox step metadata: {reason}"
                ));
            }
        }
        let surroundings = Rc::new(surroundings);
        Self {
            log: Rc::new(SessionLog::new(sandbox.id(), Rc::clone(&surroundings))),
            sandbox,
            component,
            surroundings,
            destroy_on_exit,
            is_closed: Cell::new(false),
            metadata,
        }
    }

    /// The service's id of the sandbox.
    pub fn id(&self) -> &str {
        self.sandbox.id()
    }

    /// Whether the handle was given up.
    pub fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    /// Facts for people and other programs.
    pub fn metadata(&self) -> &Map<String, Value> {
        &self.metadata
    }

    /// Starts a command.
    ///
    /// # Errors
    ///
    /// When the handle is closed, the text is no command line, or the service does
    /// not start it.
    pub async fn exec(
        &self,
        order: Order,
    ) -> Result<Process<B::Command, U>, SessionError<B::Error>> {
        self.check_open()?;
        let arguments = match order.command {
            CommandLine::Words(words) => words,
            CommandLine::Text(text) => words::split(&text)?,
        };
        self.log.command(&arguments);
        let started_at = self.surroundings.now();
        let started = self.sandbox.exec(Command {
            arguments,
            working_directory: order.working_directory,
            environment: order.environment,
            timeout: order.timeout,
            terminal: order.terminal,
        });
        match started.await {
            Ok(command) => Ok(Process::new(
                command,
                Rc::clone(&self.surroundings),
                Rc::clone(&self.log),
                started_at,
            )),
            Err(cause) => Err(SessionError::Launch { cause }),
        }
    }

    /// What ZenML's second way to start a command, `aexec`, is answered with. Here
    /// [`Session::exec`] does not block anyway.
    pub fn exec_in_background(&self) -> SessionError<B::Error> {
        let refused = self.check_open();
        refused.err().unwrap_or(SessionError::NoBackground)
    }

    /// Copies a file into the sandbox, and gives the number of its bytes.
    ///
    /// # Errors
    ///
    /// When the handle is closed or the service fails.
    pub async fn upload(
        &self,
        source: B::Source,
        path: &str,
    ) -> Result<u64, SessionError<B::Error>> {
        self.check_open()?;
        let copied = self.sandbox.upload(source, path).await;
        copied.map_err(SessionError::Service)
    }

    /// Copies a file out of the sandbox.
    ///
    /// # Errors
    ///
    /// When the handle is closed or the service fails.
    pub async fn download(&self, path: &str, sink: B::Sink) -> Result<(), SessionError<B::Error>> {
        self.check_open()?;
        let copied = self.sandbox.download(path, sink).await;
        copied.map_err(SessionError::Service)
    }

    /// Replaces the tags of the sandbox.
    ///
    /// # Errors
    ///
    /// When the handle is closed or the service fails.
    pub async fn set_tags(
        &self,
        tags: Vec<(String, String)>,
    ) -> Result<(), SessionError<B::Error>> {
        self.check_open()?;
        let set = self.sandbox.set_tags(tags).await;
        set.map_err(SessionError::Service)
    }

    /// The tags of the sandbox.
    ///
    /// # Errors
    ///
    /// When the handle is closed or the service fails.
    pub async fn tags(&self) -> Result<Vec<(String, String)>, SessionError<B::Error>> {
        self.check_open()?;
        self.sandbox.tags().await.map_err(SessionError::Service)
    }

    /// Keeps the sandbox's files, not what runs in it.
    ///
    /// # Errors
    ///
    /// When the handle is closed or the service fails.
    pub async fn snapshot(&self) -> Result<Snapshot, SessionError<B::Error>> {
        self.check_open()?;
        let image = self.sandbox.snapshot().await;
        Ok(Snapshot {
            component: self.component,
            image: image.map_err(SessionError::Service)?,
        })
    }

    /// Gives up the handle.
    pub fn close(&self) {
        if !self.is_closed.replace(true) {
            self.log.end();
        }
    }

    /// Ends the sandbox, unless it has ended, then gives up the handle.
    ///
    /// # Errors
    ///
    /// When the service does not end it. The handle stays open, so that it can be
    /// tried again.
    pub async fn destroy(&self) -> Result<(), SessionError<B::Error>> {
        let code = self.sandbox.poll().await.map_err(SessionError::Service)?;
        if code.is_none() {
            let ended = self.sandbox.terminate().await;
            ended.map_err(|cause| SessionError::Terminate {
                id: self.id().to_owned(),
                cause,
            })?;
        }
        self.close();
        Ok(())
    }

    /// Leaves the session the way it was opened for: by destroying or by closing.
    ///
    /// # Errors
    ///
    /// Those of [`Session::destroy`].
    pub async fn leave(&self) -> Result<(), SessionError<B::Error>> {
        match self.destroy_on_exit {
            true => self.destroy().await,
            false => {
                self.close();
                Ok(())
            }
        }
    }

    /// Refuses work on a closed handle.
    ///
    /// # Errors
    ///
    /// When it is closed.
    pub fn check_open(&self) -> Result<(), SessionError<B::Error>> {
        match self.is_closed() {
            true => Err(SessionError::Closed {
                id: self.id().to_owned(),
            }),
            false => Ok(()),
        }
    }
}

/// What is known about a sandbox. Its page is left out when the service does not
/// tell it.
async fn facts<B: RunningSandbox>(sandbox: &B) -> Map<String, Value> {
    let url = sandbox.dashboard_url().await.ok().flatten();
    let mut facts = Map::new();
    let mut know = |name: &str, value: &str| {
        facts.insert(format!("sandbox.{}.{name}", sandbox.id()), value.into());
    };
    know("flavor", "modal");
    if let Some(url) = url.filter(|url| !url.is_empty()) {
        know("dashboard_url", &url);
    }
    facts
}
