//! What came of a run.

use crate::scenario::{Fault, RunEnd};
use flavor_host::contract::{Event, StepStatus};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What came of a run. All times are virtual.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// How it ended.
    pub end: RunEnd,
    /// Why, when that was neither a step nor a stop.
    pub error: Option<String>,
    /// Its steps, in the order of declaration.
    pub steps: Vec<StepOutcome>,
    /// What it told, and when, from the start of the run. After a killed controller
    /// its successor goes on.
    pub events: Vec<(Duration, Event)>,
    /// How often each method of the service was called.
    pub calls: BTreeMap<String, u64>,
    /// How many sandboxes were created.
    pub sandboxes: u64,
    /// How many sandboxes there were at one time, at most.
    pub most_running: u64,
    /// Facts that were recorded about the run.
    pub run_metadata: Map<String, Value>,
    /// How long it took.
    pub duration: Duration,
    /// SHA-256 over every import call, its arguments, its answer and the virtual
    /// time; hexadecimal digits.
    pub trace_hash: String,
    /// How many entries the trace has.
    pub trace_entries: u64,
    /// The beginning of the trace, an entry a line; empty unless it was asked for.
    pub trace: Vec<String>,
    /// What went wrong on purpose, by script or by seed.
    pub faults: Vec<Fault>,
    /// What must never happen and did.
    pub violations: Vec<Violation>,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepOutcome {
    /// Its name.
    pub name: String,
    /// Its final status, or the last one that was recorded.
    pub status: StepStatus,
    /// How often it was attempted.
    pub attempts: u32,
    /// Of the last attempt, when that ended with one.
    pub exit_code: Option<i32>,
    /// Why the last attempt did not complete.
    pub reason: Option<String>,
    /// Facts that were recorded about it.
    pub metadata: Map<String, Value>,
}

/// Something that must never happen, whatever goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which rule was broken.
    pub rule: Rule,
    /// How, naming the step or the sandbox.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

/// What holds in every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// No step starts before all steps that it comes after have completed.
    UpstreamsFirst,
    /// No attempt has two sandboxes, and no step more attempts than its retries
    /// allow.
    RunsOnce,
    /// Every sandbox is ended when the run is, or somebody was told of it.
    NothingLeft,
    /// After a forced stop no sandbox is created that is not ended at once, and a
    /// stopped run is not said to have failed.
    StopWins,
    /// The run's status follows from those of its steps, and theirs from their
    /// sandboxes.
    Consistent,
    /// No token is in an event, a log line or a record.
    NoSecrets,
    /// Calls and memory stay within bounds.
    Bounded,
    /// The run ends, and its plugin survives.
    Ends,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UpstreamsFirst => "no step starts before its upstreams completed",
            Self::RunsOnce => "no step runs more often than its policy allows",
            Self::NothingLeft => "no sandbox is left behind",
            Self::StopWins => "a stop wins",
            Self::Consistent => "statuses fit together",
            Self::NoSecrets => "nothing secret is told",
            Self::Bounded => "calls and memory are bounded",
            Self::Ends => "a run ends",
        })
    }
}
