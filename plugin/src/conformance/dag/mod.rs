//! Cases about the order of steps and the controller.

mod controller;
mod modal;
mod nodes;
mod server;

use super::Input;
use super::clock::Clock;
use super::encode::{error, ok};
use super::fakes::{FakeSandboxes, Fault, Form, hang, metadata, outcome, put};
use crate::dag::machine::{FinalStatus, Standing, StopMode};
use crate::run::publication::Publication;
use crate::run::store::RunStore as _;
use crate::run::zenml::{
    self, ClaimError, ControlError, Runs, ZenmlStore, check_orchestrator, finalize, interruption,
    missing_sandbox, noted_sandbox,
};
use crate::status::fetch::sandbox_status;
use crate::status::sandboxes::terminate_if_running;
use crate::status::{ExecutionStatus, Sandboxes as _};
use crate::validator::execution_mode;
use serde_json::{Map, Value, json};
use server::FakeServer;
use std::cell::RefCell;
use std::time::Duration;

pub(super) fn run(operation: &str, input: &Input<'_>) -> Option<Value> {
    match operation {
        "dag_runner" | "dag_runner_race" => nodes::run(input),
        "controller" => controller::run(input),
        "interrupt_decision" => {
            let mode = execution_mode(input.text("execution_mode")?).ok()?;
            let status = ExecutionStatus::from_name(input.text("run_status")?)?;
            Some(ok(interruption(mode, status).map(mode_name)))
        }
        "check_step" => Some(check_step(input)),
        "stop_step" => Some(stop_step(input)),
        "metadata_ticks" => metadata_ticks(input),
        "finalize" => finalizing(input),
        "claim_run" => claiming(input),
        "entry_wrong_orchestrator" => Some(match check_orchestrator("local") {
            Ok(()) => ok(Value::Null),
            Err(not_ours) => error("RuntimeError", not_ours),
        }),
        _ => None,
    }
}

fn mode_name(mode: StopMode) -> &'static str {
    match mode {
        StopMode::Graceful => "graceful",
        StopMode::Force => "force",
    }
}

fn check_step(input: &Input<'_>) -> Value {
    let sandboxes = FakeSandboxes::new(Form::Pair, input.field("sandboxes"));
    let Some(id) = noted_sandbox(&metadata(input.field("node_metadata"))) else {
        sandboxes.warn(&missing_sandbox("a"));
        let failed = ExecutionStatus::Failed;
        return sandboxes.observed.with_warnings(ok(failed.name()));
    };
    let status = sandboxes.clock.run(sandbox_status(&sandboxes, &id));
    status.map_or_else(
        |_| hang(),
        |status| outcome(status.map(|status| status.name().into())),
    )
}

fn stop_step(input: &Input<'_>) -> Value {
    let sandboxes = FakeSandboxes::new(Form::Pair, input.field("sandboxes"));
    let Some(id) = noted_sandbox(&metadata(input.field("node_metadata"))) else {
        return ok(Value::Null);
    };
    let stopped = sandboxes.clock.run(terminate_if_running(&sandboxes, &id));
    stopped.map_or_else(|_| hang(), |stopped| outcome(stopped.map(|()| Value::Null)))
}

/// The throttle, looked at when the case says so.
fn metadata_ticks(input: &Input<'_>) -> Option<Value> {
    let clock = Clock::default();
    let start = input.field("start_at").as_f64()?;
    let checks = input.field("check_at").as_array()?;
    let mut times = vec![start];
    times.extend(checks.iter().filter_map(Value::as_f64));
    let server = FakeServer::new(&clock, &Value::Null, &Value::Null);
    server.appears("a", input.field("step_run_appears_at").as_f64());
    server.refuses_at(input.field("publish_fails_at"));
    let store = ZenmlStore::new(server.clone(), execution_mode("fail_fast").ok()?);
    let result = clock.run(async {
        let mut publication = Publication::default();
        for time in times {
            let at = Duration::try_from_secs_f64(time).ok()?;
            clock.sleep(at.saturating_sub(clock.now())).await;
            let values = Map::new();
            let tell = store.tell_step("r-1", "a", &values);
            publication.attempt(clock.now(), tell).await;
        }
        Some(())
    });
    result.ok()??;
    let state = server.state.borrow();
    let answer = ok(json!({"lookups": state.look_ups, "published": state.published_at}));
    Some(state.observed.with_warnings(answer))
}

