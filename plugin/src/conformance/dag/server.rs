//! ZenML's server, as the scripts of cases have it.

use super::super::clock::Clock;
use super::super::fakes::{Fault, Observed};
use crate::run::zenml::{Server, StepRun};
use crate::status::ExecutionStatus;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// The server. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct FakeServer {
    clock: Clock,
    pub(super) state: Rc<RefCell<State>>,
}

/// What it knows and was told.
#[derive(Debug)]
pub(super) struct State {
    pub(super) run_status: ExecutionStatus,
    second_look: Option<ExecutionStatus>,
    looks: u32,
    /// What calls fail with, by their names.
    fail: Value,
    steps: HashMap<String, Step>,
    /// Changes of the run's status: a condition, and what follows.
    events: Vec<(Value, ExecutionStatus)>,
    polls: HashMap<String, u64>,
    refuses_at: Vec<f64>,
    pub(super) observed: Observed,
    pub(super) run_updates: Vec<Value>,
    pub(super) created_step_runs: Vec<Value>,
    pub(super) step_run_updates: Vec<Value>,
    pub(super) run_metadata: Map<String, Value>,
    pub(super) step_metadata: Vec<Value>,
    pub(super) cached: Vec<String>,
    pub(super) look_ups: Vec<f64>,
    pub(super) published_at: Vec<f64>,
}

/// What it knows of a step.
#[derive(Debug, Default, Clone)]
struct Step {
    /// After how many polls of the sandbox the record has which status.
    by_polls: Vec<(u64, ExecutionStatus)>,
    /// When the record appears, in seconds.
    appears_at: Option<f64>,
    created: Option<ExecutionStatus>,
    cache: String,
    populate: Option<Fault>,
}

impl FakeServer {
    /// A server on which the run has a status; running when none is given.
    pub(super) fn new(clock: &Clock, run_status: &Value, fail: &Value) -> Self {
        let status = run_status.as_str().and_then(ExecutionStatus::from_name);
        Self {
            clock: clock.clone(),
            state: Rc::new(RefCell::new(State {
                run_status: status.unwrap_or(ExecutionStatus::Running),
                second_look: None,
                looks: 0,
                fail: fail.clone(),
                steps: HashMap::new(),
                events: Vec::new(),
                polls: HashMap::new(),
                refuses_at: Vec::new(),
                observed: Observed::default(),
                run_updates: Vec::new(),
                created_step_runs: Vec::new(),
                step_run_updates: Vec::new(),
                run_metadata: Map::new(),
                step_metadata: Vec::new(),
                cached: Vec::new(),
                look_ups: Vec::new(),
                published_at: Vec::new(),
            })),
        }
    }

    /// The record of a step appears at a time, or never.
    pub(super) fn appears(&self, step: &str, at: Option<f64>) {
        let mut state = self.state.borrow_mut();
        state.steps.entry(step.to_owned()).or_default().appears_at = at;
    }

    /// Publishing fails at these times.
    pub(super) fn refuses_at(&self, times: &Value) {
        let times = times.as_array().into_iter().flatten();
        self.state.borrow_mut().refuses_at = times.filter_map(Value::as_f64).collect();
    }

    /// Steps have records that stand still.
    pub(super) fn has_step_runs(&self, step_runs: &Value) {
        let mut state = self.state.borrow_mut();
        for (name, status) in step_runs.as_object().into_iter().flatten() {
            let status = status.as_str().and_then(ExecutionStatus::from_name);
            state.steps.entry(name.clone()).or_default().created = status;
        }
    }

    /// The run has another status at the second look at its end.
    pub(super) fn says_at_second_look(&self, status: &Value) {
        let status = status.as_str().and_then(ExecutionStatus::from_name);
        self.state.borrow_mut().second_look = status;
    }

    /// A step of a script.
    pub(super) fn knows(&self, name: &str, script: &Value) {
        let by_polls = script["step_run"].as_array().into_iter().flatten();
        let by_polls = by_polls.filter_map(|entry| {
            let status = ExecutionStatus::from_name(entry[1].as_str()?)?;
            Some((entry[0].as_u64()?, status))
        });
        let cache = script["cache"].as_str().unwrap_or("off").to_owned();
        let populate = match cache.as_str() {
            "populate_raises" => Some(Fault::new("RuntimeError", "inputs not found")),
            _ => Fault::from_script(&script["populate"]),
        };
        let step = Step {
            by_polls: by_polls.collect(),
            cache,
            populate,
            ..Step::default()
        };
        self.state.borrow_mut().steps.insert(name.to_owned(), step);
    }

    /// When the status of the run changes by itself.
    pub(super) fn follows(&self, events: &Value) {
        let events = events.as_array().into_iter().flatten();
        let events = events.filter_map(|event| {
            let status = ExecutionStatus::from_name(event["status"].as_str()?)?;
            Some((event["when"].clone(), status))
        });
        self.state.borrow_mut().events = events.collect();
    }

    /// The sandbox of a step was asked about once more.
    pub(super) fn polled(&self, step: &str) {
        let mut state = self.state.borrow_mut();
        *state.polls.entry(step.to_owned()).or_default() += 1;
        let State { events, polls, .. } = &mut *state;
        let mut reached = None;
        events.retain(|(when, status)| {
            let conditions = when["polls"].as_object().into_iter().flatten();
            let holds = |(step, times): (&String, &Value)| {
                polls.get(step).copied().unwrap_or_default() >= times.as_u64().unwrap_or(u64::MAX)
            };
            let is_reached = conditions.into_iter().all(holds);
            if is_reached {
                reached = Some(*status);
            }
            !is_reached
        });
        if let Some(status) = reached {
            state.run_status = status;
        }
    }

