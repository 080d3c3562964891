//! What a store tells about runs.

use crate::contract::{RunStatus, StepStatus};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A run that is about to begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRun {
    /// Unique among the runs of the store.
    pub id: String,
    /// Name of the pipeline.
    pub name: String,
    /// Where it is sent.
    pub target: String,
    /// Names of its steps, in the order of declaration.
    pub steps: Vec<String>,
    /// Cache keys by steps, of those whose results may stand for later ones and
    /// for which earlier ones may stand.
    pub cache_keys: BTreeMap<String, String>,
    /// What the cache keys were made of, by steps, in a form of the host app's own.
    /// The store only keeps it: it tells why a step was not cached.
    pub cache_parts: BTreeMap<String, String>,
    /// What the host app needs to start the run again, in a form of its own. The
    /// store only keeps it.
    pub document: Option<String>,
}

/// A run in a list. Times are microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSummary {
    /// Unique among the runs of the store.
    pub id: String,
    /// Name of the pipeline.
    pub name: String,
    /// Where it was sent.
    pub target: String,
    /// As recorded: the store cannot tell whether a controller still lives.
    pub status: RunStatus,
    /// Why it did not complete.
    pub reason: Option<String>,
    /// When it was made known.
    pub created_at: i64,
    /// When it ended.
    pub ended_at: Option<i64>,
}

/// A run with its steps.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// The run itself.
    pub summary: RunSummary,
    /// In the order of declaration.
    pub steps: Vec<StepRecord>,
    /// Facts about the run.
    pub metadata: Map<String, Value>,
}

/// A step of a run. Times are microseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRecord {
    /// Unique in the run.
    pub name: String,
    /// Where it stands.
    pub status: StepStatus,
    /// The last attempt, counted from 0.
    pub attempt: u32,
    /// When it ended with one.
    pub exit_code: Option<i32>,
    /// Why it did not complete.
    pub reason: Option<String>,
    /// When its first attempt had a sandbox.
    pub started_at: Option<i64>,
    /// When it got its final status.
    pub ended_at: Option<i64>,
    /// The sandbox of the last attempt.
    pub sandbox: Option<String>,
    /// Facts about the step.
    pub metadata: Map<String, Value>,
}

/// What is recorded of the attempts of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAttempts {
    /// Where the run was sent.
    pub target: String,
    /// That of its last controller.
    pub epoch: u64,
    /// All attempts, in no order.
    pub attempts: Vec<AttemptRecord>,
}

/// An attempt at a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// At which step.
    pub step: String,
    /// Counted from 0.
    pub number: u32,
    /// Its sandbox; none while it is not known whether there is one.
    pub sandbox: Option<String>,
}

/// A step that has a cache key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRecord {
    /// Unique in the run.
    pub step: String,
    /// Its key.
    pub key: String,
    /// What the key was made of, as [`NewRun::cache_parts`] had it.
    pub parts: Option<String>,
    /// The step that had completed under the same key.
    pub source: Option<EarlierStep>,
    /// The step of the same name that completed last in an earlier run of a pipeline
    /// of the same name, under whatever key.
    pub last: Option<EarlierStep>,
}

/// A step that has completed under a cache key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlierStep {
    /// Of which run.
    pub run: String,
    /// Its name there.
    pub step: String,
    /// What its key was made of, as [`NewRun::cache_parts`] had it.
    pub parts: Option<String>,
}
