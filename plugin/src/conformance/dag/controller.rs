//! Cases about the whole controller of a static pipeline.

use super::super::Input;
use super::super::clock::Clock;
use super::super::encode::{object, observed};
use super::super::fakes::{hang, put};
use super::super::submission::{settings_of, variables};
use super::modal::FakeModal;
use super::server::FakeServer;
use super::{control_error, node_status, not_a_graph, sorted};
use crate::catalog::Kind;
use crate::config::FieldFault;
use crate::dag::machine::{ExecutionMode, FinalStatus, RunEnd, Standing};
use crate::entrypoint::Entrypoint;
use crate::environment::merged;
use crate::modal::channel::Endpoint;
use crate::modal::{Client, ClientOptions};
use crate::names::{APP_NAME_VARIABLE, RUN_ID_VARIABLE, app_name};
use crate::run::controller::Driven;
use crate::run::events::{Event, EventQueue, EventSink};
use crate::run::plan::{Pipeline, Plan, Step};
use crate::run::zenml::control;
use crate::validator::execution_mode;
use futures::FutureExt as _;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The orchestrator's id of the run.
const RUN: &str = "r-1";

pub(super) fn run(input: &Input<'_>) -> Option<Value> {
    let clock = Clock::default();
    let scripts = input.field("steps").as_array()?;
    let run = input.field("run");
    let server = FakeServer::new(&clock, &run["status"], input.field("server_fail"));
    server.follows(&run["events"]);
    for script in scripts {
        server.knows(script["name"].as_str()?, script);
    }
    let modal = FakeModal::new(&clock, &server, scripts);
    let mode = execution_mode(
        input
            .text("execution_mode")
            .unwrap_or("continue_on_failure"),
    )
    .ok()?;
    let (sink, mut queue) = EventSink::new(false);
    let mut driven = None;
    let plan = match pipeline(input, scripts) {
        Ok(pipeline) => Plan::new(pipeline, None),
        Err(answer) => return Some(answer),
    };
    let result = match plan {
        Ok(plan) => {
            let endpoint = Endpoint::parse("https://api.example.com").ok()?;
            let client = Client::new(modal.clone(), endpoint, ClientOptions::default());
            let control = control(plan, client, server.clone(), mode, sink, &mut driven);
            match clock.run(control) {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(control_error(error)),
                Err(_) => Err(hang()),
            }
        }
        Err(faults) if is_empty(&faults) => empty_pipeline(&clock, &server, &mut driven),
        Err(faults) => Err(not_a_graph(faults.into_iter().map(|fault| fault.message))),
    };
    let is_stopped_midway = driven
        .as_ref()
        .is_none_or(|driven| !driven.surviving.is_empty());
    let statuses = match &driven {
        Some(driven) if !is_stopped_midway => statuses(driven),
        _ => Value::Null,
    };
    let state = state(&server, &modal, statuses);
    let answer = match result {
        Ok(()) => object([("ok", state)]),
        Err(answer) if answer.get("hang").is_some() => object([("hang", state)]),
        Err(answer) => put(answer, "state", state),
    };
    let answer = observed(
        answer,
        "warnings",
        warnings(&server, &mut queue, driven.as_ref()),
    );
    Some(match input.field("show_kwargs") == true {
        true => {
            let environments = modal.seen.borrow().environments.clone();
            put(answer, "environments", environments.into())
        }
        false => answer,
    })
}

/// A pipeline without steps is no run here; to the server it is one that is
/// over.
fn is_empty(faults: &[FieldFault]) -> bool {
    faults
        .iter()
        .all(|fault| fault.kind == "empty" && fault.path == ["steps"])
}

fn empty_pipeline(
    clock: &Clock,
    server: &FakeServer,
    driven: &mut Option<Driven>,
) -> Result<(), Value> {
    let nothing = driven.insert(Driven {
        steps: Vec::new(),
        surviving: Vec::new(),
    });
    let finalized = clock.run(crate::run::zenml::finalize(server, &nothing.steps));
    match finalized {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(control_error(error)),
        Err(_) => Err(hang()),
    }
}

