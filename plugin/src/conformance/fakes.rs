//! Modal and ZenML's server, as the scripts of cases have them.

use super::clock::Clock;
use super::encode::{self, object};
use crate::metadata::Metadata;
use crate::status::{ExecutionStatus, Records, RunRecord, Sandboxes, Shape, StepRecord};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// A scripted failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: String,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(kind: &str, message: impl ToString) -> Self {
        Self {
            kind: kind.to_owned(),
            message: message.to_string(),
        }
    }

    /// Understands `{"type", "message"}`.
    pub(super) fn from_script(script: &Value) -> Option<Self> {
        Some(Self {
            kind: script.get("type")?.as_str()?.to_owned(),
            message: script.get("message")?.as_str()?.to_owned(),
        })
    }

    /// The way the recordings put it.
    pub(super) fn encoded(&self) -> Value {
        encode::error(&self.kind, &self.message)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What was observed. Clones write into the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Observed {
    pub(super) calls: Rc<RefCell<Vec<Value>>>,
    pub(super) warnings: Rc<RefCell<Vec<String>>>,
    pub(super) pauses: Rc<RefCell<Vec<Duration>>>,
}

impl Observed {
    pub(super) fn called(&self, call: Value) {
        self.calls.borrow_mut().push(call);
    }

    pub(super) fn warned(&self, message: &str) {
        self.warnings.borrow_mut().push(message.to_owned());
    }

    /// Adds the warnings, if there were any, to a result.
    pub(super) fn with_warnings(&self, answer: Value) -> Value {
        encode::observed(answer, "warnings", self.warnings.borrow().clone())
    }

    /// Adds the warnings and the calls to a result.
    pub(super) fn with_calls(&self, answer: Value) -> Value {
        let answer = self.with_warnings(answer);
        put(answer, "calls", self.calls.borrow().clone().into())
    }
}

/// Adds a field to a result.
pub(super) fn put(answer: Value, name: &str, value: Value) -> Value {
    match answer {
        Value::Object(mut fields) => {
            fields.insert(name.to_owned(), value);
            Value::Object(fields)
        }
        answer => answer,
    }
}

/// A list of answers that are given one by one; the last one again and again.
#[derive(Debug, Clone)]
pub(super) struct Script {
    answers: Rc<Vec<Value>>,
    given: Rc<Cell<usize>>,
}

impl Script {
    pub(super) fn new(answers: &Value, default: Value) -> Self {
        let answers = answers.as_array().cloned().unwrap_or(vec![default]);
        Self {
            answers: Rc::new(answers),
            given: Rc::default(),
        }
    }

    /// How many answers were given.
    pub(super) fn given(&self) -> usize {
        self.given.get()
    }

    /// The next answer.
    pub(super) fn next(&self) -> Result<Value, Fault> {
        let position = self.given.replace(self.given.get() + 1);
        let answer = self.answers.get(position).or_else(|| self.answers.last());
        let answer = answer.cloned().unwrap_or_default();
        match answer.get("raise") {
            Some(Value::String(message)) => Err(Fault::new("RuntimeError", message)),
            Some(script) => Err(Fault::from_script(script).unwrap_or(Fault::new("?", script))),
            None => Ok(answer),
        }
    }

    /// The next answer as an exit code.
    pub(super) fn next_code(&self) -> Result<Option<i32>, Fault> {
        let answer = self.next()?;
        Ok(exit_code(&answer))
    }
}

/// An exit code. Python's truth values are numbers.
pub(super) fn exit_code(value: &Value) -> Option<i32> {
    match value {
        Value::Bool(truth) => Some(i32::from(*truth)),
        value => value.as_i64().and_then(|code| i32::try_from(code).ok()),
    }
}

/// A sandbox of a script.
#[derive(Debug, Clone)]
pub(super) struct ScriptedSandbox {
    pub(super) id: String,
    pub(super) polls: Script,
    /// What its own methods fail with, by their names.
    pub(super) fail: Value,
}

impl ScriptedSandbox {
    pub(super) fn new(id: &str, script: &Value) -> Self {
        Self {
            id: id.to_owned(),
            polls: Script::new(&script["polls"], Value::Null),
            fail: script["fail"].clone(),
        }
    }
}

/// How a call is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `["poll", id]`
    Pair,
    /// `{"call": "sandbox.poll", "sandbox": id, "args": []}`
    Object,
}

/// Modal, as far as its sandboxes go.
#[derive(Debug, Clone)]
pub(super) struct FakeSandboxes {
    pub(super) clock: Clock,
    pub(super) observed: Observed,
    pub(super) form: Form,
    sandboxes: Rc<HashMap<String, ScriptedSandbox>>,
}

impl FakeSandboxes {
    /// Those that `scripts` names by their ids.
    pub(super) fn new(form: Form, scripts: &Value) -> Self {
        let scripts = scripts.as_object().into_iter().flatten();
        let sandboxes = scripts.map(|(id, script)| (id.clone(), ScriptedSandbox::new(id, script)));
        Self {
            clock: Clock::default(),
            observed: Observed::default(),
            form,
            sandboxes: Rc::new(sandboxes.collect()),
        }
    }

