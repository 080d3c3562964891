//! A run whose steps are ZenML's: what its controller asks ZenML's server and
//! tells it.
//!
//! A step's own process records how the step ends, and tries it again when it is
//! to be; the server draws its conclusions about the run from that. The
//! controller sees sandboxes and exit codes. Where the two disagree, a success
//! that a step has recorded counts.

use super::controller::{Controller, Driven};
use super::events::{EventSink, RunError};
use super::plan::Plan;
use super::store::{Change, Claim, Failure, RunStore, StoreError};
use crate::dag::machine::{ExecutionMode, FinalStatus, Standing, StopMode};
use crate::metadata::{self, Metadata};
use crate::modal::{CallError, Client};
use crate::names::metadata as key;
use crate::platform::Platform;
use crate::status::ExecutionStatus;
use serde_json::{Map, Value};
use std::fmt;
use std::future::Future;
use std::time::Duration;

/// Pause between two questions whether the run is to stop, as ZenML has it.
const STOP_PAUSE: Duration = Duration::from_secs(1);

/// ZenML's server, as far as one run goes.
pub trait Server: Clone + 'static {
    /// Why it did not do what it was asked.
    type Error: fmt::Display + Clone;
    /// A record of a step that is about to be made.
    type Draft;

    /// Where the run stands. Asked once a second.
    fn status_in_passing(&self) -> impl Future<Output = Result<ExecutionStatus, Self::Error>>;

    /// Where the run stands at this moment.
    fn status(&self) -> impl Future<Output = Result<ExecutionStatus, Self::Error>>;

    /// Says where the run stands.
    fn set_status(&self, status: ExecutionStatus) -> impl Future<Output = Result<(), Self::Error>>;

    /// The latest record of a step, earlier attempts left out.
    fn step_run(&self, step: &str) -> impl Future<Output = Result<Option<StepRun>, Self::Error>>;

    /// Says that a step failed.
    fn fail_step_run(&self, id: &str) -> impl Future<Output = Result<(), Self::Error>>;

    /// Whether an earlier result may stand for a step.
    fn may_cache(&self, step: &str) -> bool;

    /// Prepares the record of a step: what goes in, and whether an earlier
    /// result stands for it.
    fn draft(&self, step: &str) -> impl Future<Output = Result<Self::Draft, Self::Error>>;

    /// What the server would make of the step.
    fn drafted_status(&self, draft: &Self::Draft) -> ExecutionStatus;

    /// Makes the record of a step.
    fn create_step_run(
        &self,
        draft: Self::Draft,
        status: ExecutionStatus,
    ) -> impl Future<Output = Result<(), Self::Error>>;

    /// Publishes something about the run.
    fn publish_on_run(
        &self,
        values: &Map<String, Value>,
    ) -> impl Future<Output = Result<(), Self::Error>>;

    /// Publishes something about a step.
    fn publish_on_step(
        &self,
        step_run: &StepRun,
        values: &Map<String, Value>,
    ) -> impl Future<Output = Result<(), Self::Error>>;

    /// Whether the server refused the credentials.
    fn is_refusal(&self, error: &Self::Error) -> bool;

    /// Waits.
    fn pause(&self, duration: Duration) -> impl Future<Output = ()>;

    /// Says what went wrong without ending anything.
    fn warn(&self, message: &str);
}

/// The record of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRun {
    /// ZenML's id of it.
    pub id: String,
    /// The step's name.
    pub step: String,
    /// Where it stands.
    pub status: ExecutionStatus,
}

/// The server as a run store.
#[derive(Debug, Clone)]
pub struct ZenmlStore<Z> {
    server: Z,
    mode: ExecutionMode,
}

impl<Z: Server> ZenmlStore<Z> {
    /// A store for one run.
    pub fn new(server: Z, mode: ExecutionMode) -> Self {
        Self { server, mode }
    }

    async fn cached_by_server(&self, step: &str) -> Result<bool, Z::Error> {
        let server = &self.server;
        if !server.may_cache(step) {
            return Ok(false);
        }
        let draft = match server.draft(step).await {
            Ok(draft) => draft,
            Err(error) => {
                let what =
                    format!("Failed to populate step run request for step `{step}`: {error}");
                server.warn(&what);
                return Ok(false);
            }
        };
        if server.drafted_status(&draft) != ExecutionStatus::Cached {
            return Ok(false);
        }
        let cached = ExecutionStatus::Cached;
        server.create_step_run(draft, cached).await.map(|()| true)
    }

