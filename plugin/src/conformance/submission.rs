//! Cases about what is submitted to Modal.

use super::Input;
use super::encode::{error, ok};
use super::fakes::{FakeSandboxes, Fault, Form, Observed, ScriptedSandbox, hang, put};
use crate::catalog::Kind;
use crate::config::class::Class;
use crate::config::document::{Document, DocumentError};
use crate::config::reference::KeptByHost;
use crate::config::settings::effective;
use crate::credentials::TokenPair;
use crate::modal::image::RegistryLogin;
use crate::names::{APP_NAME_VARIABLE, RUN_ID_VARIABLE};
use crate::resources::gpu::Gpu;
use crate::status::{Sandboxes, Shape};
use crate::submission::controller::{self, ControllerSubmission, RunClaims};
use crate::submission::images::{ORCHESTRATOR_KEY, STEP_OPERATOR_KEY};
use crate::submission::step::{
    IsolatedStep, OperatorStep, StepMetadata, StepOperatorChoice, StepSubmission, Surroundings,
    docker_builds, start_static_step, submit_isolated_step, submit_operator_step,
};
use crate::submission::{
    BuiltImages, Placement, SandboxRequest, Service, StepResources, SubmitError,
};
use serde_json::{Map, Value, json};
use std::time::Duration;

pub(super) fn run(operation: &str, input: &Input<'_>) -> Option<Value> {
    match operation {
        "submit_static" => submit_controller(input, Shape::Static),
        "submit_dynamic" => submit_controller(input, Shape::Dynamic),
        "create_static_step_sandbox" => create_static_step(input),
        "submit_isolated_step" => submit_isolated(input),
        "step_operator_submit" => submit_operator(input),
        "step_operator_builds" => builds(input),
        _ => None,
    }
}

/// Modal, as far as creating sandboxes goes.
pub(super) struct FakeService {
    pub(super) sandboxes: FakeSandboxes,
    account: Option<TokenPair>,
    /// What calls fail with, by their names.
    fail: Value,
    /// The sandbox that is created.
    sandbox: ScriptedSandbox,
}

impl FakeService {
    fn new(input: &Input<'_>) -> Self {
        let config = input.field("config");
        let token = |key: &str| config.get(key)?.as_str();
        Self {
            sandboxes: FakeSandboxes::new(Form::Object, &Value::Null),
            account: TokenPair::configured(token("token_id"), token("token_secret"))
                .ok()
                .flatten(),
            fail: input.field("modal_fail").clone(),
            sandbox: ScriptedSandbox::new("sb-1", input.field("box")),
        }
    }

    fn observed(&self) -> &Observed {
        &self.sandboxes.observed
    }

    fn client(&self) -> Value {
        match &self.account {
            Some(pair) => json!({"client": [pair.id(), pair.secret()]}),
            None => Value::Null,
        }
    }

    fn called(&self, call: &str, arguments: Value, named: Option<Value>) -> Result<(), Fault> {
        let entry = json!({"call": call, "args": arguments});
        self.observed().called(match named {
            Some(named) => put(entry, "kwargs", named),
            None => entry,
        });
        match self.fail.get(call).and_then(Fault::from_script) {
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }

    fn new_secret(&self, variables: &[(String, String)]) -> Value {
        let values: Map<String, Value> = variables
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into()))
            .collect();
        let _ = self.called("Secret.from_dict", json!([values]), None);
        json!({"secret": values})
    }
}

impl Sandboxes for FakeService {
    type Sandbox = ScriptedSandbox;
    type Error = Fault;

    async fn find(&self, id: &str) -> Result<ScriptedSandbox, Fault> {
        self.sandboxes.find(id).await
    }

    async fn exit_code(&self, sandbox: &ScriptedSandbox) -> Result<Option<i32>, Fault> {
        self.sandboxes.exit_code(sandbox).await
    }

    async fn terminate(&self, sandbox: &ScriptedSandbox) -> Result<(), Fault> {
        self.sandboxes.terminate(sandbox).await
    }

    async fn pause(&self, duration: Duration) {
        self.sandboxes.pause(duration).await;
    }

    fn now(&self) -> Duration {
        self.sandboxes.now()
    }

    fn warn(&self, message: &str) {
        self.sandboxes.warn(message);
    }
}

impl Service for FakeService {
    type Image = String;
    type App = String;
    type Secret = Value;

    async fn sign_in(&self) -> Result<(), Fault> {
        match &self.account {
            Some(pair) => {
                let pair = json!([pair.id(), pair.secret()]);
                self.called("Client.from_credentials", pair, None)
            }
            None => Ok(()),
        }
    }