    /// No sandboxes at all; only the clock is of use.
    pub(super) fn none(clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            ..Self::new(Form::Pair, &Value::Null)
        }
    }

    fn called(&self, method: &str, id: &str) {
        self.observed.called(match self.form {
            Form::Pair => json!([method, id]),
            Form::Object => {
                json!({"call": format!("sandbox.{method}"), "sandbox": id, "args": []})
            }
        });
    }
}

impl Sandboxes for FakeSandboxes {
    type Sandbox = ScriptedSandbox;
    type Error = Fault;

    async fn find(&self, id: &str) -> Result<ScriptedSandbox, Fault> {
        self.called("from_id", id);
        let found = self.sandboxes.get(id).cloned();
        found.ok_or_else(|| Fault::new("NotFoundError", format!("Sandbox {id} not found")))
    }

    async fn exit_code(&self, sandbox: &ScriptedSandbox) -> Result<Option<i32>, Fault> {
        self.called("poll", &sandbox.id);
        sandbox.polls.next_code()
    }

    async fn terminate(&self, sandbox: &ScriptedSandbox) -> Result<(), Fault> {
        self.called("terminate", &sandbox.id);
        let script = sandbox.fail.get("terminate");
        match script.and_then(Fault::from_script) {
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }

    async fn pause(&self, duration: Duration) {
        self.observed.pauses.borrow_mut().push(duration);
        self.clock.sleep(duration).await;
    }

    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn warn(&self, message: &str) {
        self.observed.warned(message);
    }
}

/// The server, as far as one run goes.
#[derive(Debug)]
pub(super) struct FakeRecords {
    pub(super) observed: Observed,
    /// What the first, second, … look gives; the last one again and again.
    pub(super) looks: Vec<RunRecord>,
    pub(super) given: Cell<usize>,
    /// What calls fail with, by their names.
    pub(super) fail: Value,
}

impl FakeRecords {
    fn failure(&self, call: &str) -> Option<Fault> {
        Fault::from_script(self.fail.get(call)?)
    }
}

impl Records for FakeRecords {
    type Error = Fault;

    async fn run(&self) -> Result<RunRecord, Fault> {
        self.observed.called(json!(["get_pipeline_run"]));
        if let Some(fault) = self.failure("get_pipeline_run") {
            return Err(fault);
        }
        let position = self.given.replace(self.given.get() + 1);
        let look = self.looks.get(position).or_else(|| self.looks.last());
        look.cloned()
            .ok_or_else(|| Fault::new("KeyError", "there is no such run"))
    }

    async fn mark_stopping(&self, reason: &str) -> Result<(), Fault> {
        let changes = json!({"status": "stopping", "status_reason": reason});
        self.observed.called(json!(["update_run", changes]));
        self.failure("update_run").map_or(Ok(()), Err)
    }
}

/// Understands a run.
pub(super) fn run_record(id: &str, run: &Value) -> Option<RunRecord> {
    let steps = run.get("steps").and_then(Value::as_object);
    let step = |(name, step): (&String, &Value)| step_record(name, step);
    Some(RunRecord {
        id: id.to_owned(),
        status: status(&run["status"])?,
        metadata: metadata(&run["metadata"]),
        steps: match steps {
            Some(steps) => Some(steps.iter().map(step).collect::<Option<_>>()?),
            None => None,
        },
        shape: match run.get("snapshot") {
            None => Some(Shape::Static),
            Some(Value::Null) => None,
            Some(shape) if shape == "dynamic" => Some(Shape::Dynamic),
            Some(_) => Some(Shape::Static),
        },
        orchestrator_run_id: match run.get("orchestrator_run_id") {
            None => Some(id.to_owned()),
            Some(value) => value.as_str().map(ToOwned::to_owned),
        },
    })
}

/// Understands a step of a run.
pub(super) fn step_record(name: &str, step: &Value) -> Option<StepRecord> {
    Some(StepRecord {
        name: name.to_owned(),
        status: status(&step["status"])?,
        metadata: metadata(&step["metadata"]),
    })
}

/// A status; running where none is given.
fn status(value: &Value) -> Option<ExecutionStatus> {
    match value {
        Value::Null => Some(ExecutionStatus::Running),
        value => ExecutionStatus::from_name(value.as_str()?),
    }
}

/// Values by key. An enum member stands for its value.
pub(super) fn metadata(values: &Value) -> Metadata {
    let values = values.as_object().into_iter().flatten();
    let plain = |(key, value): (&String, &Value)| {
        let value = value.get("enum").unwrap_or(value);
        (key.clone(), value.clone())
    };
    values.map(plain).collect()
}

/// A result or a failure.
pub(super) fn outcome(result: Result<Value, Fault>) -> Value {
    match result {
        Ok(value) => encode::ok(value),
        Err(fault) => fault.encoded(),
    }
}

/// A case that never ends.
pub(super) fn hang() -> Value {
    object([("hang", json!({}))])
}
