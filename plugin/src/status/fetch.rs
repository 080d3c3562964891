//! Looks how runs and steps stand.

use super::records::refreshed;
use super::{ExecutionStatus, Records, RunRecord, Sandboxes, StepRecord};
use crate::metadata;
use crate::names::metadata as key;
use std::collections::HashMap;

/// How a run and its steps stand at Modal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStatuses {
    /// Of the run; none when Modal has nothing to say beyond what is known.
    pub run: Option<ExecutionStatus>,
    /// Of those steps that Modal could say something about; none when nobody
    /// asked.
    pub steps: Option<Vec<(String, ExecutionStatus)>>,
}

/// How the sandbox of this id stands.
///
/// # Errors
///
/// When it cannot be found or asked.
pub async fn sandbox_status<S: Sandboxes>(
    sandboxes: &S,
    id: &str,
) -> Result<ExecutionStatus, S::Error> {
    let sandbox = sandboxes.find(id).await?;
    let code = sandboxes.exit_code(&sandbox).await?;
    Ok(ExecutionStatus::of_exit_code(code))
}

/// How a run and, if wanted, its steps stand. What has finished is not asked
/// about again; what cannot be asked about is left out, with a warning.
pub async fn run_statuses(
    sandboxes: &impl Sandboxes,
    records: &impl Records,
    run: &RunRecord,
    include_steps: bool,
) -> RunStatuses {
    RunStatuses {
        run: controller_status(sandboxes, run).await,
        steps: match include_steps {
            true => Some(step_statuses(sandboxes, &refreshed(records, run).await).await),
            false => None,
        },
    }
}

async fn controller_status(sandboxes: &impl Sandboxes, run: &RunRecord) -> Option<ExecutionStatus> {
    let Some(id) = run.controller() else {
        warn_without_controller(sandboxes, run);
        return None;
    };
    if run.status.is_finished() {
        return None;
    }
    match sandbox_status(sandboxes, &id).await {
        Ok(status) => Some(status),
        Err(error) => {
            let what = format!("Failed to fetch Modal orchestration sandbox `{id}`: {error}");
            sandboxes.warn(&what);
            None
        }
    }
}

pub(super) fn warn_without_controller(sandboxes: &impl Sandboxes, run: &RunRecord) {
    sandboxes.warn(&format!(
        "No Modal orchestration sandbox metadata found for run `{}`.",
        run.id
    ));
}

async fn step_statuses(
    sandboxes: &impl Sandboxes,
    run: &RunRecord,
) -> Vec<(String, ExecutionStatus)> {
    let on_run: HashMap<String, String> =
        metadata::names_below(&run.metadata, key::STEP_SANDBOX_PREFIX)
            .into_iter()
            .collect();
    let mut statuses = Vec::new();
    for step in run.steps.iter().flatten() {
        if step.status.is_finished() {
            continue;
        }
        let own = metadata::name(&step.metadata, key::SANDBOX);
        let Some(id) = own.or_else(|| on_run.get(&step.name).cloned()) else {
            continue;
        };
        match sandbox_status(sandboxes, &id).await {
            Ok(status) => statuses.push((step.name.clone(), status)),
            Err(error) => sandboxes.warn(&format!(
                "Failed to fetch Modal sandbox `{id}` for step `{}`: {error}",
                step.name
            )),
        }
    }
    statuses
}

/// How an isolated step stands; as the server has it, when it has no sandbox
/// yet.
///
/// # Errors
///
/// When Modal cannot say: the step may still run, so it is not called failed.
pub async fn isolated_status<S: Sandboxes>(
    sandboxes: &S,
    step_run: &str,
    step: &StepRecord,
) -> Result<ExecutionStatus, S::Error> {
    let Some(id) = isolated_sandbox(sandboxes, step_run, step) else {
        return Ok(step.status);
    };
    let status = sandbox_status(sandboxes, &id).await;
    if let Err(error) = &status {
        sandboxes.warn(&format!(
            "Failed to fetch Modal sandbox `{id}` for step run `{step_run}`: {error}"
        ));
    }
    status
}

/// The sandbox of an isolated step. Without one there is a warning.
pub(super) fn isolated_sandbox(
    sandboxes: &impl Sandboxes,
    step_run: &str,
    step: &StepRecord,
) -> Option<String> {
    let id = metadata::name(&step.metadata, key::SANDBOX);
    if id.is_none() {
        sandboxes.warn(&format!(
            "No Modal sandbox metadata found for step run `{step_run}`."
        ));
    }
    id
}
