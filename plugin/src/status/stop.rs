//! Ends the sandboxes of runs and steps that another process started.

use super::fetch::{isolated_sandbox, warn_without_controller};
use super::records::refreshed;
use super::sandboxes::terminate_if_running;
use super::{Records, RunRecord, Sandboxes, Shape, StepRecord};
use crate::dag::machine::StopMode;
use crate::limits;
use futures::stream::{self, StreamExt as _};
use std::collections::BTreeSet;

/// Why a run was not stopped, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StopError<R> {
    /// Nobody has submitted it yet.
    #[error("Cannot stop a pipeline run that has no orchestrator run id yet.")]
    NotSubmitted,
    /// The server could not be told. Nothing was ended.
    #[error("{0}")]
    Records(R),
    /// Some sandboxes may still run.
    #[error("Failed to stop all Modal sandboxes: {}", .0.join("; "))]
    Sandboxes(Vec<String>),
}

/// Stops a run: makes it known, then ends its sandboxes.
///
/// # Errors
///
/// See [`StopError`].
pub async fn stop_run<R: Records>(
    sandboxes: &impl Sandboxes,
    records: &R,
    run: &RunRecord,
    mode: StopMode,
) -> Result<(), StopError<R::Error>> {
    if run.orchestrator_run_id.is_none() {
        return Err(StopError::NotSubmitted);
    }
    records
        .mark_stopping("Manual stop requested.")
        .await
        .map_err(StopError::Records)?;
    stop_sandboxes(sandboxes, records, run, mode)
        .await
        .map_err(StopError::Sandboxes)
}

/// Ends the sandboxes of a run: those of steps, then the controller's, then
/// those that came into being meanwhile. The controller of a static run ends a
/// graceful stop itself; nothing is done then.
///
/// # Errors
///
/// What could not be ended, and why. Everything was tried.
pub async fn stop_sandboxes<R: Records>(
    sandboxes: &impl Sandboxes,
    records: &R,
    run: &RunRecord,
    mode: StopMode,
) -> Result<(), Vec<String>> {
    let mut known = None;
    if mode == StopMode::Graceful {
        let shape = match run.shape {
            Some(shape) => Some(shape),
            None => known.insert(refreshed(records, run).await).shape,
        };
        if shape == Some(Shape::Static) {
            return Ok(());
        }
        sandboxes.warn(&format!(
            "Graceful stops are only supported for static Modal runs. Force-stopping Modal run \
             `{}` instead.",
            run.id
        ));
    }
    let now = match known {
        Some(known) => known,
        None => refreshed(records, run).await,
    };
    let mut ending = Ending {
        sandboxes,
        tried: BTreeSet::new(),
        controllers: BTreeSet::new(),
        errors: Vec::new(),
    };
    ending.end_all(&now).await;
    // A step may have got its sandbox while the others were being ended.
    ending.end_all(&refreshed(records, run).await).await;
    match ending.errors.is_empty() {
        true => Ok(()),
        false => Err(ending.errors),
    }
}

/// Ends an isolated step.
///
/// # Errors
///
/// When its sandbox cannot be found, asked or ended.
pub async fn stop_isolated_step<S: Sandboxes>(
    sandboxes: &S,
    step_run: &str,
    step: &StepRecord,
) -> Result<(), S::Error> {
    match isolated_sandbox(sandboxes, step_run, step) {
        Some(id) => terminate_if_running(sandboxes, &id).await,
        None => Ok(()),
    }
}

/// Ends a step of the step operator, whether it runs or not.
///
/// # Errors
///
/// When its sandbox cannot be found or ended.
pub async fn cancel<S: Sandboxes>(sandboxes: &S, id: &str) -> Result<(), S::Error> {
    let sandbox = sandboxes.find(id).await?;
    sandboxes.terminate(&sandbox).await
}

/// What has been tried already: a sandbox that could not be ended is not tried
/// again.
struct Ending<'a, S> {
    sandboxes: &'a S,
    tried: BTreeSet<String>,
    controllers: BTreeSet<String>,
    errors: Vec<String>,
}

impl<S: Sandboxes> Ending<'_, S> {
    async fn end_all(&mut self, run: &RunRecord) {
        let children: Vec<String> = run.children().difference(&self.tried).cloned().collect();
        self.tried.extend(children.iter().cloned());
        let sandboxes = self.sandboxes;
        let end = async |id: String| terminate_if_running(sandboxes, &id).await;
        let ended: Vec<_> = stream::iter(children)
            .map(end)
            .buffered(limits::CALLS_AT_ONCE)
            .collect()
            .await;
        for result in ended {
            self.note(result);
        }
        let Some(controller) = run.controller() else {
            warn_without_controller(sandboxes, run);
            return;
        };
        if self.controllers.insert(controller.clone()) {
            let result = terminate_if_running(sandboxes, &controller).await;
            self.note(result);
        }
    }

    fn note(&mut self, result: Result<(), S::Error>) {
        if let Err(error) = result {
            self.errors.push(error.to_string());
        }
    }
}