    fn image(&self, reference: &str, login: Option<&RegistryLogin>) -> String {
        let named = login.map(|login| {
            let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            let secret = self.new_secret(&[
                variable("REGISTRY_USERNAME", &login.username),
                variable("REGISTRY_PASSWORD", &login.password),
            ]);
            json!({"secret": secret})
        });
        let _ = self.called("Image.from_registry", json!([reference]), named);
        reference.to_owned()
    }

    async fn app(&self, name: &str, environment: Option<&str>) -> Result<String, Fault> {
        let named = json!({
            "create_if_missing": true,
            "environment_name": environment,
            "client": self.client(),
        });
        self.called("App.lookup", json!([name]), Some(named))?;
        Ok(name.to_owned())
    }

    fn secret(&self, variables: Vec<(String, String)>) -> Value {
        self.new_secret(&variables)
    }

    async fn create(
        &self,
        app: String,
        image: String,
        request: SandboxRequest<Value>,
    ) -> Result<ScriptedSandbox, Fault> {
        let environment: Map<String, Value> = request
            .environment
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect();
        let mut named = json!({
            "app": {"app": app},
            "image": {"image": image},
            "gpu": request.gpu.as_ref().map(Gpu::argument),
            "cpu": request.cpu,
            "memory": request.memory,
            "cloud": request.cloud,
            "region": request.region,
            "timeout": request.timeout,
            "env": environment,
            "client": self.client(),
        });
        if let Some(secret) = request.secret {
            named = put(named, "secrets", json!([secret]));
        }
        self.called("Sandbox.create", request.command.into(), Some(named))?;
        Ok(self.sandbox.clone())
    }

    fn id(&self, sandbox: &ScriptedSandbox) -> String {
        sandbox.id.clone()
    }
}

/// ZenML's server, as far as submissions go.
struct FakeServer<'a> {
    observed: &'a Observed,
    fail: &'a Value,
    step_run: &'a str,
}

/// The component under test.
const COMPONENT: &str = "a0000000-0000-4000-8000-0000000000c1";

impl FakeServer<'_> {
    fn called(&self, name: &str, call: Value) -> Result<(), Fault> {
        self.observed.called(call);
        match self.fail.get(name).and_then(Fault::from_script) {
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }
}

impl RunClaims for FakeServer<'_> {
    type Error = Fault;

    async fn set_orchestrator_run_id(&self, run: &str, id: &str) -> Result<(), Fault> {
        let changes = json!({"orchestrator_run_id": id});
        let call = json!({"call": "update_run", "run": run, "changes": changes});
        self.called("update_run", call)
    }
}

impl StepMetadata for FakeServer<'_> {
    type Error = Fault;

    async fn publish(&self, metadata: &Map<String, Value>) -> Result<(), Fault> {
        let call = json!({
            "call": "create_run_metadata",
            "metadata": metadata,
            "resources": [{"type": "step_run", "id": self.step_run}],
            "component": COMPONENT,
        });
        self.called("create_run_metadata", call)
    }
}

fn submit_controller(input: &Input<'_>, shape: Shape) -> Option<Value> {
    let service = FakeService::new(input);
    let settings = input.field("settings");
    let settings = match settings_of(Kind::Orchestrator, input, settings) {
        Ok(settings) => settings,
        // The original looks for a schedule first.
        Err(_) if is_scheduled(input) => Class::settings(Kind::Orchestrator)
            .parse("{}", &KeptByHost)
            .ok()?,
        Err(answer) => return Some(put(answer, "calls", json!([]))),
    };
    let steps = input.field("steps").as_array().into_iter().flatten();
    let submission = ControllerSubmission {
        snapshot: input.text("snapshot_id")?.to_owned(),
        run: input.text("run_id").map(ToOwned::to_owned),
        fresh_id: input.text("random_id").unwrap_or_default().to_owned(),
        shape,
        scheduled: is_scheduled(input),
        steps: match input.given("steps") {
            None => vec!["a".to_owned()],
            Some(_) => steps
                .filter_map(|step| step["name"].as_str().map(ToOwned::to_owned))
                .collect(),
        },
        images: images(input),
        synchronous: settings.values().get("synchronous") == Some(&Value::Bool(true)),
        placement: Placement::from(&settings),
        resources: resources(input.field("resources")),
        registry: registry(input),
        environment: variables(input.field("environment")),
        credentials: service.account.clone(),
    };
    let server = FakeServer {
        observed: service.observed(),
        fail: input.field("client_fail"),
        step_run: "",
    };
    let result = service.sandboxes.clock.run(async {
        let submitted = controller::submit(&service, &server, submission).await?;
        if input.field("wait") == true && submitted.waits {
            controller::wait(&service, &submitted.sandbox).await?;
        }
        Ok(json!({"metadata": submitted.metadata, "waits": submitted.waits}))
    });
    let answer = result.map_or_else(|_| hang(), outcome);
    Some(service.observed().with_calls(answer))
}

