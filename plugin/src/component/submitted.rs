//! Runs and isolated steps that were submitted: the part of the export
//! `orchestrator` that is not about running a pipeline.

use super::bindings::exports::zenml::flavor::orchestrator as wit;
use super::bindings::exports::zenml::flavor::orchestrator::Context;
use super::bindings::zenml::flavor::credentials::forwardable;
use super::bindings::zenml::flavor::types::{
    Error, RunStatus, ServiceError as WitServiceError, StepStatus, StopMode as WitStopMode,
};
use super::invalid;
use super::submission::{HandedBack, UNKNOWN, client, login, metadata, resources, settings};
use crate::catalog::Kind;
use crate::config::FieldFault;
use crate::config::reference::component_name;
use crate::credentials::TokenPair;
use crate::dag::machine::StopMode;
use crate::names::{self, tag};
use crate::status::fetch::{isolated_status, run_statuses};
use crate::status::stop::{stop_isolated_step, stop_sandboxes};
use crate::status::{ExecutionStatus, Records, RunRecord, StepRecord};
use crate::submission::Placement;
use crate::submission::controller::{ControllerStart, start_controller};
use crate::submission::service::ModalService;
use crate::submission::step::{IsolatedStep, StepSubmission, Surroundings, submit_isolated_step};
use crate::validator::{Checked, StackComponent, validate_stack};
use serde_json::{Map, Value};
use std::convert::Infallible;

pub(super) async fn submit(
    context: Context,
    submission: wit::Submission,
) -> Result<wit::Submitted, Error> {
    if submission.command.is_empty() {
        let message = "a submission needs a command";
        return Err(invalid(vec![FieldFault::new(
            ["command"],
            "empty",
            message,
        )]));
    }
    let settings = settings(Kind::Orchestrator, &context.config, &submission.settings)?;
    let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut tags = vec![tag(tag::RUN, &submission.run_id)];
    tags.extend(submission.step.as_deref().map(|step| tag(tag::STEP, step)));
    let has_gpu = settings.text("gpu").is_some();
    let service = ModalService::new(client(&context.service)?, None, tags).knowing(has_gpu);
    let login = login(context.registry.as_ref(), &submission.image);
    let metadata = match submission.step {
        None => {
            let start = ControllerStart {
                credentials: credentials(&submission.environment)?,
                run_id: submission.run_id,
                command: submission.command,
                image: submission.image,
                placement: Placement::from(&settings),
                resources: resources(submission.resources),
                registry: Some(login),
                environment: submission.environment,
            };
            start_controller::<_, Infallible>(&service, start).await?.1
        }
        Some(step) => {
            let isolated = IsolatedStep {
                snapshot: String::new(),
                step,
                step_run: String::new(),
                run: submission.run_id,
                command: Some(submission.command),
                image: submission.image,
            };
            let common = StepSubmission {
                placement: Placement::from(&settings),
                resources: resources(submission.resources),
                registry: Some(login),
                environment: submission.environment,
            };
            let nowhere = Surroundings::default();
            submit_isolated_step(&service, &HandedBack, &nowhere, isolated, common).await?
        }
    };
    Ok(wit::Submitted {
        sandbox: noted(&metadata).unwrap_or_default(),
        metadata: Value::Object(metadata).to_string(),
    })
}

/// The sandbox in what is published about a run or a step.
fn noted(metadata: &Map<String, Value>) -> Option<String> {
    let keys = [
        names::metadata::ORCHESTRATION_SANDBOX,
        names::metadata::SANDBOX,
    ];
    keys.into_iter()
        .find_map(|key| crate::metadata::name(metadata, key))
}

/// The account for a controller, which creates sandboxes itself: its own, when
/// its variables hold one, else the user's, when the host hands it on.
fn credentials(environment: &[(String, String)]) -> Result<Option<TokenPair>, Error> {
    let variable = |wanted: &str| {
        let found = environment.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str())
    };
    let own = TokenPair::configured(variable("MODAL_TOKEN_ID"), variable("MODAL_TOKEN_SECRET"));
    match own {
        Ok(None) => {}
        Ok(pair) => return Ok(pair),
        Err(half) => {
            return Err(invalid(vec![FieldFault::new(
                ["environment"],
                "half",
                half,
            )]));
        }
    }
    let pair = forwardable().map_err(Error::Refused)?;
    Ok(TokenPair::configured(Some(&pair.id), Some(&pair.secret)).unwrap_or_default())
}

