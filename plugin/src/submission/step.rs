//! Submits the sandbox of a single step.

use super::error::SubmitError;
use super::images::{BuiltImages, ORCHESTRATOR_KEY};
use super::sandbox::{Placement, SignIn, StepResources, Wanted, set};
use super::service::Service;
use crate::entrypoint::Entrypoint;
use crate::modal::image::RegistryLogin;
use crate::names::{self, APP_NAME_VARIABLE, RUN_ID_VARIABLE};
use crate::resources::gpu;
use serde_json::{Map, Value};
use std::future::Future;

/// Where a step's metadata is published.
pub trait StepMetadata {
    /// Why it was not.
    type Error;

    /// Publishes what is known about the step's sandbox.
    fn publish(
        &self,
        metadata: &Map<String, Value>,
    ) -> impl Future<Output = Result<(), Self::Error>>;
}

/// What a controller knows from its own environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The orchestrator's id of the run.
    pub run_id: Option<String>,
    /// The Modal app of the run.
    pub app_name: Option<String>,
}

/// What all single steps have in common.
#[derive(Debug, Clone)]
pub struct StepSubmission {
    /// Where it runs.
    pub placement: Placement,
    /// What it asks of the machine.
    pub resources: StepResources,
    /// The registry of the stack, if it has one, with what it wants to know.
    pub registry: Option<Option<RegistryLogin>>,
    /// Its variables.
    pub environment: Vec<(String, String)>,
}

const NO_ACTIVE_REGISTRY: &str = "No container registry found in the active stack. Please add a \
                                  container registry before using the Modal orchestrator.";

const NO_REGISTRY: &str = "No Container registry found in the stack. Please add a container \
                           registry and ensure it is correctly configured.";

/// Starts a step of a static pipeline for its controller.
///
/// # Errors
///
/// See [`SubmitError`].
pub async fn start_static_step<S: Service, R>(
    service: &S,
    surroundings: &Surroundings,
    snapshot: &str,
    step: &str,
    images: Option<&BuiltImages>,
    submission: StepSubmission,
) -> Result<S::Sandbox, SubmitError<S::Error, R>> {
    let entrypoint = Entrypoint::Step {
        snapshot: snapshot.to_owned(),
        step: step.to_owned(),
    };
    let images = images.ok_or_else(|| SubmitError::NoBuild {
        snapshot: snapshot.to_owned(),
    })?;
    let image = images
        .of_step(ORCHESTRATOR_KEY, step)
        .map_err(SubmitError::Image)?;
    let run_id = surroundings.run_id.as_ref().ok_or(SubmitError::NoRunId)?;
    let app_name = match &surroundings.app_name {
        Some(app_name) => app_name.clone(),
        None => names::app_name(run_id),
    };
    let command = entrypoint.argv();
    create_step(service, &app_name, image, command, submission).await
}

/// A step that the orchestrator runs on its own, for a pipeline that decides for
/// itself.
#[derive(Debug, Clone)]
pub struct IsolatedStep {
    /// The compiled pipeline.
    pub snapshot: String,
    /// The step's name.
    pub step: String,
    /// The step run.
    pub step_run: String,
    /// The run.
    pub run: String,
    /// Runs instead of the step's own code, without arguments of ours.
    pub command: Option<Vec<String>>,
    /// What was built for it.
    pub image: String,
}

/// Starts an isolated step and publishes where it runs.
///
/// # Errors
///
/// See [`SubmitError`]. When what is known cannot be published nobody would find
/// the sandbox again, so it is ended.
pub async fn submit_isolated_step<S: Service, M: StepMetadata>(
    service: &S,
    published: &M,
    surroundings: &Surroundings,
    step: IsolatedStep,
    mut submission: StepSubmission,
) -> Result<Map<String, Value>, SubmitError<S::Error, M::Error>> {
    let run_id = surroundings.run_id.clone().unwrap_or(step.run);
    let app_name = match &surroundings.app_name {
        Some(app_name) => app_name.clone(),
        None => names::app_name(&run_id),
    };
    set(&mut submission.environment, RUN_ID_VARIABLE, &run_id);
    set(&mut submission.environment, APP_NAME_VARIABLE, &app_name);
    let entrypoint = Entrypoint::StepOperator {
        snapshot: step.snapshot,
        step: step.step,
        step_run: step.step_run,
    };
    let command = step.command.unwrap_or_else(|| entrypoint.argv());
    let placement = submission.placement.clone();
    let sandbox = create_step(service, &app_name, &step.image, command, submission).await?;
    publish(service, published, &placement, &sandbox, '`').await
}

