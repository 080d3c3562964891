//! What is to come of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use flavor_host::contract::{RunStatus, StepStatus};
use serde_json::{Map, Value};

/// What is to come of a run. What it does not say may be anything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expectations {
    /// How the run ends.
    pub run: Option<RunEnd>,
    /// A part of what is said about why.
    pub error: Option<String>,
    /// The final statuses of steps.
    pub steps: BTreeMap<String, StepStatus>,
    /// How often steps are attempted.
    pub attempts: BTreeMap<String, u32>,
    /// The exit codes of steps' last attempts.
    pub exit_codes: BTreeMap<String, i32>,
    /// Parts of the reasons of steps' last attempts.
    pub reasons: BTreeMap<String, String>,
    /// These come one after another, whatever comes in between.
    pub order: Vec<Milestone>,
    /// These and no others come, in this order.
    pub events: Option<Vec<Milestone>>,
    /// Parts of warnings. Each of them is in one at least.
    pub warnings: Vec<String>,
    /// What steps write to standard output, all of it.
    pub output: BTreeMap<String, String>,
    /// How often methods of the service are called.
    pub calls: BTreeMap<String, Count>,
    /// How many sandboxes are created.
    pub sandboxes: Option<Count>,
    /// How long the run takes.
    pub duration: Option<Range<Duration>>,
    /// How many steps run at the same time, at most.
    pub most_running: Option<Count>,
    /// Facts about the run, key by key; others may be there.
    pub run_metadata: Map<String, Value>,
    /// Facts about steps, key by key; others may be there.
    pub step_metadata: BTreeMap<String, Map<String, Value>>,
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// It does not begin: the plugin refuses the pipeline, or the service is not
    /// there.
    Refused,
    /// It begins and comes to this end.
    Ended(RunStatus),
    /// It begins, and its controller is lost without an end.
    Interrupted,
}

/// How often.
pub type Count = Range<u64>;

/// A least and a most, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range<T> {
    /// At least so much.
    pub least: Option<T>,
    /// At most so much.
    pub most: Option<T>,
}

impl<T: PartialOrd + Copy> Range<T> {
    /// Exactly so much.
    #[must_use]
    pub fn exactly(value: T) -> Self {
        Self {
            least: Some(value),
            most: Some(value),
        }
    }

    /// Whether a value is within.
    #[must_use]
    pub fn includes(&self, value: T) -> bool {
        self.least.is_none_or(|least| least <= value) && self.most.is_none_or(|most| value <= most)
    }
}

/// Something that a step passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Milestone {
    /// The step.
    pub step: String,
    /// Its attempt, counted from 0; `None` for any.
    pub attempt: Option<u32>,
    /// What.
    pub passed: Passed,
}

/// What a step passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// An attempt has its sandbox.
    Started,
    /// An attempt ends, whatever its status.
    Finished,
    /// An attempt ends with this status.
    Ended(StepStatus),
}
