//! Cases about sandbox sessions.

use super::Input;
use super::clock::Clock;
use super::encode::{object, ok};
use super::fakes::{Fault, hang};
use super::session_fakes::{FakeService, FakeStep, Script};
use crate::catalog::Kind;
use crate::config::document::DocumentError;
use crate::config::reference::KeptByHost;
use crate::config::sandbox::SandboxSettings;
use crate::config::settings::{effective, overridden};
use crate::config::{Class, Document};
use crate::credentials::TokenPair;
use crate::limits;
use crate::modal::image::RegistryLogin;
use crate::sandbox::component::{Component, OpenErrorOf, Particulars, SessionOf, Snapshot};
use crate::sandbox::error::{CreateError, OpenError, ProcessError, Seconds, SessionError};
use crate::sandbox::process::Process;
use crate::sandbox::session::{CommandLine, Order};
use futures::TryStreamExt as _;
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub(super) fn run(operation: &str, input: &Input<'_>) -> Option<Value> {
    match operation {
        "session" => session(input),
        "collect_default_limit" => Some(ok(limits::COLLECTED)),
        _ => None,
    }
}

type Session = SessionOf<FakeService, FakeStep>;
type Command = Process<super::session_fakes::ScriptedCommand, FakeStep>;

/// The name under which the component is known to settings of runs.
const COMPONENT: &str = "runner";

fn session(input: &Input<'_>) -> Option<Value> {
    let clock = Clock::default();
    let script = Script::new(input.fields, clock.clone());
    let case = async {
        let case = match Case::read(input, script.clone())? {
            Ok(case) => case,
            Err(error) => return Some(error),
        };
        let mut results = Vec::new();
        match case.start(input.field("start")).await? {
            Err(error) => results.push(error),
            Ok(session) => {
                results.push(ok(
                    json!({"id": session.id(), "closed": session.is_closed()}),
                ));
                let mut command = None;
                for action in input.field("actions").as_array().into_iter().flatten() {
                    results.push(act(&script, &session, &mut command, action).await?);
                }
            }
        }
        Some(script.observed(results))
    };
    clock.run(case).unwrap_or_else(|_| Some(hang()))
}

/// What a session is opened with.
struct Case {
    component: Component,
    config: Document,
    run_settings: Map<String, Value>,
    script: Script,
}

impl Case {
    /// Outer none: the case is not understood. Inner error: the configuration is
    /// not acceptable.
    fn read(input: &Input<'_>, script: Script) -> Option<Result<Self, Value>> {
        let values = input.field("config").as_object().cloned();
        let class = Class::configuration(Kind::Sandbox);
        let config = match class.read(values.unwrap_or_default(), &KeptByHost).result {
            Ok(config) => config,
            Err(error) => return Some(Err(super::config::encoded(class, error))),
        };
        let run_settings = input.field("step").get("settings");
        Some(Ok(Self {
            component: Component {
                id: Some(input.text("component_id")?.parse().ok()?),
                app_name: SandboxSettings::from(&config).app_name,
                registry: registry(input)?,
            },
            run_settings: run_settings
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default(),
            config,
            script,
        }))
    }

    /// Outer none: the case is not understood.
    async fn start(&self, start: &Value) -> Option<Result<Session, Value>> {
        let step = FakeStep(self.script.clone());
        let connect = || self.connect();
        if let Some(create) = start.get("create") {
            let settings = match self.settings(create.get("settings")) {
                Ok(settings) => settings,
                Err(error) => return Some(Err(error)),
            };
            let destroy_on_exit = create.get("destroy_on_exit") == Some(&Value::Bool(true));
            let particulars = Particulars {
                destroy_on_exit,
                ..Particulars::default()
            };
            let created = self.component.create(connect, step, settings, particulars);
            return Some(created.await.map_err(|error| not_open(&error)));
        }
        if let Some(restore) = start.get("restore") {
            let settings = match self.settings(None) {
                Ok(settings) => settings,
                Err(error) => return Some(Err(error)),
            };
            let component = match restore.get("sandbox_id") {
                None => self.component.id,
                Some(id) => Some(id.as_str()?.parse::<Uuid>().ok()?),
            };
            let snapshot = Snapshot {
                component,
                image: restore.get("ref")?.as_str()?.to_owned(),
            };
            let restored =
                self.component
                    .restore(connect, step, &snapshot, settings, Particulars::default());
            return Some(restored.await.map_err(|error| not_open(&error)));
        }
        let id = start.get("attach")?.as_str()?;
        let attached = self.component.attach(connect, step, id);
        Some(attached.await.map_err(|error| not_open(&error)))
    }