    /// Makes the record of a step that failed before it could make one itself.
    async fn record_failure(&self, step: &str) {
        let server = &self.server;
        let draft = match server.draft(step).await {
            Ok(draft) => draft,
            Err(error) => {
                let what =
                    format!("Failed to populate failed step run request for `{step}`: {error}");
                server.warn(&what);
                return;
            }
        };
        if let Err(error) = server.create_step_run(draft, ExecutionStatus::Failed).await {
            server.warn(&format!(
                "Failed to publish failed step run `{step}`: {error}"
            ));
        }
    }

    /// False as long as the step has no record.
    async fn told(&self, step: &str, values: &Map<String, Value>) -> Result<bool, Z::Error> {
        match self.server.step_run(step).await? {
            None => Ok(false),
            Some(step_run) => self
                .server
                .publish_on_step(&step_run, values)
                .await
                .map(|()| true),
        }
    }

    fn warn_unpublished(&self, step: &str, error: &Z::Error) {
        self.server.warn(&format!(
            "Failed to publish Modal sandbox metadata for step `{step}`: {error}"
        ));
    }
}

impl<Z: Server> RunStore for ZenmlStore<Z> {
    async fn open(&self, _: &str) -> Result<Claim, StoreError> {
        Ok(Claim::default())
    }

    /// Only where the sandboxes of steps are is published: the rest the server
    /// hears from the steps themselves, or knows from the submission.
    async fn commit(&self, _: &str, _: u64, changes: Vec<Change>) -> Result<(), StoreError> {
        for change in changes {
            let Change::Metadata { step: None, values } = change else {
                continue;
            };
            for (name, value) in values {
                let Some(step) = name.strip_prefix(key::STEP_SANDBOX_PREFIX) else {
                    continue;
                };
                let one = Map::from_iter([(name.clone(), value)]);
                if let Err(error) = self.server.publish_on_run(&one).await {
                    self.warn_unpublished(step, &error);
                }
            }
        }
        Ok(())
    }

    async fn wait_for_stop(
        &self,
        _: &str,
        known: Option<StopMode>,
    ) -> Result<StopMode, StoreError> {
        loop {
            self.server.pause(STOP_PAUSE).await;
            match self.server.status_in_passing().await {
                Ok(status) => match interruption(self.mode, status) {
                    Some(mode) if Some(mode) > known => return Ok(mode),
                    _ => {}
                },
                Err(error) => {
                    let what = format!("Failed to check Modal pipeline run stop status: {error}");
                    self.server.warn(&what);
                }
            }
        }
    }

    async fn cached(&self, _: &str, step: &str) -> Result<bool, String> {
        let cached = self.cached_by_server(step).await;
        cached.map_err(|error| error.to_string())
    }

    async fn succeeded_nevertheless(
        &self,
        _: &str,
        step: &str,
        failure: Failure,
    ) -> Result<bool, String> {
        if failure == Failure::Sandbox {
            let what = format!("Modal sandbox for step `{step}` failed.");
            self.server.warn(&what);
        }
        match self.server.step_run(step).await {
            Err(error) => Err(error.to_string()),
            Ok(Some(step_run)) => Ok(step_run.status.is_successful()),
            Ok(None) => {
                self.record_failure(step).await;
                Ok(false)
            }
        }
    }

    async fn tell_step(&self, _: &str, step: &str, values: &Map<String, Value>) -> bool {
        match self.told(step, values).await {
            Ok(told) => told,
            Err(error) => {
                self.warn_unpublished(step, &error);
                false
            }
        }
    }

    fn steps_report_themselves(&self) -> bool {
        true
    }
}

/// Whether the status of a run says that it is to stop.
pub fn interruption(mode: ExecutionMode, status: ExecutionStatus) -> Option<StopMode> {
    match (status, mode) {
        (ExecutionStatus::Stopping, _)
        | (ExecutionStatus::Failed, ExecutionMode::StopOnFailure) => Some(StopMode::Graceful),
        (ExecutionStatus::Stopped, _) | (ExecutionStatus::Failed, ExecutionMode::FailFast) => {
            Some(StopMode::Force)
        }
        _ => None,
    }
}

