//! Cases about the status of runs and steps, and stopping them.

use super::Input;
use super::encode::{error, ok};
use super::fakes::{
    FakeRecords, FakeSandboxes, Fault, Form, Observed, Script, ScriptedSandbox, exit_code, hang,
    outcome, put, run_record, step_record,
};
use crate::dag::machine::StopMode;
use crate::status::fetch::{isolated_status, run_statuses, sandbox_status};
use crate::status::stop::{StopError, cancel, stop_isolated_step, stop_run, stop_sandboxes};
use crate::status::wait::{
    NoSandbox, StepRecords, WaitError, operator_sandbox, wait_for_isolated_step,
    wait_for_operator_step, wait_for_sandbox,
};
use crate::status::{ExecutionStatus, RunRecord, StepRecord};
use serde_json::{Value, json};
use std::cell::Cell;
use std::time::Duration;

pub(super) fn run(operation: &str, input: &Input<'_>) -> Option<Value> {
    match operation {
        "status_from_return_code" => Some(of_return_code(input)),
        "execution_status" => predicates(input),
        "wait_for_sandbox" => Some(waiting_for_sandbox(input)),
        "fetch_status" => fetching(input),
        "get_isolated_step_status" => isolated(input, Isolated::Status),
        "stop_isolated_step" => isolated(input, Isolated::Stop),
        "step_operator_get_status" => operated(input, Operated::Status),
        "step_operator_cancel" => operated(input, Operated::Cancel),
        "wait_for_step" => waiting_for_step(input),
        "stop_run" => stopping(input, Stopping::Run),
        "stop_sandboxes" => stopping(input, Stopping::Sandboxes),
        _ => None,
    }
}

fn of_return_code(input: &Input<'_>) -> Value {
    let code = exit_code(input.field("code"));
    ok(ExecutionStatus::of_exit_code(code).name())
}

fn predicates(input: &Input<'_>) -> Option<Value> {
    let status = ExecutionStatus::from_name(input.text("status")?)?;
    Some(ok(json!({
        "finished": status.is_finished(),
        "successful": status.is_successful(),
        "failed": status.is_failed(),
    })))
}

fn waiting_for_sandbox(input: &Input<'_>) -> Value {
    let sandboxes = FakeSandboxes::new(Form::Pair, &Value::Null);
    let sandbox = ScriptedSandbox {
        id: "sb".to_owned(),
        polls: Script::new(input.field("polls"), Value::Null),
        fail: Value::Null,
    };
    let waited = sandboxes.clock.run(wait_for_sandbox(&sandboxes, &sandbox));
    let Ok(result) = waited else {
        return hang();
    };
    let pauses = sandboxes.observed.pauses.borrow();
    let pauses: Vec<f64> = pauses.iter().map(Duration::as_secs_f64).collect();
    let polls = sandbox.polls.given();
    outcome(result.map(|code| json!({"code": code, "sleeps": pauses, "polls": polls})))
}

fn fetching(input: &Input<'_>) -> Option<Value> {
    let sandboxes = FakeSandboxes::new(Form::Pair, input.field("sandboxes"));
    let run = run_of(input)?;
    let records = records(input, &run, &sandboxes.observed)?;
    let include_steps = input.field("include_steps") == true;
    let statuses = sandboxes
        .clock
        .run(run_statuses(&sandboxes, &records, &run, include_steps));
    let Ok(statuses) = statuses else {
        return Some(hang());
    };
    let steps = statuses.steps.map(|steps| {
        let steps = steps.into_iter();
        Value::Object(
            steps
                .map(|(name, status)| (name, status.name().into()))
                .collect(),
        )
    });
    let result = json!({
        "pipeline": statuses.run.map(ExecutionStatus::name),
        "steps": steps,
    });
    Some(sandboxes.observed.with_calls(ok(result)))
}

/// Where nothing says otherwise, runs have this id.
const RUN: &str = "a0000000-0000-4000-8000-000000000010";

fn run_of(input: &Input<'_>) -> Option<RunRecord> {
    run_record(input.text("run_id").unwrap_or(RUN), input.field("run"))
}