    fn connect(&self) -> Result<FakeService, Fault> {
        let token = |name| self.config.text(name);
        let pair = TokenPair::configured(token("token_id"), token("token_secret"))
            .map_err(|error| Fault::new("StackComponentInterfaceError", error))?;
        FakeService::connect(self.script.clone(), pair.as_ref())
    }

    fn settings(&self, given: Option<&Value>) -> Result<SandboxSettings, Value> {
        let resolve = || -> Result<Document, DocumentError> {
            let settings = effective(
                Kind::Sandbox,
                COMPONENT,
                &self.config,
                &self.run_settings,
                &KeptByHost,
            )?;
            let Some(Value::Object(given)) = given else {
                return Ok(settings);
            };
            let class = Class::settings(Kind::Sandbox);
            let given = class.read(given.clone(), &KeptByHost).result?;
            overridden(Kind::Sandbox, &settings, &given, &KeptByHost)
        };
        match resolve() {
            Ok(document) => Ok(SandboxSettings::from(&document)),
            Err(error) => Err(super::config::encoded(
                Class::settings(Kind::Sandbox),
                error,
            )),
        }
    }
}

/// The registry of the stack. Outer none: it is not understood.
fn registry(input: &Input<'_>) -> Option<Option<(String, RegistryLogin)>> {
    let (uri, credentials) = match input.given("registry") {
        None => ("reg", &json!(["bob", "pw"])),
        Some(Value::Null) => return Some(None),
        Some(Value::String(uri)) => (uri.as_str(), input.field("credentials")),
        Some(registry) => (registry.get("uri")?.as_str()?, registry.get("credentials")?),
    };
    let (Some(username), Some(password)) = (credentials.get(0), credentials.get(1)) else {
        return Some(None);
    };
    let login = RegistryLogin {
        username: username.as_str()?.to_owned(),
        password: password.as_str()?.to_owned(),
    };
    Some(Some((uri.to_owned(), login)))
}

/// Does one thing with a session. None: it is not understood.
async fn act(
    script: &Script,
    session: &Session,
    command: &mut Option<Command>,
    action: &Value,
) -> Option<Value> {
    let name = action.get("do")?.as_str()?;
    let result = match name {
        "exec" => match session
            .exec(Order {
                working_directory: directory(action),
                environment: variables(action),
                ..Order::new(line(action)?)
            })
            .await
        {
            Ok(started) => {
                *command = Some(started);
                Ok("started".into())
            }
            Err(error) => Err(not_done(&error)),
        },
        "aexec" => Err(not_done(&session.exec_in_background())),
        "upload" | "download" => copy(session, name, action).await?,
        "snapshot" => session
            .snapshot()
            .await
            .map(taken)
            .map_err(|error| not_done(&error)),
        "close" => {
            session.close();
            Ok(Value::Null)
        }
        "closed" => Ok(session.is_closed().into()),
        "destroy" => done(session.destroy().await),
        "exit" => done(session.leave().await),
        "with" => match (session.leave().await, action.get("raise")) {
            (Err(error), _) => Err(not_done(&error)),
            (Ok(()), Some(raised)) => Err(Fault::from_script(raised)?.encoded()),
            (Ok(()), None) => Ok("inside".into()),
        },
        name => ask(script, command.as_ref()?, name, action).await?,
    };
    Some(result.map_or_else(|error| error, ok))
}

/// Asks a command for one thing. None: it is not understood.
async fn ask(
    script: &Script,
    command: &Command,
    name: &str,
    action: &Value,
) -> Option<Result<Value, Value>> {
    let failed = |error: ProcessError<Fault>| Err(not_answered(&error));
    let lines =
        |lines: Result<Vec<String>, Fault>| lines.map(Value::from).map_err(|fault| fault.encoded());
    Some(match name {
        "wait" => {
            let timeout = match action.get("timeout") {
                None | Some(Value::Null) => None,
                Some(timeout) => Some(seconds(timeout)?),
            };
            let since = script.clock.now();
            let result = command.wait(timeout).await;
            script.waited(since);
            result.map_or_else(failed, |code| Ok(json!({"code": code})))
        }
        "exit_code" => command
            .exit_code()
            .await
            .map_or_else(failed, |code| Ok(code.into())),
        "kill" => command.kill().map_or_else(failed, |()| Ok(Value::Null)),
        "stdout" => lines(command.stdout().try_collect().await),
        "stderr" => lines(command.stderr().try_collect().await),
        "collect" => {
            let limit = match action.get("max_chars") {
                None => limits::COLLECTED,
                Some(limit) => usize::try_from(limit.as_i64()?.max(0)).ok()?,
            };
            command
                .collect(limit)
                .await
                .map_or_else(failed, |collected| {
                    Ok(json!({
                        "stdout": collected.stdout.text,
                        "stderr": collected.stderr.text,
                        "exit_code": collected.exit_code,
                        "stdout_truncated": collected.stdout.is_truncated,
                        "stderr_truncated": collected.stderr.is_truncated,
                    }))
                })
        }
        _ => return None,
    })
}