/// The pipeline, or the answer that the settings of a step are not acceptable.
fn pipeline(input: &Input<'_>, scripts: &[Value]) -> Result<Pipeline, Value> {
    let shared = vec![
        ("ZENML_STORE_URL".to_owned(), "u".to_owned()),
        ("ZENML_STORE_API_TOKEN".to_owned(), "t".to_owned()),
        (RUN_ID_VARIABLE.to_owned(), RUN.to_owned()),
        (APP_NAME_VARIABLE.to_owned(), app_name(RUN)),
    ];
    let of_stack = variables(input.field("stack_environment"));
    let step = |script: &Value| {
        let name = script["name"].as_str().unwrap_or_default().to_owned();
        let settings = settings_of(Kind::Orchestrator, input, &script["settings"])?;
        let resources = script
            .pointer("/settings/resources")
            .unwrap_or(&Value::Null);
        let count = resources["gpu_count"].as_u64();
        let after = script["upstream"].as_array().into_iter().flatten();
        let of_step = variables(&script["environment"]);
        let entrypoint = Entrypoint::Step {
            snapshot: "a0000000-0000-4000-8000-000000000020".to_owned(),
            step: name.clone(),
        };
        Ok(Step {
            command: entrypoint.argv(),
            after: after
                .filter_map(|name| name.as_str().map(ToOwned::to_owned))
                .collect(),
            image: "reg/img:1".to_owned(),
            settings: Value::Object(settings.into_values()).to_string(),
            cpu_count: resources["cpu_count"].as_f64(),
            gpu_count: count.and_then(|count| u32::try_from(count).ok()),
            memory: resources["memory"].as_str().map(ToOwned::to_owned),
            environment: merged([shared.clone(), of_stack.clone(), of_step]),
            max_retries: 0,
            delay: 0.0,
            backoff: 1.0,
            name,
        })
    };
    Ok(Pipeline {
        run_id: RUN.to_owned(),
        // What steps mean for the run is the server's to say.
        mode: ExecutionMode::ContinueOnFailure,
        max_parallelism: None,
        steps: scripts.iter().map(step).collect::<Result<_, Value>>()?,
    })
}

fn statuses(driven: &Driven) -> Value {
    let status = |(name, standing): &(String, Standing)| {
        (name.clone(), node_status(*standing, "running").into())
    };
    Value::Object(driven.steps.iter().map(status).collect::<Map<_, _>>())
}

fn state(server: &FakeServer, modal: &FakeModal, statuses: Value) -> Value {
    let server = server.state.borrow();
    let seen = modal.seen.borrow();
    let in_order = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    json!({
        "statuses": statuses,
        "run_updates": server.run_updates,
        "run_status": server.run_status.name(),
        "created_step_runs": server.created_step_runs,
        "step_run_updates": server.step_run_updates,
        "sandboxes": in_order(&seen.created),
        "terminated": in_order(&seen.terminated),
        "run_metadata": server.run_metadata,
        "step_metadata": server.step_metadata,
        "cached": server.cached,
    })
}

/// What the original logs about nodes is told here by events.
fn warnings(server: &FakeServer, queue: &mut EventQueue, driven: Option<&Driven>) -> Vec<String> {
    let mut warnings = server.state.borrow().observed.warnings.borrow().clone();
    let mut started = BTreeSet::new();
    let is_skipped = |name: &str| {
        let steps = driven
            .map(|driven| driven.steps.as_slice())
            .unwrap_or_default();
        let skipped = Standing::Final(FinalStatus::Skipped);
        steps
            .iter()
            .any(|(step, standing)| step == name && *standing == skipped)
    };
    for event in queue.take(usize::MAX).now_or_never().unwrap_or_default() {
        match event {
            Event::StepStarted { step, .. } => {
                started.insert(step);
            }
            Event::StepFinished(finished) => match finished.status {
                FinalStatus::Failed if started.contains(&finished.step) => {
                    warnings.push(format!("Node `{}` failed.", finished.step));
                }
                FinalStatus::Failed => {
                    warnings.push(format!("Node `{}` failed to start.", finished.step));
                }
                FinalStatus::Skipped if is_skipped(&finished.step) => warnings.push(format!(
                    "Skipping node `{}` because upstream node failed.",
                    finished.step
                )),
                _ => {}
            },
            Event::Warning { message, .. } => warnings.push(message),
            Event::RunFinished {
                end: RunEnd::Stopped,
                ..
            } => {
                warnings.push("DAG execution interrupted.".to_owned());
            }
            _ => {}
        }
    }
    sorted(warnings)
}
