//! Export `sandbox`.

use super::bindings::exports::zenml::flavor::sandbox as wit;
use super::bindings::exports::zenml::flavor::sandbox::{
    Collected, Command, Context, Guest, GuestProcess, GuestSession, Listed, SessionOptions,
};
use super::bindings::zenml::flavor::log::{Level, emit};
use super::bindings::zenml::flavor::types::{Error, OutputStream as WitOutputStream};
use super::bindings::{wit_future, wit_stream};
use super::platform::Imports;
use super::streams::{StreamSink, as_they_come, full, hand_on};
use super::submission::{client, settings};
use super::{Plugin, invalid};
use crate::catalog::Kind;
use crate::config::FieldFault;
use crate::config::class::Class;
use crate::config::reference::KeptByHost;
use crate::config::sandbox::SandboxSettings;
use crate::environment::merged;
use crate::limits;
use crate::modal::Client;
use crate::modal::catalogue::Wanted;
use crate::modal::image::RegistryLogin;
use crate::modal::output::OutputStream;
use crate::modal::router::Terminal;
use crate::platform::Platform as _;
use crate::sandbox::component::{Component, Particulars, SessionOf, Snapshot};
use crate::sandbox::error::Seconds;
use crate::sandbox::modal::{ModalCommand, ModalError, ModalSandboxes, check_path, page};
use crate::sandbox::process::Process;
use crate::sandbox::service::{self, ActiveStep, PublishError, Surroundings};
use crate::sandbox::session::{CommandLine, Order};
use futures::StreamExt as _;
use serde_json::{Map, Value};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Semaphore;
use uuid::Uuid;
use wit_bindgen::{FutureReader, StreamReader};

type Sandboxes = ModalSandboxes<Imports, StreamSink>;
type Session = SessionOf<Sandboxes, Caller>;

impl Guest for Plugin {
    type Session = OpenSession;
    type Process = StartedProcess;

    async fn list(
        context: Context,
        tags: Vec<(String, String)>,
        include_finished: bool,
    ) -> Result<Vec<Listed>, Error> {
        let opened = Opened::read(&context, "{}")?;
        let environment = opened.settings.modal_environment.as_deref();
        let app = opened
            .client
            .find_app(&opened.component.app_name, environment)
            .await?;
        let Some(app_id) = app else {
            return Ok(Vec::new());
        };
        let wanted = Wanted {
            tags: &tags,
            finished: include_finished,
            environment: None,
            most: limits::LISTED,
        };
        let all = opened.client.list_all(&app_id, wanted).await?;
        let listed = all.into_iter().map(|sandbox| Listed {
            sandbox: sandbox.id,
            name: sandbox.name,
            created_at: sandbox.created_at,
            tags: sandbox.tags,
            finished: sandbox.ending.is_some(),
        });
        Ok(listed.collect())
    }
}

/// What a context says, understood.
struct Opened {
    client: Client<Imports>,
    component: Component,
    settings: SandboxSettings,
    caller: Caller,
}

impl Opened {
    fn read(context: &Context, given: &str) -> Result<Self, Error> {
        let document = settings(Kind::Sandbox, &context.config, given)?;
        let config = Class::configuration(Kind::Sandbox)
            .parse(&context.config, &KeptByHost)
            .map_err(invalid)?;
        let id = |text: &String| uuid(text, "component");
        let step = |step: &wit::ActiveStep| -> Result<ActiveStep, Error> {
            Ok(ActiveStep {
                run: uuid(&step.run, "step")?,
                step_run: uuid(&step.step_run, "step")?,
            })
        };
        let registry = context.registry.as_ref().map(|credentials| {
            let login = RegistryLogin {
                username: credentials.username.clone(),
                password: credentials.password.clone(),
            };
            (credentials.registry.clone(), login)
        });
        Ok(Self {
            client: client(&context.service)?,
            component: Component {
                id: context.component.as_ref().map(id).transpose()?,
                app_name: SandboxSettings::from(&config).app_name,
                registry,
            },
            settings: SandboxSettings::from(&document),
            caller: Caller {
                step: context.step.as_ref().map(step).transpose()?,
            },
        })
    }

    /// The same for a sandbox that is to be created.
    fn with_options(
        context: &Context,
        options: SessionOptions,
    ) -> Result<(Self, Particulars), Error> {
        let mut opened = Self::read(context, &options.settings)?;
        let settings = &mut opened.settings;
        if let Some(image) = options.image {
            settings.image = image;
        }
        let variables = [
            std::mem::take(&mut settings.environment),
            options.environment,
        ];
        settings.environment = merged(variables);
        let particulars = Particulars {
            name: options.name,
            tags: options.tags,
            destroy_on_exit: options.destroy_on_exit,
        };
        Ok((opened, particulars))
    }