fn is_scheduled(input: &Input<'_>) -> bool {
    !matches!(input.field("schedule"), Value::Null | Value::Bool(false))
}

fn create_static_step(input: &Input<'_>) -> Option<Value> {
    let service = FakeService::new(input);
    let name = input.text("step")?;
    let step = match input.field("steps").as_array() {
        None if name == "a" => Some(&Value::Null),
        None => None,
        Some(steps) => steps.iter().find(|step| step["name"] == name),
    };
    let Some(step) = step else {
        // Python's error for a key that is not there, its argument the key.
        return Some(put(error("KeyError", name), "calls", json!([])));
    };
    let settings = match settings_of(Kind::Orchestrator, input, &step["settings"]) {
        Ok(settings) => settings,
        Err(answer) => return Some(put(answer, "calls", json!([]))),
    };
    let submission = StepSubmission {
        placement: Placement::from(&settings),
        resources: resources(step.pointer("/settings/resources").unwrap_or(&Value::Null)),
        registry: registry(input),
        environment: variables(input.field("environment")),
    };
    let surroundings = surroundings(input);
    let images = images(input);
    let result = service.sandboxes.clock.run(async {
        let snapshot = input.text("snapshot_id").unwrap_or_default();
        let images = images.as_ref();
        start_static_step(&service, &surroundings, snapshot, name, images, submission)
            .await
            .map(|sandbox| sandbox.id.into())
    });
    let answer = result.map_or_else(|_| hang(), outcome);
    Some(service.observed().with_calls(answer))
}

fn submit_isolated(input: &Input<'_>) -> Option<Value> {
    let service = FakeService::new(input);
    let step = input.field("step");
    let settings = match settings_of(Kind::Orchestrator, input, &step["settings"]) {
        Ok(settings) => settings,
        Err(answer) => return Some(put(answer, "calls", json!([]))),
    };
    let step_run = input.text("step_run_id")?;
    let isolated = IsolatedStep {
        snapshot: input.text("snapshot_id")?.to_owned(),
        step: step["name"].as_str().unwrap_or("a").to_owned(),
        step_run: step_run.to_owned(),
        run: input.text("run_id")?.to_owned(),
        command: input.given("command").and_then(words),
        image: format!("reg/{ORCHESTRATOR_KEY}:1"),
    };
    let submission = StepSubmission {
        placement: Placement::from(&settings),
        resources: resources(step.pointer("/settings/resources").unwrap_or(&Value::Null)),
        registry: registry(input),
        environment: variables(input.field("environment")),
    };
    let server = FakeServer {
        observed: service.observed(),
        fail: input.field("client_fail"),
        step_run,
    };
    let surroundings = surroundings(input);
    let result = service.sandboxes.clock.run(async {
        submit_isolated_step(&service, &server, &surroundings, isolated, submission)
            .await
            .map(|metadata| json!({"local_metadata": metadata}))
    });
    let answer = result.map_or_else(|_| hang(), outcome);
    Some(service.observed().with_calls(answer))
}

fn submit_operator(input: &Input<'_>) -> Option<Value> {
    let service = FakeService::new(input);
    let step = input.field("step");
    let settings = match settings_of(Kind::StepOperator, input, &step["settings"]) {
        Ok(settings) => settings,
        Err(answer) => return Some(put(answer, "calls", json!([]))),
    };
    let step_run = input.text("step_run_id")?;
    let operated = OperatorStep {
        step_run: step_run.to_owned(),
        step: step["name"].as_str().unwrap_or("a").to_owned(),
        command: match input.given("command") {
            Some(command) => words(command)?,
            None => ["python", "-m", "x"].map(ToOwned::to_owned).to_vec(),
        },
        image: format!("reg/{STEP_OPERATOR_KEY}:1"),
    };
    let submission = StepSubmission {
        placement: Placement::from(&settings),
        resources: resources(step.pointer("/settings/resources").unwrap_or(&Value::Null)),
        registry: registry(input),
        environment: variables(input.field("environment")),
    };
    let server = FakeServer {
        observed: service.observed(),
        fail: input.field("client_fail"),
        step_run,
    };
    let result = service.sandboxes.clock.run(async {
        submit_operator_step(&service, &server, operated, submission)
            .await
            .map(|metadata| json!({"local_metadata": metadata}))
    });
    let answer = result.map_or_else(|_| hang(), outcome);
    Some(service.observed().with_calls(answer))
}