pub(super) async fn fetch_status(
    context: Context,
    run: wit::RunRecord,
    include_steps: bool,
) -> Result<(RunStatus, Vec<(String, StepStatus)>), Error> {
    let client = client(&context.service)?;
    let known = run.status;
    let run = record(run)?;
    let statuses = run_statuses(&client, &HandedIn(&run), &run, include_steps).await;
    let steps = statuses.steps.unwrap_or_default().into_iter();
    Ok((
        statuses.run.map_or(known, run_status),
        steps.map(|(name, status)| (name, status.into())).collect(),
    ))
}

pub(super) async fn stop(
    context: Context,
    run: wit::RunRecord,
    mode: WitStopMode,
) -> Result<(), Error> {
    let client = client(&context.service)?;
    let run = record(run)?;
    let mode = match mode {
        WitStopMode::Graceful => StopMode::Graceful,
        WitStopMode::Force => StopMode::Force,
    };
    stop_sandboxes(&client, &HandedIn(&run), &run, mode)
        .await
        .map_err(|errors| {
            Error::Service(WitServiceError {
                operation: "SandboxTerminate".to_owned(),
                code: UNKNOWN,
                message: format!("Failed to stop all Modal sandboxes: {}", errors.join("; ")),
            })
        })
}

pub(super) async fn step_status_of(
    context: Context,
    document: String,
) -> Result<StepStatus, Error> {
    let client = client(&context.service)?;
    let (id, step) = isolated(&document)?;
    Ok(isolated_status(&client, &id, &step).await?.into())
}

pub(super) async fn stop_step(context: Context, document: String) -> Result<(), Error> {
    let client = client(&context.service)?;
    let (id, step) = isolated(&document)?;
    Ok(stop_isolated_step(&client, &id, &step).await?)
}

/// An isolated step and its sandbox, from what `submit` gave.
fn isolated(document: &str) -> Result<(String, StepRecord), Error> {
    let metadata = metadata(document)?;
    let key = names::metadata::SANDBOX;
    let Some(id) = crate::metadata::name(&metadata, key) else {
        let message = "names no sandbox; pass on what `submit` gave";
        return Err(invalid(vec![FieldFault::new(
            ["metadata", key],
            "missing",
            message,
        )]));
    };
    let step = StepRecord {
        name: id.clone(),
        status: ExecutionStatus::Running,
        metadata,
    };
    Ok((id, step))
}

pub(super) fn check_stack(components: Vec<wit::StackComponent>) -> Result<(), Error> {
    let mut known = Vec::with_capacity(components.len());
    for component in components {
        component_name(&component.name).map_err(|refusal| {
            let place = [component.name.as_str(), "name"];
            invalid(vec![FieldFault::new(place, "value_error", refusal)])
        })?;
        let config: Value = serde_json::from_str(&component.config).map_err(|error| {
            let place = [component.name.as_str(), "config"];
            invalid(vec![FieldFault::new(place, "json_invalid", error)])
        })?;
        known.push(StackComponent::configured(
            component.name,
            component.kind,
            component.is_local,
            component.local_path,
            &config,
        ));
    }
    validate_stack(Checked::Orchestrator, &known)
        .map_err(|fault| invalid(vec![FieldFault::new([], "stack", fault)]))
}

/// A run as the host hands it in: nothing newer is known.
struct HandedIn<'a>(&'a RunRecord);

impl Records for HandedIn<'_> {
    type Error = Infallible;

    async fn run(&self) -> Result<RunRecord, Infallible> {
        Ok(self.0.clone())
    }

    async fn mark_stopping(&self, _: &str) -> Result<(), Infallible> {
        Ok(())
    }
}

fn record(run: wit::RunRecord) -> Result<RunRecord, Error> {
    let step = |(name, status, document): (String, StepStatus, String)| {
        Ok(StepRecord {
            name,
            status: status.into(),
            metadata: metadata(&document)?,
        })
    };
    Ok(RunRecord {
        status: match run.status {
            RunStatus::Running => ExecutionStatus::Running,
            RunStatus::Stopping => ExecutionStatus::Stopping,
            RunStatus::Completed => ExecutionStatus::Completed,
            RunStatus::Failed => ExecutionStatus::Failed,
            RunStatus::Stopped => ExecutionStatus::Stopped,
        },
        metadata: metadata(&run.metadata)?,
        steps: Some(
            run.steps
                .into_iter()
                .map(step)
                .collect::<Result<_, Error>>()?,
        ),
        // A graceful stop is its controller's affair only when there is one for
        // certain, and the record does not say.
        shape: None,
        orchestrator_run_id: Some(run.run_id.clone()),
        id: run.run_id,
    })
}

fn run_status(status: ExecutionStatus) -> RunStatus {
    match status {
        ExecutionStatus::Completed => RunStatus::Completed,
        ExecutionStatus::Failed => RunStatus::Failed,
        _ => RunStatus::Running,
    }
}