fn finalizing(input: &Input<'_>) -> Option<Value> {
    let clock = Clock::default();
    let server = FakeServer::new(
        &clock,
        input.field("run_status"),
        input.field("server_fail"),
    );
    server.has_step_runs(input.field("step_runs"));
    server.says_at_second_look(input.field("run_status_second_look"));
    let nodes = input.field("nodes").as_object()?;
    let nodes: Option<Vec<(String, Standing)>> = nodes
        .iter()
        .map(|(name, status)| Some((name.clone(), standing(status.as_str()?)?)))
        .collect();
    let nodes = nodes?;
    let finalized = clock.run(finalize(&server, &nodes));
    let answer = match finalized {
        Err(_) => hang(),
        Ok(Ok(())) => ok(Value::Null),
        Ok(Err(error)) => control_error(error),
    };
    let state = server.state.borrow();
    let answer = state.observed.with_warnings(answer);
    let answer = put(answer, "run_updates", state.run_updates.clone().into());
    let updates = state.step_run_updates.clone();
    Some(put(answer, "step_run_updates", updates.into()))
}

/// An error of a controller, the way the recordings put it.
fn control_error(error: ControlError<Fault>) -> Value {
    match error {
        ControlError::Server(fault) => fault.encoded(),
        error => super::encode::error("RuntimeError", error),
    }
}

/// Understands the status of a node.
fn standing(name: &str) -> Option<Standing> {
    Some(match name {
        "not_ready" => Standing::NotReady,
        "ready" => Standing::Ready,
        "starting" => Standing::Active,
        "running" => Standing::Left,
        "completed" => Standing::Final(FinalStatus::Completed),
        "failed" => Standing::Final(FinalStatus::Failed),
        "skipped" => Standing::Final(FinalStatus::Skipped),
        "cancelled" => Standing::Final(FinalStatus::Cancelled),
        _ => return None,
    })
}

/// The status of a node; `under_way` says what one is that has not ended.
fn node_status(standing: Standing, under_way: &str) -> &str {
    match standing {
        Standing::NotReady => "not_ready",
        Standing::Ready => "ready",
        Standing::Active | Standing::Left => under_way,
        Standing::Final(FinalStatus::Completed | FinalStatus::Cached) => "completed",
        Standing::Final(FinalStatus::Failed) => "failed",
        Standing::Final(FinalStatus::Skipped) => "skipped",
        Standing::Final(FinalStatus::Cancelled) => "cancelled",
    }
}

/// What is found out before anything starts.
fn not_a_graph(faults: impl IntoIterator<Item = String>) -> Value {
    let faults: Vec<String> = faults.into_iter().collect();
    error("ValueError", faults.join("; "))
}

/// Warnings in order, each once.
fn sorted(mut warnings: Vec<String>) -> Vec<String> {
    warnings.sort();
    warnings.dedup();
    warnings
}

/// The runs of a case about a claim.
struct FakeRuns {
    known: Option<String>,
    updates: RefCell<Vec<Value>>,
    created: RefCell<Vec<String>>,
}

impl Runs for FakeRuns {
    type Error = Fault;
    /// The orchestrator's id.
    type Run = Option<String>;

    async fn find(&self, _: &str) -> Result<Option<String>, Fault> {
        Ok(self.known.clone())
    }

    fn orchestrator_run_id(&self, run: &Option<String>) -> Option<String> {
        run.clone()
    }

    async fn set_orchestrator_run_id(&self, _: &str, id: &str) -> Result<Option<String>, Fault> {
        let update = json!({"orchestrator_run_id": id});
        self.updates.borrow_mut().push(update);
        Ok(Some(id.to_owned()))
    }

    async fn create(&self, id: &str) -> Result<Option<String>, Fault> {
        self.created.borrow_mut().push(id.to_owned());
        Ok(Some(id.to_owned()))
    }
}

fn claiming(input: &Input<'_>) -> Option<Value> {
    let runs = FakeRuns {
        known: input
            .text("existing_orchestrator_run_id")
            .map(ToOwned::to_owned),
        updates: RefCell::default(),
        created: RefCell::default(),
    };
    let claim = zenml::claim(&runs, input.text("run_id"), input.text("modal_run_id")?);
    let answer = match Clock::default().run(claim) {
        Err(_) => hang(),
        Ok(Ok(id)) => ok(json!({"orchestrator_run_id": id})),
        Ok(Err(ClaimError::Server(fault))) => fault.encoded(),
        Ok(Err(taken)) => error("RuntimeError", taken),
    };
    let answer = put(answer, "run_updates", runs.updates.into_inner().into());
    let created = runs.created.into_inner();
    Some(put(answer, "placeholders_created", created.into()))
}