async fn create_step<S: Service, R>(
    service: &S,
    app_name: &str,
    image: &str,
    command: Vec<String>,
    submission: StepSubmission,
) -> Result<S::Sandbox, SubmitError<S::Error, R>> {
    let Some(login) = &submission.registry else {
        return Err(SubmitError::NoRegistry(NO_ACTIVE_REGISTRY));
    };
    let wanted = Wanted {
        app_name,
        image,
        login: login.as_ref(),
        placement: &submission.placement,
        resources: &submission.resources,
        wording: gpu::ORCHESTRATOR,
        command,
        environment: submission.environment,
    };
    wanted.create(service, SignIn::BeforeImage).await
}

/// A step that the step operator runs.
#[derive(Debug, Clone)]
pub struct OperatorStep {
    /// The step run.
    pub step_run: String,
    /// The step's name.
    pub step: String,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// What was built for it.
    pub image: String,
}

/// Starts a step of the step operator and publishes where it runs.
///
/// # Errors
///
/// See [`SubmitError`]. When what is known cannot be published nobody would find
/// the sandbox again, so it is ended.
pub async fn submit_operator_step<S: Service, M: StepMetadata>(
    service: &S,
    published: &M,
    step: OperatorStep,
    submission: StepSubmission,
) -> Result<Map<String, Value>, SubmitError<S::Error, M::Error>> {
    let Some(login) = &submission.registry else {
        return Err(SubmitError::NoRegistry(NO_REGISTRY));
    };
    if step.command.is_empty() {
        return Err(SubmitError::EmptyCommand);
    }
    let wanted = Wanted {
        app_name: &names::step_operator_app_name(&step.step_run, &step.step),
        image: &step.image,
        login: login.as_ref(),
        placement: &submission.placement,
        resources: &submission.resources,
        wording: gpu::STEP_OPERATOR,
        command: step.command,
        environment: submission.environment,
    };
    let sandbox = wanted.create(service, SignIn::AfterImage).await?;
    publish(service, published, &submission.placement, &sandbox, '\'').await
}

/// Publishes where a step runs. `quote` stands around the sandbox in the warning,
/// as the original words it.
async fn publish<S: Service, M: StepMetadata>(
    service: &S,
    published: &M,
    placement: &Placement,
    sandbox: &S::Sandbox,
    quote: char,
) -> Result<Map<String, Value>, SubmitError<S::Error, M::Error>> {
    let id = service.id(sandbox);
    let metadata = placement.metadata(&id);
    if let Err(error) = published.publish(&metadata).await {
        if service.terminate(sandbox).await.is_err() {
            service.warn(&format!(
                "Failed to terminate Modal sandbox {quote}{id}{quote} after metadata publication \
                 failed."
            ));
        }
        return Err(SubmitError::Records(error));
    }
    Ok(metadata)
}

/// An image that has to be built before a step can be submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerBuild {
    /// Under which it is kept.
    pub key: &'static str,
    /// For which step.
    pub step: String,
}

/// Which step operator a step uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepOperatorChoice {
    /// None.
    None,
    /// The one of the stack.
    OfStack,
    /// One by its name.
    Named(String),
}

/// The images that a step operator of this name needs for the steps of a
/// pipeline.
pub fn docker_builds<'a>(
    operator: &str,
    steps: impl IntoIterator<Item = (&'a str, StepOperatorChoice)>,
) -> Vec<DockerBuild> {
    let is_used = |choice: &StepOperatorChoice| match choice {
        StepOperatorChoice::None => false,
        StepOperatorChoice::OfStack => true,
        StepOperatorChoice::Named(name) => name == operator,
    };
    steps
        .into_iter()
        .filter(|(_, choice)| is_used(choice))
        .map(|(step, _)| DockerBuild {
            key: super::images::STEP_OPERATOR_KEY,
            step: step.to_owned(),
        })
        .collect()
}