fn records(input: &Input<'_>, run: &RunRecord, observed: &Observed) -> Option<FakeRecords> {
    let fresh = |look: &Value| run_record(&run.id, look);
    let looks = match input.given("fresh") {
        None | Some(Value::Null) => vec![run.clone()],
        Some(Value::Array(looks)) => looks.iter().map(fresh).collect::<Option<_>>()?,
        Some(look) => vec![fresh(look)?],
    };
    Some(FakeRecords {
        observed: observed.clone(),
        looks,
        given: Cell::new(0),
        fail: input.field("client_fail").clone(),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Isolated {
    Status,
    Stop,
}

fn isolated(input: &Input<'_>, what: Isolated) -> Option<Value> {
    let sandboxes = FakeSandboxes::new(Form::Pair, input.field("sandboxes"));
    let step = step_record("s", input.field("step"))?;
    let step_run = input.text("step_id")?;
    let result = sandboxes.clock.run(async {
        match what {
            Isolated::Status => isolated_status(&sandboxes, step_run, &step)
                .await
                .map(|status| status.name().into()),
            Isolated::Stop => stop_isolated_step(&sandboxes, step_run, &step)
                .await
                .map(|()| Value::Null),
        }
    });
    let answer = result.map_or_else(|_| hang(), outcome);
    Some(sandboxes.observed.with_calls(answer))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operated {
    Status,
    Cancel,
}

fn operated(input: &Input<'_>, what: Operated) -> Option<Value> {
    let sandboxes = FakeSandboxes::new(Form::Pair, input.field("sandboxes"));
    let step = step_record("s", input.field("step"))?;
    let answer = match operator_sandbox(&step.metadata) {
        // Python's error for a key that is not there, its argument the key.
        Err(NoSandbox) => error("KeyError", crate::names::metadata::SANDBOX),
        Ok(id) => {
            let result = sandboxes.clock.run(async {
                match what {
                    Operated::Status => sandbox_status(&sandboxes, &id)
                        .await
                        .map(|status| status.name().into()),
                    Operated::Cancel => cancel(&sandboxes, &id).await.map(|()| Value::Null),
                }
            });
            result.map_or_else(|_| hang(), outcome)
        }
    };
    Some(sandboxes.observed.with_calls(answer))
}

/// A server that always says the same about a step.
struct ServerSays(ExecutionStatus);

impl StepRecords for ServerSays {
    type Error = Fault;

    async fn status(&self) -> Result<ExecutionStatus, Fault> {
        Ok(self.0)
    }
}

fn waiting_for_step(input: &Input<'_>) -> Option<Value> {
    let sandbox = json!({"sb": {"polls": input.field("polls")}});
    let sandboxes = FakeSandboxes::new(Form::Pair, &sandbox);
    let records = ServerSays(ExecutionStatus::from_name(input.text("server_status")?)?);
    let step_run = input.text("step_id")?;
    let result = match input.text("component")? {
        "orchestrator" => {
            let step: StepRecord = step_record("s", &json!({"metadata": {"sandbox_id": "sb"}}))?;
            let wait = wait_for_isolated_step(&sandboxes, &records, step_run, &step);
            sandboxes.clock.run(wait)
        }
        "step_operator" => {
            let wait = wait_for_operator_step(&sandboxes, &records, step_run, "sb");
            sandboxes.clock.run(wait)
        }
        _ => return None,
    };
    let Ok(result) = result else {
        return Some(hang());
    };
    let pauses = sandboxes.observed.pauses.borrow();
    let pauses: Vec<u64> = pauses.iter().map(Duration::as_secs).collect();
    let result = result
        .map(|status| json!({"status": status.name(), "sleeps": pauses}))
        .map_err(|error| match error {
            WaitError::Sandbox(fault) | WaitError::Records(fault) => fault,
        });
    Some(sandboxes.observed.with_warnings(outcome(result)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopping {
    Run,
    Sandboxes,
}

fn stopping(input: &Input<'_>, what: Stopping) -> Option<Value> {
    let sandboxes = FakeSandboxes::new(Form::Pair, input.field("sandboxes"));
    let run = run_of(input)?;
    let records = records(input, &run, &sandboxes.observed)?;
    let mode = match input.field("graceful").as_bool()? {
        true => StopMode::Graceful,
        false => StopMode::Force,
    };
    let result = sandboxes.clock.run(async {
        match what {
            Stopping::Run => stop_run(&sandboxes, &records, &run, mode).await,
            Stopping::Sandboxes => stop_sandboxes(&sandboxes, &records, &run, mode)
                .await
                .map_err(StopError::Sandboxes),
        }
    });
    let Ok(result) = result else {
        return Some(hang());
    };
    let answer = match result {
        Ok(()) => ok(Value::Null),
        Err(StopError::Records(fault)) => fault.encoded(),
        Err(stop @ StopError::NotSubmitted) => error("IllegalOperationError", stop),
        Err(stop @ StopError::Sandboxes(_)) => error("RuntimeError", stop),
    };
    let observed = &sandboxes.observed;
    observed.warnings.borrow_mut().sort();
    let calls = by_child(&observed.calls.borrow(), &run, &records);
    Some(put(observed.with_warnings(answer), "calls", calls))
}

/// Puts calls on child sandboxes that follow each other into one entry, by child:
/// their order among themselves is free.
fn by_child(calls: &[Value], run: &RunRecord, records: &FakeRecords) -> Value {
    let looks = records.looks.iter().chain([run]);
    let controllers: Vec<String> = looks.filter_map(RunRecord::controller).collect();
    let is_child =
        |id: &Value| id.is_string() && controllers.iter().all(|controller| id != controller);
    let mut entries: Vec<Value> = Vec::new();
    for call in calls {
        let id = &call[1];
        if !is_child(id) {
            entries.push(call.clone());
            continue;
        }
        if entries
            .last()
            .is_none_or(|last| last.get("children").is_none())
        {
            entries.push(json!({"children": {}}));
        }
        if let (Some(last), Some(id)) = (entries.last_mut(), id.as_str())
            && let Some(Value::Object(children)) = last.get_mut("children")
            && let Value::Array(own) = children.entry(id).or_insert(json!([]))
        {
            own.push(call[0].clone());
        }
    }
    entries.into()
}
