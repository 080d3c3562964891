//! Modal and a step, as the scripts of cases about sessions have them.

use super::clock::Clock;
use super::encode::{observed, ok, pairs};
use super::fakes::{Fault, Script as Answers, put};
use super::line_buffer::piece;
use crate::credentials::TokenPair;
use crate::modal::image::RegistryLogin;
use crate::sandbox::service::{
    ActiveStep, Command, Level, PublishError, RunningCommand, RunningSandbox, SandboxService,
    SandboxSpec, ServiceError, Surroundings,
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use serde_json::{Map, Value, json};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use uuid::Uuid;

impl ServiceError for Fault {
    fn kind(&self) -> &str {
        &self.kind
    }
}

/// A case: what it says is going to happen, and what was observed. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) clock: Clock,
    input: Rc<Value>,
    commands: Rc<Cell<usize>>,
    seen: Rc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    calls: RefCell<Vec<Value>>,
    published: RefCell<Vec<Value>>,
    log: RefCell<Vec<Value>>,
    warnings: RefCell<Vec<String>>,
}

impl Script {
    pub(super) fn new(input: &Value, clock: Clock) -> Self {
        Self {
            clock,
            input: Rc::new(input.clone()),
            commands: Rc::default(),
            seen: Rc::default(),
        }
    }

    /// Adds what was observed to the results.
    pub(super) fn observed(&self, results: Vec<Value>) -> Value {
        let result = put(json!({}), "results", results.into());
        let result = put(result, "calls", self.seen.calls.borrow().clone().into());
        let published = self.seen.published.borrow().clone();
        let result = observed(result, "published_metadata", published);
        let result = observed(result, "log_lines", self.seen.log.borrow().clone());
        observed(ok(result), "warnings", self.seen.warnings.borrow().clone())
    }

    /// How long something took.
    pub(super) fn waited(&self, since: Duration) {
        let waited = self.clock.now().saturating_sub(since);
        self.called(json!({"call": "waited", "seconds": waited.as_secs_f64()}));
    }

    fn called(&self, call: Value) {
        self.seen.calls.borrow_mut().push(call);
    }

    /// A call on Modal itself.
    fn call(
        &self,
        name: &str,
        arguments: Value,
        keywords: Map<String, Value>,
    ) -> Result<(), Fault> {
        self.called(call(json!({"call": name, "args": arguments}), keywords));
        self.input
            .get("modal_fail")
            .and_then(|fail| Fault::from_script(fail.get(name)?))
            .map_or(Ok(()), Err)
    }
}

fn call(call: Value, keywords: Map<String, Value>) -> Value {
    match keywords.is_empty() {
        true => call,
        false => put(call, "kwargs", keywords.into()),
    }
}

