//! The run store, as an import.

use super::bindings::zenml::flavor::run_store::{
    self, Change as WitChange, Created, Intent, Metadata, RunChange, StepChange,
};
use super::bindings::zenml::flavor::types::{
    RunStatus, StepStatus as WitStepStatus, StopMode as WitStopMode, StoreError as WitStoreError,
};
use crate::dag::machine::{FinalStatus, RunEnd, StopMode};
use crate::run::store::{
    Change, Claim, Recorded, RecordedAttempt, RunStore, StepStatus, StoreError, Trace,
};

/// The imported run store.
#[derive(Debug, Clone, Copy)]
pub(super) struct ImportedStore;

impl RunStore for ImportedStore {
    async fn open(&self, run: &str) -> Result<Claim, StoreError> {
        Ok(run_store::open(run.to_owned()).await?.into())
    }

    async fn commit(&self, run: &str, epoch: u64, changes: Vec<Change>) -> Result<(), StoreError> {
        let changes = changes.into_iter().map(WitChange::from).collect();
        Ok(run_store::commit(run.to_owned(), epoch, changes).await?)
    }

    async fn wait_for_stop(
        &self,
        run: &str,
        known: Option<StopMode>,
    ) -> Result<StopMode, StoreError> {
        let known = known.map(|mode| match mode {
            StopMode::Graceful => WitStopMode::Graceful,
            StopMode::Force => WitStopMode::Force,
        });
        let asked = run_store::wait_for_stop(run.to_owned(), known).await?;
        Ok(asked.into())
    }

    async fn cached(&self, run: &str, step: &str) -> Result<bool, String> {
        let known = run_store::cached(run.to_owned(), step.to_owned()).await;
        known.map_err(|error| StoreError::from(error).to_string())
    }
}

impl From<run_store::Claim> for Claim {
    fn from(claim: run_store::Claim) -> Self {
        let steps = claim.steps.into_iter().map(|step| Recorded {
            step: step.step,
            attempt: step.attempt,
            status: step.status.into(),
        });
        let attempts = claim.attempts.into_iter().map(|attempt| RecordedAttempt {
            step: attempt.step,
            number: attempt.number,
            trace: Trace {
                idempotency_key: attempt.idempotency_key,
                app_id: attempt.place,
                sandbox: attempt.sandbox,
            },
        });
        Self {
            epoch: claim.epoch,
            steps: steps.collect(),
            attempts: attempts.collect(),
            stop: claim.stop.map(StopMode::from),
        }
    }
}

impl From<WitStepStatus> for StepStatus {
    fn from(status: WitStepStatus) -> Self {
        match status {
            WitStepStatus::Pending => Self::Pending,
            WitStepStatus::Starting | WitStepStatus::Running => Self::Running,
            WitStepStatus::Completed => Self::Final(FinalStatus::Completed),
            WitStepStatus::Cached => Self::Final(FinalStatus::Cached),
            WitStepStatus::Failed => Self::Final(FinalStatus::Failed),
            WitStepStatus::Cancelled => Self::Final(FinalStatus::Cancelled),
            WitStepStatus::Skipped => Self::Final(FinalStatus::Skipped),
        }
    }
}

impl From<WitStopMode> for StopMode {
    fn from(mode: WitStopMode) -> Self {
        match mode {
            WitStopMode::Graceful => Self::Graceful,
            WitStopMode::Force => Self::Force,
        }
    }
}

impl From<WitStoreError> for StoreError {
    fn from(error: WitStoreError) -> Self {
        match error {
            WitStoreError::Unavailable(reason) => Self::Unavailable(reason),
            WitStoreError::Fenced => Self::Fenced,
            WitStoreError::UnknownRun => Self::UnknownRun,
        }
    }
}

impl From<Change> for WitChange {
    fn from(change: Change) -> Self {
        match change {
            Change::Intent {
                step,
                attempt,
                idempotency_key,
                app_id,
            } => Self::Intent(Intent {
                step,
                attempt,
                idempotency_key,
                place: app_id,
            }),
            Change::Created {
                step,
                attempt,
                sandbox,
            } => Self::Created(Created {
                step,
                attempt,
                sandbox,
            }),
            Change::Step {
                step,
                attempt,
                status,
                exit_code,
                reason,
            } => Self::Step(StepChange {
                step,
                attempt,
                status: status.into(),
                exit_code,
                reason,
            }),
            Change::Run { end, reason } => Self::Run(RunChange {
                status: end.into(),
                reason,
            }),
            Change::Metadata { step, values } => Self::Metadata(Metadata {
                step,
                values: serde_json::Value::Object(values).to_string(),
            }),
        }
    }
}

impl From<StepStatus> for WitStepStatus {
    fn from(status: StepStatus) -> Self {
        match status {
            StepStatus::Pending => Self::Pending,
            StepStatus::Running => Self::Running,
            StepStatus::Final(status) => status.into(),
        }
    }
}

impl From<FinalStatus> for WitStepStatus {
    fn from(status: FinalStatus) -> Self {
        match status {
            FinalStatus::Completed => Self::Completed,
            FinalStatus::Cached => Self::Cached,
            FinalStatus::Failed => Self::Failed,
            FinalStatus::Cancelled => Self::Cancelled,
            FinalStatus::Skipped => Self::Skipped,
        }
    }
}

impl From<RunEnd> for RunStatus {
    fn from(end: RunEnd) -> Self {
        match end {
            RunEnd::Completed => Self::Completed,
            RunEnd::Failed => Self::Failed,
            RunEnd::Stopped => Self::Stopped,
        }
    }
}