fn builds(input: &Input<'_>) -> Option<Value> {
    let steps = input.field("steps").as_array()?;
    let steps = steps.iter().filter_map(|step| {
        let choice = match &step["step_operator"] {
            Value::Bool(true) => StepOperatorChoice::OfStack,
            Value::String(name) => StepOperatorChoice::Named(name.clone()),
            _ => StepOperatorChoice::None,
        };
        Some((step["name"].as_str()?, choice))
    });
    let builds = docker_builds(input.text("component_name")?, steps);
    let builds: Vec<Value> = builds
        .into_iter()
        .map(|build| json!({"key": build.key, "step": build.step}))
        .collect();
    Some(ok(builds))
}

/// The settings that apply, or the answer that they are not acceptable.
pub(super) fn settings_of(
    kind: Kind,
    input: &Input<'_>,
    run_settings: &Value,
) -> Result<Document, Value> {
    let config = input.field("config").as_object().cloned();
    let stored = Class::configuration(kind).read(config.unwrap_or_default(), &KeptByHost);
    let empty = Map::new();
    let run_settings = run_settings.as_object().unwrap_or(&empty);
    let settings = stored
        .result
        .and_then(|stored| effective(kind, "runner", &stored, run_settings, &KeptByHost));
    settings.map_err(|error| not_acceptable(Class::settings(kind), error))
}

/// Faults of a document, as pydantic tells them.
fn not_acceptable(class: &Class, error: DocumentError) -> Value {
    let faults = error.into_faults();
    let (count, plural) = (faults.len(), if faults.len() == 1 { "" } else { "s" });
    let message = format!("{count} validation error{plural} for {}", class.name);
    let faults = faults
        .into_iter()
        .map(|fault| json!({"type": fault.kind, "loc": fault.path, "msg": fault.message}));
    let faults: Vec<Value> = faults.collect();
    json!({"error": {"type": "ValidationError", "message": message, "errors": faults}})
}

fn resources(resources: &Value) -> StepResources {
    StepResources {
        cpu_count: resources["cpu_count"].as_f64(),
        gpu_count: resources["gpu_count"]
            .as_u64()
            .and_then(|count| u32::try_from(count).ok()),
        memory: resources["memory"].as_str().map(ToOwned::to_owned),
    }
}

/// The registry of the stack; the original's always has a login unless a case
/// says otherwise.
fn registry(input: &Input<'_>) -> Option<Option<RegistryLogin>> {
    if input.given("registry") == Some(&Value::Null) {
        return None;
    }
    let login = |username: &str, password: &str| RegistryLogin {
        username: username.to_owned(),
        password: password.to_owned(),
    };
    Some(match input.given("credentials") {
        None => Some(login("bob", "pw")),
        Some(Value::Null) => None,
        Some(pair) => Some(login(
            pair[0].as_str().unwrap_or_default(),
            pair[1].as_str().unwrap_or_default(),
        )),
    })
}

fn images(input: &Input<'_>) -> Option<BuiltImages> {
    Some(BuiltImages::new(variables(
        input.given("images").filter(|images| !images.is_null())?,
    )))
}

fn surroundings(input: &Input<'_>) -> Surroundings {
    let environment = input.field("process_environment");
    let variable = |name: &str| environment[name].as_str().map(ToOwned::to_owned);
    Surroundings {
        run_id: variable(RUN_ID_VARIABLE),
        app_name: variable(APP_NAME_VARIABLE),
    }
}

/// Texts by their names.
pub(super) fn variables(values: &Value) -> Vec<(String, String)> {
    let values = values.as_object().into_iter().flatten();
    values
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn words(command: &Value) -> Option<Vec<String>> {
    let words = command.as_array()?.iter();
    words
        .map(|word| word.as_str().map(ToOwned::to_owned))
        .collect()
}

fn outcome(result: Result<Value, SubmitError<Fault, Fault>>) -> Value {
    match result {
        Ok(value) => ok(value),
        Err(SubmitError::Service(fault) | SubmitError::Records(fault)) => fault.encoded(),
        Err(submit) => {
            let kind = match &submit {
                SubmitError::Image(_) => "KeyError",
                SubmitError::NoRegistry(_) | SubmitError::EmptyCommand => "ValueError",
                SubmitError::Gpu(_) => "StackComponentInterfaceError",
                SubmitError::Memory(_) => "OverflowError",
                _ => "RuntimeError",
            };
            error(kind, submit)
        }
    }
}