/// Why a run under ZenML's server did not end well.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ControlError<E> {
    /// It could not begin.
    #[error(transparent)]
    Start(RunError),
    /// A sandbox was to be ended and may still run.
    #[error("{0}")]
    Surviving(CallError),
    /// Steps failed.
    #[error("Modal steps did not complete successfully: {}", .0.join(", "))]
    Steps(Vec<String>),
    /// The server did not take in how the run ended.
    #[error("{0}")]
    Server(E),
}

/// Controls a run from its first step to its last, and tells the server how it
/// ended. What steps mean for the run is the server's to say, so the plan's own
/// execution mode should be [`ExecutionMode::ContinueOnFailure`]; `mode` says
/// what is done about what the server says.
///
/// # Errors
///
/// See [`ControlError`]. `driven` is set as soon as all steps are done with.
pub async fn control<P: Platform, Z: Server>(
    plan: Plan,
    client: Client<P>,
    server: Z,
    mode: ExecutionMode,
    events: EventSink,
    driven: &mut Option<Driven>,
) -> Result<(), ControlError<Z::Error>> {
    let store = ZenmlStore::new(server.clone(), mode);
    let controller = Controller::prepare(plan, client, store, events)
        .await
        .map_err(ControlError::Start)?;
    let driven = driven.insert(controller.drive().await);
    if let Some((_, error)) = driven.surviving.first() {
        return Err(ControlError::Surviving(error.clone()));
    }
    finalize(&server, &driven.steps).await
}

/// Tells the server how a run ended, unless it knows better.
///
/// # Errors
///
/// When steps failed, or the server does not answer. Credentials that have run
/// out by now are no error of their own.
pub async fn finalize<Z: Server>(
    server: &Z,
    steps: &[(String, Standing)],
) -> Result<(), ControlError<Z::Error>> {
    let of_status = |wanted| -> Vec<&str> {
        let is_wanted = |standing: Standing| standing == Standing::Final(wanted);
        let steps = steps.iter().filter(|(_, standing)| is_wanted(*standing));
        steps.map(|(name, _)| name.as_str()).collect()
    };
    let ends = Ends {
        failed: of_status(FinalStatus::Failed),
        skipped: of_status(FinalStatus::Skipped),
        is_cut_short: !steps.iter().all(|(_, standing)| is_told(*standing)),
    };
    match ends.tell(server).await {
        Err(error) if server.is_refusal(&error) => ends.outcome(),
        Err(error) => Err(ControlError::Server(error)),
        Ok(true) => ends.outcome(),
        Ok(false) => Ok(()),
    }
}

/// Whether a step has an end that counts for the run.
fn is_told(standing: Standing) -> bool {
    match standing {
        Standing::Final(status) => status != FinalStatus::Cancelled,
        Standing::NotReady | Standing::Ready | Standing::Active | Standing::Left => false,
    }
}

/// How the steps of a run ended.
struct Ends<'a> {
    failed: Vec<&'a str>,
    skipped: Vec<&'a str>,
    /// Some steps did not come to an end of their own.
    is_cut_short: bool,
}

impl Ends<'_> {
    /// Whether the steps count: not when the run was stopped.
    async fn tell<Z: Server>(&self, server: &Z) -> Result<bool, Z::Error> {
        let status = server.status().await?;
        if is_stopped(server, status).await? {
            return Ok(false);
        }
        if !self.skipped.is_empty() {
            let skipped = self.skipped.join(", ");
            server.warn(&format!(
                "The following Modal steps were skipped: {skipped}"
            ));
        }
        if self.failed.is_empty() {
            if is_active(status) {
                server.set_status(self.status()).await?;
            }
            return Ok(true);
        }
        let failed = self.failed.join(", ");
        server.warn(&format!(
            "The following Modal steps did not complete successfully: {failed}"
        ));
        for step in &self.failed {
            if let Some(step_run) = server.step_run(step).await?
                && !step_run.status.is_finished()
            {
                server.fail_step_run(&step_run.id).await?;
            }
        }
        let status = server.status().await?;
        if is_stopped(server, status).await? {
            return Ok(false);
        }
        if is_active(status) {
            server.set_status(ExecutionStatus::Failed).await?;
        }
        Ok(true)
    }

    /// Where a run without failed steps stands.
    fn status(&self) -> ExecutionStatus {
        match self.is_cut_short {
            true => ExecutionStatus::Stopped,
            false => ExecutionStatus::Completed,
        }
    }

    fn outcome<E>(&self) -> Result<(), ControlError<E>> {
        match self.failed.is_empty() {
            true => Ok(()),
            false => Err(ControlError::Steps(
                self.failed.iter().map(ToString::to_string).collect(),
            )),
        }
    }
}

