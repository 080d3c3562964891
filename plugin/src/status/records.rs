//! What ZenML's server knows about a run.

use super::ExecutionStatus;
use crate::metadata::{self, Metadata};
use crate::names::metadata as key;
use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// ZenML's id of it.
    pub id: String,
    /// Where it stands.
    pub status: ExecutionStatus,
    /// What is known about it.
    pub metadata: Metadata,
    /// Its steps, when they came with it.
    pub steps: Option<Vec<StepRecord>>,
    /// Static or dynamic, when that is known.
    pub shape: Option<Shape>,
    /// Its id as the orchestrator gave it out; none before it was submitted.
    pub orchestrator_run_id: Option<String>,
}

/// A step of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRecord {
    /// Its name in the pipeline.
    pub name: String,
    /// Where it stands.
    pub status: ExecutionStatus,
    /// What is known about it.
    pub metadata: Metadata,
}

/// Who decides about the steps of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A controller of ours, from a graph that is known in advance.
    Static,
    /// The pipeline itself, while it runs.
    Dynamic,
}

impl RunRecord {
    /// The sandbox in which the controller of the run lives.
    pub fn controller(&self) -> Option<String> {
        metadata::name(&self.metadata, key::ORCHESTRATION_SANDBOX)
    }

    /// The sandboxes of steps: what the steps say, and what the run says about
    /// steps that cannot speak for themselves yet.
    pub fn children(&self) -> BTreeSet<String> {
        let steps = self.steps.iter().flatten();
        let own = steps.filter_map(|step| metadata::name(&step.metadata, key::SANDBOX));
        let on_run = metadata::names_below(&self.metadata, key::STEP_SANDBOX_PREFIX);
        own.chain(on_run.into_iter().map(|(_, sandbox)| sandbox))
            .collect()
    }
}

/// The way to what the server knows.
pub trait Records {
    /// Why it did not answer.
    type Error: fmt::Display;

    /// The run as it stands now, with its steps.
    fn run(&self) -> impl Future<Output = Result<RunRecord, Self::Error>>;

    /// Makes known that the run is to stop, and why.
    fn mark_stopping(&self, reason: &str) -> impl Future<Output = Result<(), Self::Error>>;
}

/// The run as it stands now; as it stood, when the server does not answer.
pub(super) async fn refreshed(records: &impl Records, known: &RunRecord) -> RunRecord {
    match records.run().await {
        Ok(run) => run,
        Err(_) => known.clone(),
    }
}
