//! Export `step-operator`.

use super::bindings::exports::zenml::flavor::step_operator::{
    Context, DockerBuild, Guest, Submission,
};
use super::bindings::zenml::flavor::types::{Error, StepStatus};
use super::submission::{HandedBack, client, login, metadata, resources, settings};
use super::{Plugin, invalid};
use crate::catalog::Kind;
use crate::config::FieldFault;
use crate::config::document::object;
use crate::status::ExecutionStatus;
use crate::status::fetch::sandbox_status;
use crate::status::stop;
use crate::status::wait::{StepRecords, WaitError, operator_sandbox, wait_for_operator_step};
use crate::submission::Placement;
use crate::submission::service::ModalService;
use crate::submission::step::{
    OperatorStep, StepOperatorChoice, StepSubmission, docker_builds, submit_operator_step,
};
use serde_json::{Map, Value};
use std::convert::Infallible;

impl Guest for Plugin {
    async fn submit(context: Context, submission: Submission) -> Result<String, Error> {
        let settings = settings(Kind::StepOperator, &context.config, &submission.settings)?;
        let placement = Placement::from(&settings);
        let service = ModalService::new(client(&context.service)?, None, Vec::new())
            .knowing(placement.gpu.is_some());
        let common = StepSubmission {
            placement,
            resources: resources(submission.resources),
            registry: Some(login(context.registry.as_ref(), &submission.image)),
            environment: submission.environment,
        };
        let step = OperatorStep {
            step_run: submission.run_id,
            step: submission.step,
            command: submission.command,
            image: submission.image,
        };
        let metadata = submit_operator_step(&service, &HandedBack, step, common).await?;
        Ok(Value::Object(metadata).to_string())
    }

    async fn status(context: Context, metadata: String) -> Result<StepStatus, Error> {
        let client = client(&context.service)?;
        let status = sandbox_status(&client, &sandbox(&metadata)?).await?;
        Ok(status.into())
    }

    async fn wait(context: Context, metadata: String) -> Result<StepStatus, Error> {
        let client = client(&context.service)?;
        let sandbox = sandbox(&metadata)?;
        match wait_for_operator_step(&client, &NothingElse, &sandbox, &sandbox).await {
            Ok(status) => Ok(status.into()),
            Err(WaitError::Sandbox(error)) => Err(error.into()),
            Err(WaitError::Records(never)) => match never {},
        }
    }

    async fn cancel(context: Context, metadata: String) -> Result<(), Error> {
        let client = client(&context.service)?;
        Ok(stop::cancel(&client, &sandbox(&metadata)?).await?)
    }

    async fn docker_builds(snapshot: String) -> Result<Vec<DockerBuild>, Error> {
        let snapshot = object(&snapshot).map_err(invalid)?;
        let empty = Map::new();
        let steps = snapshot
            .get("step_configurations")
            .and_then(Value::as_object);
        let steps = steps.unwrap_or(&empty);
        let config = |step: &str| steps.get(step).map(|step| &step["config"]);
        let choices = steps.keys().map(|name| {
            let choice = config(name).map_or(StepOperatorChoice::None, choice);
            (name.as_str(), choice)
        });
        let builds = docker_builds(operator(&snapshot).unwrap_or_default(), choices);
        let build = |build: crate::submission::step::DockerBuild| {
            let settings =
                config(&build.step).and_then(|config| config.pointer("/settings/docker"));
            let settings = settings.filter(|settings| settings.is_object());
            DockerBuild {
                key: build.key.to_owned(),
                settings: settings.map_or_else(|| "{}".to_owned(), ToString::to_string),
                step: build.step,
            }
        };
        Ok(builds.into_iter().map(build).collect())
    }
}

/// What a step says about the operator it wants.
fn choice(config: &Value) -> StepOperatorChoice {
    match &config["step_operator"] {
        Value::Bool(true) => StepOperatorChoice::OfStack,
        Value::String(name) => StepOperatorChoice::Named(name.clone()),
        _ => StepOperatorChoice::None,
    }
}

/// The name of the step operator in the stack of a compiled pipeline.
fn operator(snapshot: &Map<String, Value>) -> Option<&str> {
    let name = snapshot
        .get("stack")?
        .pointer("/components/step_operator/0/name");
    name?.as_str()
}

/// The sandbox that `submit` noted.
fn sandbox(document: &str) -> Result<String, Error> {
    operator_sandbox(&metadata(document)?).map_err(|none| {
        let place = ["metadata", crate::names::metadata::SANDBOX];
        invalid(vec![FieldFault::new(place, "missing", none)])
    })
}

/// Nobody but the sandbox is there to say how a step stands.
struct NothingElse;

impl StepRecords for NothingElse {
    type Error = Infallible;

    async fn status(&self) -> Result<ExecutionStatus, Infallible> {
        Ok(ExecutionStatus::Running)
    }
}