fn keywords<const N: usize>(keywords: [(&str, Value); N]) -> Map<String, Value> {
    let keywords = keywords.into_iter();
    keywords
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn variables(variables: &[(String, String)]) -> Value {
    pairs(
        variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    )
}

/// Modal, with one account.
#[derive(Debug)]
pub(super) struct FakeService {
    script: Script,
    client: Value,
}

impl FakeService {
    pub(super) fn connect(script: Script, pair: Option<&TokenPair>) -> Result<Self, Fault> {
        let client = match pair {
            None => Value::Null,
            Some(pair) => {
                let tokens = json!([pair.id(), pair.secret()]);
                script.call("Client.from_credentials", tokens.clone(), Map::new())?;
                json!({"client": tokens})
            }
        };
        Ok(Self { script, client })
    }
}

impl SandboxService for FakeService {
    type Error = Fault;
    type App = Value;
    type Image = Value;
    type Secret = Value;
    type Sandbox = FakeSandbox;

    async fn registry_image(
        &self,
        reference: &str,
        login: Option<&RegistryLogin>,
    ) -> Result<Value, Fault> {
        let mut options = Map::new();
        if let Some(login) = login {
            let secret = vec![
                ("REGISTRY_USERNAME".to_owned(), login.username.clone()),
                ("REGISTRY_PASSWORD".to_owned(), login.password.clone()),
            ];
            options = keywords([("secret", self.secret(secret).await?)]);
        }
        self.script
            .call("Image.from_registry", json!([reference]), options)?;
        Ok(json!({"image": reference}))
    }

    async fn snapshot_image(&self, id: &str) -> Result<Value, Fault> {
        let options = keywords([("client", self.client.clone())]);
        self.script.call("Image.from_id", json!([id]), options)?;
        Ok(json!({"image_id": id}))
    }

    async fn app(&self, name: &str, environment: Option<&str>) -> Result<Value, Fault> {
        let options = keywords([
            ("create_if_missing", true.into()),
            ("environment_name", environment.into()),
            ("client", self.client.clone()),
        ]);
        self.script.call("App.lookup", json!([name]), options)?;
        Ok(json!({"app": name}))
    }

    async fn secret(&self, secret: Vec<(String, String)>) -> Result<Value, Fault> {
        let secret = variables(&secret);
        self.script
            .call("Secret.from_dict", json!([secret]), Map::new())?;
        Ok(json!({"secret": secret}))
    }

    async fn create(&self, spec: SandboxSpec<Self>) -> Result<FakeSandbox, Fault> {
        let mut options = keywords([
            ("app", spec.app),
            ("image", spec.image),
            ("gpu", spec.gpu.map(|gpu| gpu.argument()).into()),
            ("cpu", spec.cpu.into()),
            ("memory", spec.memory.into()),
            ("cloud", spec.cloud.into()),
            ("region", spec.region.into()),
            ("timeout", spec.timeout.into()),
            ("env", variables(&spec.environment)),
            ("client", self.client.clone()),
        ]);
        if !spec.secrets.is_empty() {
            options.insert("secrets".to_owned(), spec.secrets.into());
        }
        self.script.call("Sandbox.create", json!([]), options)?;
        let script = self.script.input.get("box").unwrap_or(&Value::Null);
        Ok(FakeSandbox::new("sb-1", script, self.script.clone()))
    }

    async fn find(&self, id: &str) -> Result<FakeSandbox, Fault> {
        let options = keywords([("client", self.client.clone())]);
        self.script.call("Sandbox.from_id", json!([id]), options)?;
        let sandboxes = self.script.input.get("sandboxes");
        match sandboxes.and_then(|sandboxes| sandboxes.get(id)) {
            Some(script) => Ok(FakeSandbox::new(id, script, self.script.clone())),
            None => Err(Fault::new(
                "NotFoundError",
                format!("Sandbox {id} not found"),
            )),
        }
    }

    async fn find_named(
        &self,
        app: &str,
        environment: Option<&str>,
        name: &str,
    ) -> Result<FakeSandbox, Fault> {
        let options = keywords([
            ("environment_name", environment.into()),
            ("client", self.client.clone()),
        ]);
        self.script
            .call("Sandbox.from_name", json!([app, name]), options)?;
        Err(Fault::new(
            "NotFoundError",
            format!("Sandbox {name} not found"),
        ))
    }
}

/// A sandbox of a script.
#[derive(Debug)]
pub(super) struct FakeSandbox {
    id: String,
    polls: Answers,
    own: Value,
    script: Script,
}

impl FakeSandbox {
    fn new(id: &str, own: &Value, script: Script) -> Self {
        Self {
            id: id.to_owned(),
            polls: Answers::new(own.get("polls").unwrap_or(&Value::Null), Value::Null),
            own: own.clone(),
            script,
        }
    }

    fn call(
        &self,
        name: &str,
        arguments: Value,
        keywords: Map<String, Value>,
    ) -> Result<(), Fault> {
        let made = json!({
            "call": format!("sandbox.{name}"),
            "sandbox": self.id,
            "args": arguments,
        });
        self.script.called(call(made, keywords));
        let failure = self.own.get("fail").and_then(|fail| fail.get(name));
        failure.and_then(Fault::from_script).map_or(Ok(()), Err)
    }
}

impl RunningSandbox for FakeSandbox {
    type Error = Fault;
    type Command = ScriptedCommand;
    type Source = String;
    type Sink = String;

    fn id(&self) -> &str {
        &self.id
    }

    async fn set_tags(&self, tags: Vec<(String, String)>) -> Result<(), Fault> {
        self.call("set_tags", json!([variables(&tags)]), Map::new())
    }

    async fn tags(&self) -> Result<Vec<(String, String)>, Fault> {
        self.call("get_tags", json!([]), Map::new())?;
        Ok(Vec::new())
    }

    async fn dashboard_url(&self) -> Result<Option<String>, Fault> {
        self.call("get_dashboard_url", json!([]), Map::new())?;
        Ok(match self.own.get("dashboard") {
            None => Some("https://modal.com/sb".to_owned()),
            Some(url) => url.as_str().map(ToOwned::to_owned),
        })
    }

    async fn poll(&self) -> Result<Option<i32>, Fault> {
        self.call("poll", json!([]), Map::new())?;
        self.polls.next_code()
    }

    async fn terminate(&self) -> Result<(), Fault> {
        self.call("terminate", json!([]), Map::new())
    }

    async fn exec(&self, command: Command) -> Result<ScriptedCommand, Fault> {
        let mut options = Map::new();
        if let Some(directory) = &command.working_directory {
            options.insert("workdir".to_owned(), directory.as_str().into());
        }
        if !command.environment.is_empty() {
            options.insert("env".to_owned(), variables(&command.environment));
        }
        self.call("exec", command.arguments.into(), options)?;
        let number = self.script.commands.replace(self.script.commands.get() + 1);
        let commands = self.script.input.get("processes");
        let own = commands.and_then(|commands| commands.get(number));
        Ok(ScriptedCommand::new(
            own.cloned().unwrap_or_default(),
            self.script.clone(),
        ))
    }

    async fn snapshot(&self) -> Result<String, Fault> {
        self.call("snapshot_filesystem", json!([]), Map::new())?;
        Ok(format!("im-of-{}", self.id))
    }

    async fn upload(&self, local: String, path: &str) -> Result<u64, Fault> {
        self.call("copy_from_local", json!([local, path]), Map::new())?;
        Ok(0)
    }

    async fn download(&self, path: &str, local: String) -> Result<(), Fault> {
        self.call("copy_to_local", json!([path, local]), Map::new())
    }
}

/// A command of a script.
#[derive(Debug)]
pub(super) struct ScriptedCommand {
    polls: Answers,
    own: Value,
    script: Script,
}

impl ScriptedCommand {
    fn new(own: Value, script: Script) -> Self {
        let polls = own.get("polls").unwrap_or(&Value::Null);
        Self {
            polls: Answers::new(polls, own.get("returncode").cloned().unwrap_or(json!(0))),
            own,
            script,
        }
    }

    fn output(&self, name: &str) -> impl Stream<Item = Result<Bytes, Fault>> + use<> {
        let chunks = self.own.get(name).and_then(Value::as_array).cloned();
        let chunks = chunks.unwrap_or_default().into_iter();
        stream::iter(chunks.filter(|chunk| !chunk.is_null()).map(
            |chunk| match chunk.get("raise") {
                Some(script) => Err(Fault::from_script(script).unwrap_or(Fault::new("?", script))),
                None => piece(&chunk).ok_or_else(|| Fault::new("?", chunk)),
            },
        ))
    }
}

impl RunningCommand for ScriptedCommand {
    type Error = Fault;

    fn stdout(&self) -> impl Stream<Item = Result<Bytes, Fault>> {
        self.output("stdout")
    }

    fn stderr(&self) -> impl Stream<Item = Result<Bytes, Fault>> {
        self.output("stderr")
    }

    async fn feed(&self, input: impl Stream<Item = Bytes> + Unpin) -> Result<(), Fault> {
        let fed: usize = input
            .map(|piece| piece.len())
            .collect::<Vec<_>>()
            .await
            .iter()
            .sum();
        self.script
            .called(json!({"call": "process.feed", "bytes": fed}));
        Ok(())
    }

    async fn wait(&self) -> Result<Option<i32>, Fault> {
        self.script.called(json!({"call": "process.wait"}));
        let runs_for = self.own.get("runs_for").and_then(Value::as_f64);
        let runs_for = Duration::try_from_secs_f64(runs_for.unwrap_or_default());
        self.script.clock.sleep(runs_for.unwrap_or_default()).await;
        if let Some(fault) = self.own.get("wait_raises").and_then(Fault::from_script) {
            return Err(fault);
        }
        let code = self.own.get("returncode").map_or(Some(0), Value::as_i64);
        Ok(code.and_then(|code| i32::try_from(code).ok()))
    }

    async fn poll(&self) -> Result<Option<i32>, Fault> {
        self.script.called(json!({"call": "process.poll"}));
        self.polls.next_code()
    }
}

/// Whoever opens a session, and the step, when the script has one.
#[derive(Debug)]
pub(super) struct FakeStep(pub(super) Script);

impl Surroundings for FakeStep {
    fn step(&self) -> Option<ActiveStep> {
        self.0.input.get("step")?;
        Some(ActiveStep {
            run: Uuid::from_u128(0xa000_0000_0000_4000_8000_0000_0000_0010),
            step_run: Uuid::from_u128(0xa000_0000_0000_4000_8000_0000_0000_0040),
        })
    }

    async fn publish(&self, metadata: Map<String, Value>) -> Result<(), PublishError> {
        match self
            .0
            .input
            .get("metadata_fails")
            .and_then(Fault::from_script)
        {
            None => {
                self.0.seen.published.borrow_mut().push(metadata.into());
                Ok(())
            }
            // How Python's client says that there is no step.
            Some(fault) if fault.kind == "ValueError" => Err(PublishError::NoStep),
            Some(fault) => Err(PublishError::Failed(fault.message)),
        }
    }

    fn begin_log(&self, source: &str) -> Result<(), String> {
        let mut log = self.0.seen.log.borrow_mut();
        log.extend([json!(["source", source]), json!("begin")]);
        Ok(())
    }

    fn log(&self, level: Level, line: &str) {
        let level = match level {
            Level::Info => "info",
            Level::Error => "error",
        };
        self.0.seen.log.borrow_mut().push(json!([level, line]));
    }

    fn end_log(&self) {
        self.0.seen.log.borrow_mut().push(json!("end"));
    }

    fn warn(&self, message: &str) {
        self.0.seen.warnings.borrow_mut().push(message.to_owned());
    }

    fn now(&self) -> Duration {
        self.0.clock.now()
    }

    async fn sleep(&self, duration: Duration) {
        self.0.clock.sleep(duration).await;
    }
}