fn seconds(number: &Value) -> Option<Seconds> {
    match number.as_i64() {
        Some(seconds) => Some(Seconds::Whole(seconds)),
        None => number.as_f64().map(Seconds::Real),
    }
}

fn line(action: &Value) -> Option<CommandLine> {
    Some(match action.get("command")? {
        Value::String(text) => CommandLine::Text(text.clone()),
        words => {
            let words = words.as_array()?.iter();
            let words = words.map(|word| word.as_str().map(ToOwned::to_owned));
            CommandLine::Words(words.collect::<Option<_>>()?)
        }
    })
}

fn directory(action: &Value) -> Option<String> {
    action.get("cwd")?.as_str().map(ToOwned::to_owned)
}

fn variables(action: &Value) -> Vec<(String, String)> {
    let variables = action
        .get("env")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    variables
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// None: it is not understood.
async fn copy(session: &Session, name: &str, action: &Value) -> Option<Result<Value, Value>> {
    let path = |place: usize| action.get("paths")?.get(place)?.as_str();
    let (from, to) = (path(0)?, path(1)?);
    Some(done(match name {
        "upload" => session.upload(from.to_owned(), to).await.map(|_| ()),
        _ => session.download(from, to.to_owned()).await,
    }))
}

fn taken(snapshot: Snapshot) -> Value {
    json!({"sandbox_id": snapshot.component.map(|id| id.to_string()), "ref": snapshot.image, "metadata": {}})
}

fn done(result: Result<(), SessionError<Fault>>) -> Result<Value, Value> {
    match result {
        Ok(()) => Ok(Value::Null),
        Err(error) => Err(not_done(&error)),
    }
}

fn raised(kind: &str, message: impl ToString, cause: Option<(&str, String)>) -> Value {
    let mut error = Map::new();
    error.insert("type".to_owned(), kind.into());
    error.insert("message".to_owned(), message.to_string().into());
    if let Some((kind, message)) = cause {
        error.insert(
            "cause".to_owned(),
            json!({"type": kind, "message": message}),
        );
    }
    object([("error", Value::Object(error))])
}

fn not_open(error: &OpenErrorOf<FakeService>) -> Value {
    match error {
        OpenError::Service(cause) => cause.encoded(),
        OpenError::Create(CreateError::Resources(faults)) => {
            let text = faults.to_string();
            let errors = faults
                .faults()
                .iter()
                .map(|fault| json!({"type": fault.kind, "loc": fault.path, "msg": fault.message}));
            json!({"error": {
                "type": "ValidationError",
                "message": text.lines().next(),
                "errors": errors.collect::<Vec<_>>(),
            }})
        }
        OpenError::Create(cause) => raised(cause.kind(), cause, None),
        OpenError::Attach { cause, .. } => raised(
            "RuntimeError",
            error,
            Some((&cause.kind, cause.to_string())),
        ),
        OpenError::Ended { .. } => raised("RuntimeError", error, None),
        OpenError::OtherComponent { .. } => raised("ValueError", error, None),
        OpenError::Restore { cause, .. } => raised(
            "RuntimeError",
            error,
            Some((cause.kind(), cause.to_string())),
        ),
    }
}

fn not_done(error: &SessionError<Fault>) -> Value {
    match error {
        SessionError::Closed { .. } => raised("SandboxSessionClosedError", error, None),
        SessionError::Words(_) => raised("ValueError", error, None),
        SessionError::NoBackground => raised("NotImplementedError", error, None),
        SessionError::Launch { cause } => raised(
            "SandboxExecError",
            error,
            Some((&cause.kind, cause.to_string())),
        ),
        SessionError::Terminate { cause, .. } => raised(
            "RuntimeError",
            error,
            Some((&cause.kind, cause.to_string())),
        ),
        SessionError::Service(fault) => fault.encoded(),
    }
}

fn not_answered(error: &ProcessError<Fault>) -> Value {
    match error {
        ProcessError::StillRunning { .. } => raised("TimeoutError", error, None),
        ProcessError::Collected => raised("RuntimeError", error, None),
        ProcessError::CannotKill => raised("NotImplementedError", error, None),
        ProcessError::Service(fault) => fault.encoded(),
    }
}