    /// Fails when the script says so for a call about a step.
    fn check(&self, call: &str, step: &str) -> Result<(), Fault> {
        let state = self.state.borrow();
        let Some(script) = state.fail.get(call) else {
            return Ok(());
        };
        let only = script.get("only").and_then(Value::as_array);
        if only.is_some_and(|only| !only.iter().any(|name| name == step)) {
            return Ok(());
        }
        Fault::from_script(script).map_or(Ok(()), Err)
    }

    fn seconds(&self) -> f64 {
        self.clock.now().as_secs_f64()
    }
}

/// A record about to be made.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    step: String,
    status: ExecutionStatus,
}

impl Server for FakeServer {
    type Error = Fault;
    type Draft = Draft;

    async fn status_in_passing(&self) -> Result<ExecutionStatus, Fault> {
        self.check("interrupt_check", "")?;
        Ok(self.state.borrow().run_status)
    }

    async fn status(&self) -> Result<ExecutionStatus, Fault> {
        let look = {
            let mut state = self.state.borrow_mut();
            state.looks += 1;
            state.looks
        };
        self.check(&format!("final_get_run_{look}"), "")?;
        let state = self.state.borrow();
        Ok(match (look, state.second_look) {
            (2.., Some(status)) => status,
            _ => state.run_status,
        })
    }

    async fn set_status(&self, status: ExecutionStatus) -> Result<(), Fault> {
        self.check("update_run", "")?;
        let mut state = self.state.borrow_mut();
        state.run_updates.push(json!({"status": status.name()}));
        state.run_status = status;
        Ok(())
    }

    async fn step_run(&self, step: &str) -> Result<Option<StepRun>, Fault> {
        let now = self.seconds();
        self.state.borrow_mut().look_ups.push(now);
        self.check("list_run_steps", step)?;
        let state = self.state.borrow();
        let Some(known) = state.steps.get(step) else {
            return Ok(None);
        };
        let polls = state.polls.get(step).copied().unwrap_or_default();
        let by_polls = known.by_polls.iter().rev();
        let scripted = by_polls.into_iter().find(|(after, _)| *after <= polls);
        let appeared = known.appears_at.filter(|at| *at <= now);
        let status = known
            .created
            .or(scripted.map(|(_, status)| *status))
            .or(appeared.map(|_| ExecutionStatus::Running));
        Ok(status.map(|status| StepRun {
            id: step.to_owned(),
            step: step.to_owned(),
            status,
        }))
    }

    async fn fail_step_run(&self, id: &str) -> Result<(), Fault> {
        self.check("update_run_step", id)?;
        let mut state = self.state.borrow_mut();
        state.step_run_updates.push(json!([id, "failed"]));
        Ok(())
    }

    fn may_cache(&self, step: &str) -> bool {
        let state = self.state.borrow();
        state
            .steps
            .get(step)
            .is_some_and(|step| !matches!(step.cache.as_str(), "" | "off"))
    }

    async fn draft(&self, step: &str) -> Result<Draft, Fault> {
        let state = self.state.borrow();
        let known = state.steps.get(step);
        if let Some(fault) = known.and_then(|step| step.populate.clone()) {
            return Err(fault);
        }
        let status = match known.map(|step| step.cache.as_str()) {
            Some("hit" | "publish_raises") => ExecutionStatus::Cached,
            Some("skipped") => ExecutionStatus::Skipped,
            _ => ExecutionStatus::Running,
        };
        Ok(Draft {
            step: step.to_owned(),
            status,
        })
    }

    fn drafted_status(&self, draft: &Draft) -> ExecutionStatus {
        draft.status
    }

    async fn create_step_run(&self, draft: Draft, status: ExecutionStatus) -> Result<(), Fault> {
        self.check("create_run_step", &draft.step)?;
        let mut state = self.state.borrow_mut();
        let entry = json!([draft.step, status.name()]);
        state.created_step_runs.push(entry);
        if status == ExecutionStatus::Cached {
            state.cached.push(draft.step.clone());
        }
        state.steps.entry(draft.step).or_default().created = Some(status);
        Ok(())
    }

    async fn publish_on_run(&self, values: &Map<String, Value>) -> Result<(), Fault> {
        for key in values.keys() {
            let step = key.strip_prefix(crate::names::metadata::STEP_SANDBOX_PREFIX);
            self.check("run_metadata", step.unwrap_or_default())?;
        }
        let mut state = self.state.borrow_mut();
        state.run_metadata.extend(values.clone());
        Ok(())
    }

    async fn publish_on_step(
        &self,
        step_run: &StepRun,
        values: &Map<String, Value>,
    ) -> Result<(), Fault> {
        self.check("step_metadata", &step_run.step)?;
        let now = self.seconds();
        let mut state = self.state.borrow_mut();
        if state.refuses_at.contains(&now) {
            return Err(Fault::new("RuntimeError", "no"));
        }
        state.published_at.push(now);
        state.step_metadata.push(json!([step_run.step, values]));
        Ok(())
    }

    fn is_refusal(&self, error: &Fault) -> bool {
        matches!(
            error.kind.as_str(),
            "AuthorizationException" | "CredentialsNotValid"
        )
    }

    async fn pause(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }

    fn warn(&self, message: &str) {
        self.state.borrow().observed.warned(message);
    }
}