    fn connect(&self) -> impl FnOnce() -> Result<Sandboxes, ModalError> + use<> {
        let (client, has_gpu) = (self.client.clone(), self.settings.gpu.is_some());
        move || Ok(ModalSandboxes::new(client, has_gpu))
    }
}

fn uuid(text: &str, place: &str) -> Result<Uuid, Error> {
    text.parse::<Uuid>()
        .map_err(|error| invalid(vec![FieldFault::new(["context", place], "uuid", error)]))
}

/// The host, as whoever opens a session. It publishes the facts that it gets with
/// a session, and keeps outputs itself.
pub(super) struct Caller {
    step: Option<ActiveStep>,
}

impl Surroundings for Caller {
    fn step(&self) -> Option<ActiveStep> {
        self.step
    }

    async fn publish(&self, _: Map<String, Value>) -> Result<(), PublishError> {
        Err(PublishError::NoStep)
    }

    fn begin_log(&self, _: &str) -> Result<(), String> {
        Err("the host keeps outputs itself".to_owned())
    }

    fn log(&self, _: service::Level, _: &str) {}

    fn end_log(&self) {}

    fn warn(&self, message: &str) {
        emit(Level::Warn, message);
    }

    fn now(&self) -> Duration {
        Imports.monotonic()
    }

    async fn sleep(&self, duration: Duration) {
        Imports.sleep(duration).await;
    }
}

/// A session that is open.
pub(super) struct OpenSession {
    session: Rc<Session>,
    uploads: Semaphore,
}

impl OpenSession {
    fn resource(session: Session) -> wit::Session {
        wit::Session::new(Self {
            session: Rc::new(session),
            uploads: Semaphore::new(limits::UPLOADS_AT_ONCE),
        })
    }
}

impl GuestSession for OpenSession {
    async fn create(context: Context, options: SessionOptions) -> Result<wit::Session, Error> {
        let (opened, particulars) = Opened::with_options(&context, options)?;
        let connect = opened.connect();
        let Opened {
            component,
            settings,
            caller,
            ..
        } = opened;
        let created = component.create(connect, caller, settings, particulars);
        Ok(Self::resource(created.await?))
    }

    async fn attach(context: Context, sandbox: String) -> Result<wit::Session, Error> {
        let opened = Opened::read(&context, "{}")?;
        let connect = opened.connect();
        let attached = opened.component.attach(connect, opened.caller, &sandbox);
        Ok(Self::resource(attached.await?))
    }

    async fn attach_named(context: Context, name: String) -> Result<wit::Session, Error> {
        let opened = Opened::read(&context, "{}")?;
        let connect = opened.connect();
        let environment = opened.settings.modal_environment.as_deref();
        let attached = opened
            .component
            .attach_named(connect, opened.caller, environment, &name);
        Ok(Self::resource(attached.await?))
    }

    async fn restore(
        context: Context,
        snapshot: wit::Snapshot,
        options: SessionOptions,
    ) -> Result<wit::Session, Error> {
        let (opened, particulars) = Opened::with_options(&context, options)?;
        let taken_of = snapshot.component.as_ref();
        let snapshot = Snapshot {
            component: taken_of.map(|id| uuid(id, "snapshot")).transpose()?,
            image: snapshot.image,
        };
        let connect = opened.connect();
        let Opened {
            component,
            settings,
            caller,
            ..
        } = opened;
        let restored = component.restore(connect, caller, &snapshot, settings, particulars);
        Ok(Self::resource(restored.await?))
    }

    fn id(&self) -> String {
        self.session.id().to_owned()
    }

    fn dashboard_url(&self) -> String {
        page(self.session.id())
    }

    fn metadata(&self) -> String {
        Value::Object(self.session.metadata().clone()).to_string()
    }

    async fn exec(&self, command: Command) -> Result<wit::Process, Error> {
        let process = self.session.exec(order(command)).await?;
        Ok(wit::Process::new(StartedProcess {
            process: Rc::new(process),
            taken: [Cell::new(false), Cell::new(false)],
        }))
    }

    async fn upload(&self, path: String, data: StreamReader<u8>) -> Result<u64, Error> {
        // Closed never, so an error cannot happen; without a place it is merely not
        // counted.
        let _place = self.uploads.acquire().await.ok();
        Ok(self.session.upload(Box::pin(full(data)), &path).await?)
    }

    async fn download(
        &self,
        path: String,
    ) -> Result<(StreamReader<u8>, FutureReader<Result<(), Error>>), Error> {
        self.session.check_open()?;
        check_path(&path)?;
        let (writer, reader) = wit_stream::new();
        let (end, ended) = wit_future::new(unfinished);
        let session = Rc::clone(&self.session);
        wit_bindgen::spawn_local(async move {
            let copied = session.download(&path, StreamSink::new(writer)).await;
            // Whoever does not listen does not want to know.
            let _ = end.write(copied.map_err(Error::from)).await;
        });
        Ok((reader, ended))
    }

