//! Submits the sandbox that controls a run.

use super::error::SubmitError;
use super::images::{BuiltImages, ORCHESTRATOR_KEY};
use super::sandbox::{Placement, SignIn, StepResources, Wanted, set};
use super::service::Service;
use crate::credentials::{NO_PAIR, TokenPair};
use crate::entrypoint::Entrypoint;
use crate::modal::image::RegistryLogin;
use crate::names::{self, APP_NAME_VARIABLE, RUN_ID_VARIABLE, metadata};
use crate::resources::gpu;
use crate::status::Shape;
use crate::status::wait::wait_for_sandbox;
use serde_json::{Map, Value};
use std::future::Future;

/// What ZenML's server is told when a run is submitted.
pub trait RunClaims {
    /// Why it did not take it in.
    type Error;

    /// Notes the id that the orchestrator knows the run by.
    fn set_orchestrator_run_id(
        &self,
        run: &str,
        orchestrator_run_id: &str,
    ) -> impl Future<Output = Result<(), Self::Error>>;
}

/// A pipeline whose controller is to be started.
#[derive(Debug, Clone)]
pub struct ControllerSubmission {
    /// The compiled pipeline.
    pub snapshot: String,
    /// The run, when it exists already.
    pub run: Option<String>,
    /// The orchestrator's id of the run when there is none yet: made up by the
    /// caller, different each time.
    pub fresh_id: String,
    /// Who decides about the steps.
    pub shape: Shape,
    /// Whether it is to run by the clock.
    pub scheduled: bool,
    /// Names of the steps in the order of declaration.
    pub steps: Vec<String>,
    /// What was built for it, if anything.
    pub images: Option<BuiltImages>,
    /// Where the controller runs.
    pub placement: Placement,
    /// What it asks of the machine.
    pub resources: StepResources,
    /// Whether the submission waits for the end of the run.
    pub synchronous: bool,
    /// The registry of the stack, if it has one, with what it wants to know.
    pub registry: Option<Option<RegistryLogin>>,
    /// The variables that every sandbox of the run gets.
    pub environment: Vec<(String, String)>,
    /// The account, to be handed on: the controller creates sandboxes itself.
    pub credentials: Option<TokenPair>,
}

/// A controller that was started.
#[derive(Debug)]
pub struct Submitted<S> {
    /// Its sandbox.
    pub sandbox: S,
    /// What is published on the run.
    pub metadata: Map<String, Value>,
    /// Whether the caller should wait for its end with [`wait`].
    pub waits: bool,
}

const NO_REGISTRY: &str = "No container registry found in the stack. Please add a container \
                           registry before using the Modal orchestrator.";

/// Starts the controller of a run.
///
/// # Errors
///
/// See [`SubmitError`].
pub async fn submit<S: Service, R: RunClaims>(
    service: &S,
    claims: &R,
    submission: ControllerSubmission,
) -> Result<Submitted<S::Sandbox>, SubmitError<S::Error, R::Error>> {
    let dynamic = submission.shape == Shape::Dynamic;
    if submission.scheduled {
        return Err(SubmitError::Scheduled { dynamic });
    }
    let command = command(&submission).argv();
    let run_id = match &submission.run {
        Some(run) => run.clone(),
        None => submission.fresh_id.clone(),
    };
    if let Some(run) = &submission.run {
        claims
            .set_orchestrator_run_id(run, &run_id)
            .await
            .map_err(SubmitError::Records)?;
    }
    let image = image(&submission)?;
    let start = ControllerStart {
        run_id,
        command,
        image,
        placement: submission.placement,
        resources: submission.resources,
        registry: submission.registry,
        environment: submission.environment,
        credentials: submission.credentials,
    };
    let (sandbox, metadata) = start_controller(service, start).await?;
    Ok(Submitted {
        sandbox,
        metadata,
        waits: submission.synchronous,
    })
}