/// Whether the run was stopped. One that was being stopped is, from now on.
async fn is_stopped<Z: Server>(server: &Z, status: ExecutionStatus) -> Result<bool, Z::Error> {
    if status == ExecutionStatus::Stopping {
        server.set_status(ExecutionStatus::Stopped).await?;
        return Ok(true);
    }
    Ok(status == ExecutionStatus::Stopped)
}

fn is_active(status: ExecutionStatus) -> bool {
    matches!(
        status,
        ExecutionStatus::Initializing | ExecutionStatus::Provisioning | ExecutionStatus::Running
    )
}

/// How a controller comes by its run.
pub trait Runs {
    /// Why the server did not do what it was asked.
    type Error: fmt::Display;
    /// What the server knows of a run.
    type Run;

    /// Finds a run by ZenML's id.
    fn find(&self, run: &str) -> impl Future<Output = Result<Self::Run, Self::Error>>;

    /// The id that the orchestrator gave a run.
    fn orchestrator_run_id(&self, run: &Self::Run) -> Option<String>;

    /// Gives a run the orchestrator's id.
    fn set_orchestrator_run_id(
        &self,
        run: &str,
        id: &str,
    ) -> impl Future<Output = Result<Self::Run, Self::Error>>;

    /// Makes a run that nobody has made yet.
    fn create(&self, id: &str) -> impl Future<Output = Result<Self::Run, Self::Error>>;
}

/// Why a controller does not get its run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError<E> {
    /// It is another controller's.
    #[error(
        "Modal controller received run ID `{run}` with orchestrator run ID `{theirs}`, but the \
         active Modal run ID is `{ours}`."
    )]
    Taken {
        /// ZenML's id of the run.
        run: String,
        /// The id that the other one gave it.
        theirs: String,
        /// Our id.
        ours: String,
    },
    /// The server said no or is not there.
    #[error("{0}")]
    Server(E),
}

/// Makes a run this controller's. `ours` is the orchestrator's id of it.
///
/// # Errors
///
/// When it is another controller's already.
pub async fn claim<R: Runs>(
    runs: &R,
    run: Option<&str>,
    ours: &str,
) -> Result<R::Run, ClaimError<R::Error>> {
    let Some(run) = run.filter(|run| !run.is_empty()) else {
        return runs.create(ours).await.map_err(ClaimError::Server);
    };
    let found = runs.find(run).await.map_err(ClaimError::Server)?;
    match runs.orchestrator_run_id(&found) {
        Some(theirs) if theirs == ours => Ok(found),
        Some(theirs) if !theirs.is_empty() => Err(ClaimError::Taken {
            run: run.to_owned(),
            theirs,
            ours: ours.to_owned(),
        }),
        _ => runs
            .set_orchestrator_run_id(run, ours)
            .await
            .map_err(ClaimError::Server),
    }
}

/// The stack's orchestrator is somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The active stack orchestrator is not a ModalOrchestrator.")]
pub struct NotOurs;

/// Checks that a controller runs in a stack whose orchestrator is ours, by its
/// flavor.
///
/// # Errors
///
/// When it is not.
pub fn check_orchestrator(flavor: &str) -> Result<(), NotOurs> {
    match flavor == crate::catalog::NAME {
        true => Ok(()),
        false => Err(NotOurs),
    }
}

/// The sandbox that a step runs in, from what was noted when it was started.
pub fn noted_sandbox(noted: &Metadata) -> Option<String> {
    metadata::name(noted, key::SANDBOX)
}

/// Says that nothing was noted about a step that is said to run: it counts as
/// failed.
pub fn missing_sandbox(step: &str) -> String {
    format!("Missing Modal sandbox ID for step `{step}`.")
}