    async fn snapshot(&self) -> Result<wit::Snapshot, Error> {
        let snapshot = self.session.snapshot().await?;
        Ok(wit::Snapshot {
            image: snapshot.image,
            component: snapshot.component.map(|id| id.to_string()),
        })
    }

    async fn set_tags(&self, tags: Vec<(String, String)>) -> Result<(), Error> {
        Ok(self.session.set_tags(tags).await?)
    }

    async fn tags(&self) -> Result<Vec<(String, String)>, Error> {
        Ok(self.session.tags().await?)
    }

    async fn close(&self) {
        self.session.close();
    }

    async fn destroy(&self) -> Result<(), Error> {
        Ok(self.session.destroy().await?)
    }

    async fn leave(&self) -> Result<(), Error> {
        Ok(self.session.leave().await?)
    }
}

/// What an output says that was never told how it ended: its task is gone.
fn unfinished() -> Result<(), Error> {
    Err(Error::Internal("the output was given up".to_owned()))
}

fn order(command: Command) -> Order {
    Order {
        command: match command.arguments {
            wit::Arguments::Words(words) => CommandLine::Words(words),
            wit::Arguments::Text(text) => CommandLine::Text(text),
        },
        working_directory: command.working_directory,
        environment: command.environment,
        timeout: command.timeout,
        terminal: command.terminal.map(|terminal| Terminal {
            rows: terminal.rows,
            columns: terminal.columns,
            name: terminal.name,
        }),
    }
}

/// A command that was started.
pub(super) struct StartedProcess {
    process: Rc<Process<ModalCommand<Imports>, Caller>>,
    /// Which outputs were taken: each can be once.
    taken: [Cell<bool>; 2],
}

impl StartedProcess {
    fn take(&self, stream: WitOutputStream) -> Result<OutputStream, Error> {
        let [stdout, stderr] = &self.taken;
        let (taken, stream) = match stream {
            WitOutputStream::Stdout => (stdout, OutputStream::Stdout),
            WitOutputStream::Stderr => (stderr, OutputStream::Stderr),
        };
        match taken.replace(true) {
            false => Ok(stream),
            true => Err(invalid(vec![FieldFault::new(
                ["stream"],
                "taken",
                "the output was taken already",
            )])),
        }
    }
}

impl GuestProcess for StartedProcess {
    async fn output(
        &self,
        stream: WitOutputStream,
    ) -> Result<(StreamReader<u8>, FutureReader<Result<(), Error>>), Error> {
        let stream = self.take(stream)?;
        let (writer, reader) = wit_stream::new();
        let (end, ended) = wit_future::new(unfinished);
        let process = Rc::clone(&self.process);
        wit_bindgen::spawn_local(async move {
            let pieces = process.bytes(stream);
            let pieces = pieces.map(|piece| Ok(Vec::from(piece?)));
            let _ = end.write(hand_on(pieces, writer).await).await;
        });
        Ok((reader, ended))
    }

    async fn lines(
        &self,
        stream: WitOutputStream,
    ) -> Result<(StreamReader<String>, FutureReader<Result<(), Error>>), Error> {
        let stream = self.take(stream)?;
        let (writer, reader) = wit_stream::new();
        let (end, ended) = wit_future::new(unfinished);
        let process = Rc::clone(&self.process);
        wit_bindgen::spawn_local(async move {
            let ended = match stream {
                OutputStream::Stdout => {
                    let lines = process.stdout().map(|line| Ok(vec![without_end(line?)]));
                    hand_on(lines, writer).await
                }
                OutputStream::Stderr => {
                    let lines = process.stderr().map(|line| Ok(vec![without_end(line?)]));
                    hand_on(lines, writer).await
                }
            };
            let _ = end.write(ended).await;
        });
        Ok((reader, ended))
    }

    async fn input(&self, data: StreamReader<u8>) -> Result<(), Error> {
        let pieces = Box::pin(as_they_come(data));
        Ok(self.process.feed(pieces).await?)
    }

    async fn wait(&self, timeout: Option<f64>) -> Result<i32, Error> {
        Ok(self.process.wait(timeout.map(Seconds::Real)).await?)
    }

    async fn exit_code(&self) -> Result<Option<i32>, Error> {
        Ok(self.process.exit_code().await?)
    }

    async fn collect(&self, limit: Option<u64>) -> Result<Collected, Error> {
        let limit = limit.map_or(limits::COLLECTED, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        let collected = self.process.collect(limit).await?;
        Ok(Collected {
            truncated: collected.stdout.is_truncated || collected.stderr.is_truncated,
            stdout: collected.stdout.text,
            stderr: collected.stderr.text,
            exit_code: collected.exit_code,
        })
    }

    async fn kill(&self) -> Result<(), Error> {
        Ok(self.process.kill()?)
    }
}

fn without_end(mut line: String) -> String {
    if line.ends_with('\n') {
        line.pop();
    }
    line
}