/// A controller whose command and image are known.
#[derive(Debug, Clone)]
pub struct ControllerStart {
    /// The orchestrator's id of the run.
    pub run_id: String,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// Reference in a registry.
    pub image: String,
    /// Where it runs.
    pub placement: Placement,
    /// What it asks of the machine.
    pub resources: StepResources,
    /// The registry of the stack, if it has one, with what it wants to know.
    pub registry: Option<Option<RegistryLogin>>,
    /// Its variables.
    pub environment: Vec<(String, String)>,
    /// The account, to be handed on.
    pub credentials: Option<TokenPair>,
}

/// Starts a controller, and gives what is published on its run.
///
/// # Errors
///
/// See [`SubmitError`].
pub async fn start_controller<S: Service, R>(
    service: &S,
    start: ControllerStart,
) -> Result<(S::Sandbox, Map<String, Value>), SubmitError<S::Error, R>> {
    let Some(login) = &start.registry else {
        return Err(SubmitError::NoRegistry(NO_REGISTRY));
    };
    let app_name = names::app_name(&start.run_id);
    let mut environment = start.environment;
    set(&mut environment, RUN_ID_VARIABLE, &start.run_id);
    set(&mut environment, APP_NAME_VARIABLE, &app_name);
    match &start.credentials {
        Some(pair) => pair.inject(&mut environment),
        None => service.warn(NO_PAIR),
    }
    let wanted = Wanted {
        app_name: &app_name,
        image: &start.image,
        login: login.as_ref(),
        placement: &start.placement,
        resources: &start.resources,
        wording: gpu::ORCHESTRATOR,
        command: start.command,
        environment,
    };
    let sandbox = wanted.create(service, SignIn::BeforeImage).await?;
    let id = service.id(&sandbox);
    let chosen = start.placement.environment();
    let metadata = about_run(start.run_id, id, app_name, chosen);
    Ok((sandbox, metadata))
}

fn command(submission: &ControllerSubmission) -> Entrypoint {
    let snapshot = submission.snapshot.clone();
    let run = submission.run.clone();
    match submission.shape {
        Shape::Static => Entrypoint::StaticController { snapshot, run },
        Shape::Dynamic => Entrypoint::DynamicPipeline { snapshot, run },
    }
}

/// The image of the pipeline, or else of its first step.
fn image<E, R>(submission: &ControllerSubmission) -> Result<String, SubmitError<E, R>> {
    let Some(images) = &submission.images else {
        return Err(SubmitError::NoBuild {
            snapshot: submission.snapshot.clone(),
        });
    };
    let image = match (
        images.of_pipeline(ORCHESTRATOR_KEY),
        submission.steps.first(),
    ) {
        (Err(_), Some(step)) => images.of_step(ORCHESTRATOR_KEY, step),
        (of_pipeline, _) => of_pipeline,
    };
    image.map(ToOwned::to_owned).map_err(SubmitError::Image)
}

fn about_run(
    run_id: String,
    sandbox: String,
    app_name: String,
    environment: Option<&str>,
) -> Map<String, Value> {
    let mut values = Map::new();
    let mut put = |key: &str, value: String| values.insert(key.to_owned(), value.into());
    put(metadata::ORCHESTRATOR_RUN_ID, run_id);
    put(metadata::ORCHESTRATION_SANDBOX, sandbox);
    put(metadata::APP_NAME, app_name);
    if let Some(environment) = environment {
        put(metadata::ENVIRONMENT, environment.to_owned());
    }
    values
}

/// Waits for the end of a controller.
///
/// # Errors
///
/// When it ended with a failure, or nothing was heard of it for too long.
pub async fn wait<S: Service, R>(
    service: &S,
    sandbox: &S::Sandbox,
) -> Result<(), SubmitError<S::Error, R>> {
    match wait_for_sandbox(service, sandbox).await {
        Ok(0) => Ok(()),
        Ok(code) => Err(SubmitError::ControllerFailed {
            sandbox: service.id(sandbox),
            code,
        }),
        Err(error) => Err(SubmitError::Service(error)),
    }
}
