//! The run store as the controller sees it.

use crate::dag::machine::{FinalStatus, RunEnd, StopMode};
use std::future::Future;

/// What a run has done so far, kept by the host.
pub trait RunStore: Clone + 'static {
    /// Takes charge of a run.
    fn open(&self, run: &str) -> impl Future<Output = Result<Claim, StoreError>>;

    /// Records changes, all or none. When it returns without an error they
    /// survive the death of the process.
    fn commit(
        &self,
        run: &str,
        epoch: u64,
        changes: Vec<Change>,
    ) -> impl Future<Output = Result<(), StoreError>>;

    /// Waits for a stop that goes further than the known one.
    fn wait_for_stop(
        &self,
        run: &str,
        known: Option<StopMode>,
    ) -> impl Future<Output = Result<StopMode, StoreError>>;

    /// Looks for an earlier result that stands for a step, and records that it
    /// does. A store that keeps no results has none.
    ///
    /// An error is why the step fails.
    fn cached(&self, _run: &str, _step: &str) -> impl Future<Output = Result<bool, String>> {
        async { Ok(false) }
    }

    /// A step failed as far as can be seen from outside. Whether the step itself
    /// has recorded a success nevertheless; a store that steps do not write to
    /// knows nothing of the kind.
    ///
    /// An error is why that cannot be said; the step has failed then.
    fn succeeded_nevertheless(
        &self,
        _run: &str,
        _step: &str,
        _failure: Failure,
    ) -> impl Future<Output = Result<bool, String>> {
        async { Ok(false) }
    }

    /// Tells a step where it runs, where that takes a record which the step makes
    /// itself. False as long as it has not been told; it is tried again then.
    fn tell_step(
        &self,
        _run: &str,
        _step: &str,
        _values: &serde_json::Map<String, serde_json::Value>,
    ) -> impl Future<Output = bool> {
        async { true }
    }

    /// Whether steps record their own ends, so that nobody has to watch them to
    /// the end of a graceful stop.
    fn steps_report_themselves(&self) -> bool {
        false
    }
}

/// How a step failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It has no sandbox: it could not be started.
    Start,
    /// Its sandbox ended with a failure.
    Sandbox,
    /// Nothing was heard of its sandbox for too long.
    Silence,
}

/// The right to change a run, and what is known about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claim {
    /// Goes with every change; a later claim has a higher one.
    pub epoch: u64,
    /// Where steps stand that an earlier controller recorded something of.
    pub steps: Vec<Recorded>,
    /// Attempts that it recorded, those of one step by number.
    pub attempts: Vec<RecordedAttempt>,
    /// The stop that was asked for.
    pub stop: Option<StopMode>,
}

/// Where a step was left by an earlier controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Which.
    pub step: String,
    /// The attempt that it was at, counted from 0.
    pub attempt: u32,
    /// Where it stands. Pending: that attempt failed, and another one was to
    /// follow.
    pub status: StepStatus,
}

/// An attempt that an earlier controller recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedAttempt {
    /// At which step.
    pub step: String,
    /// Counted from 0.
    pub number: u32,
    /// What the create request went with.
    pub trace: Trace,
}

/// What is left of an attempt whose end is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Went with the create request.
    pub idempotency_key: String,
    /// The app that it went to.
    pub app_id: String,
    /// The sandbox, if it is known.
    pub sandbox: Option<String>,
}

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A sandbox is about to be created.
    Intent {
        /// For which step.
        step: String,
        /// Counted from 0.
        attempt: u32,
        /// Goes with the create request and its repetitions.
        idempotency_key: String,
        /// The app that they go to.
        app_id: String,
    },
    /// The sandbox exists.
    Created {
        /// For which step.
        step: String,
        /// Counted from 0.
        attempt: u32,
        /// The service's id.
        sandbox: String,
    },
    /// A step came to stand elsewhere.
    Step {
        /// Which.
        step: String,
        /// The attempt it is at.
        attempt: u32,
        /// Where it stands.
        status: StepStatus,
        /// When it ended with one.
        exit_code: Option<i32>,
        /// Why it did not complete.
        reason: Option<String>,
    },
    /// The run ended.
    Run {
        /// How.
        end: RunEnd,
        /// Why it did not complete.
        reason: Option<String>,
    },
    /// Facts for people and other programs.
    Metadata {
        /// About this step; none: about the run.
        step: Option<String>,
        /// Merged key by key over what is there.
        values: serde_json::Map<String, serde_json::Value>,
    },
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepStatus {
    /// Waits, also between two attempts.
    Pending,
    /// Has a sandbox, or is about to have one.
    Running,
    /// It ended.
    Final(FinalStatus),
}

/// Why the store refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be written or read.
    #[error("the run store failed: {0}")]
    Unavailable(String),
    /// Another controller has taken over.
    #[error("another controller has taken over this run")]
    Fenced,
    /// There is no such run.
    #[error("the run store does not know this run")]
    UnknownRun,
}
