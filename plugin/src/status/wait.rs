//! Waits for sandboxes and steps to end.

use super::fetch::{isolated_status, sandbox_status};
use super::{ExecutionStatus, Sandboxes, StepRecord};
use crate::limits;
use crate::metadata::{self, Metadata};
use crate::names::metadata as key;
use std::fmt;
use std::future::Future;
use std::time::Duration;

/// Pause between two looks at a sandbox, as ZenML has it.
const SANDBOX_PAUSE: Duration = Duration::from_secs(1);
/// Pauses between two looks at a step: doubles from the first to the second, as
/// ZenML has it.
const STEP_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(16));

/// Waits for the end of a sandbox and gives its exit code.
///
/// # Errors
///
/// The last failure; see [`watch`].
pub async fn wait_for_sandbox<S: Sandboxes>(
    sandboxes: &S,
    sandbox: &S::Sandbox,
) -> Result<i32, S::Error> {
    watch(sandboxes, async || sandboxes.exit_code(sandbox).await).await
}

/// Looks every second until there is something to see. A look that fails is
/// repeated, until nothing was heard for [`limits::STATUS_PATIENCE`].
///
/// # Errors
///
/// The last failure.
pub async fn watch<T, E>(
    sandboxes: &impl Sandboxes,
    look: impl AsyncFn() -> Result<Option<T>, E>,
) -> Result<T, E> {
    let mut heard = sandboxes.now();
    loop {
        match look().await {
            Ok(Some(end)) => return Ok(end),
            Ok(None) => heard = sandboxes.now(),
            Err(error) if is_silent(sandboxes, heard) => return Err(error),
            Err(_) => {}
        }
        sandboxes.pause(SANDBOX_PAUSE).await;
    }
}

/// What ZenML's server says about a step while it is waited for.
pub trait StepRecords {
    /// Why it did not answer.
    type Error;

    /// Where the step stands there.
    fn status(&self) -> impl Future<Output = Result<ExecutionStatus, Self::Error>>;
}

/// Why the end of a step could not be waited for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WaitError<S, R> {
    /// Nothing was heard of its sandbox for too long.
    #[error("{0}")]
    Sandbox(S),
    /// The server did not answer in place of the sandbox.
    #[error("{0}")]
    Records(R),
}

/// Waits for the end of a step that the orchestrator runs on its own.
///
/// # Errors
///
/// See [`WaitError`].
pub async fn wait_for_isolated_step<S: Sandboxes, R: StepRecords>(
    sandboxes: &S,
    records: &R,
    step_run: &str,
    step: &StepRecord,
) -> Result<ExecutionStatus, WaitError<S::Error, R::Error>> {
    let look = || isolated_status(sandboxes, step_run, step);
    wait_for_step(sandboxes, records, look).await
}

/// Waits for the end of a step that the step operator runs.
///
/// # Errors
///
/// See [`WaitError`].
pub async fn wait_for_operator_step<S: Sandboxes, R: StepRecords>(
    sandboxes: &S,
    records: &R,
    step_run: &str,
    sandbox: &str,
) -> Result<ExecutionStatus, WaitError<S::Error, R::Error>> {
    let look = async || {
        let status = sandbox_status(sandboxes, sandbox).await;
        if let Err(error) = &status {
            let what = format!("Failed to get status of step run `{step_run}`: {error}");
            sandboxes.warn(&what);
        }
        status
    };
    wait_for_step(sandboxes, records, look).await
}

/// Looks again and again; where Modal cannot say, the server is believed.
async fn wait_for_step<S: Sandboxes, R: StepRecords>(
    sandboxes: &S,
    records: &R,
    look: impl AsyncFn() -> Result<ExecutionStatus, S::Error>,
) -> Result<ExecutionStatus, WaitError<S::Error, R::Error>> {
    let (mut pause, longest) = STEP_PAUSE;
    let mut heard = sandboxes.now();
    loop {
        let status = match look().await {
            Ok(status) => {
                heard = sandboxes.now();
                status
            }
            Err(error) if is_silent(sandboxes, heard) => return Err(WaitError::Sandbox(error)),
            Err(_) => records.status().await.map_err(WaitError::Records)?,
        };
        if status.is_finished() || status == ExecutionStatus::Retrying {
            return Ok(status);
        }
        sandboxes.pause(pause).await;
        pause = (pause * 2).min(longest);
    }
}

fn is_silent(sandboxes: &impl Sandboxes, heard: Duration) -> bool {
    sandboxes.now().saturating_sub(heard) >= limits::STATUS_PATIENCE
}

/// The sandbox that the step operator noted for a step.
///
/// # Errors
///
/// When it noted none.
pub fn operator_sandbox(metadata: &Metadata) -> Result<String, NoSandbox> {
    match metadata.get(key::SANDBOX) {
        None => Err(NoSandbox),
        // ZenML takes whatever stands there for an id.
        Some(_) => Ok(metadata::text(metadata, key::SANDBOX).unwrap_or_else(|| "None".to_owned())),
    }
}

/// Nothing was noted about a sandbox of the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSandbox;

impl fmt::Display for NoSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the metadata of the step has no `{}`", key::SANDBOX)
    }
}

impl std::error::Error for NoSandbox {}
