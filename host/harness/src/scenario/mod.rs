//! Scenarios: a pipeline, what its steps do, what goes wrong, and what is to come
//! of it.
//!
//! [`Scenario::load`] reads one from its file. All times are virtual.

mod convert;
mod expect;
mod fault;
mod read;
mod step;
mod words;
mod write;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use flavor_host::contract::StopMode;
use pipeline_file::PipelineFile;

pub use convert::{DEFAULT_IMAGE, contract_pipeline};
pub use expect::{Count, Expectations, Milestone, Passed, Range, RunEnd};
pub use fault::{
    CallFault, Calls, Fault, Moment, Occasion, Rpc, SandboxFault, StoreCall, StoreFault, When,
};
pub use step::{Behaviour, End, Written};

/// One scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// What it is about.
    pub name: String,
    /// The pipeline that is run.
    pub pipeline: PipelineFile,
    /// Where the pipeline was read from, when that is another file than the
    /// scenario's: as the scenario writes it.
    pub pipeline_path: Option<String>,
    /// Steps that may run at the same time; without one as many as there are.
    pub max_parallelism: Option<NonZeroU32>,
    /// Fixes all chance, where the caller gives no seed of its own.
    pub seed: u64,
    /// What the simulated service has and how quick it is.
    pub service: Capacity,
    /// What steps do, attempt by attempt; the last one stands for further ones.
    /// Never an empty list.
    pub behaviours: BTreeMap<String, Vec<Behaviour>>,
    /// What steps do that [`Scenario::behaviours`] does not name.
    pub default_behaviour: Behaviour,
    /// Steps that an earlier run has done; the run store calls them cached.
    pub cached: Vec<String>,
    /// Stops that a user asks for, in the order of their times.
    pub stops: Vec<(Duration, StopMode)>,
    /// What goes wrong, by script.
    pub faults: Vec<Fault>,
    /// What goes wrong, by seed.
    pub chance: Chance,
    /// What is to come of it.
    pub expect: Expectations,
}

impl Scenario {
    /// A pipeline whose steps all run for a second and complete, with nothing going
    /// wrong and nothing expected.
    #[must_use]
    pub fn of(pipeline: PipelineFile) -> Self {
        Self {
            name: pipeline.name.clone(),
            pipeline,
            pipeline_path: None,
            max_parallelism: None,
            seed: 0,
            service: Capacity::default(),
            behaviours: BTreeMap::new(),
            default_behaviour: Behaviour::default(),
            cached: Vec::new(),
            stops: Vec::new(),
            faults: Vec::new(),
            chance: Chance::default(),
            expect: Expectations::default(),
        }
    }

    /// What a step does in one of its attempts, counted from 0.
    #[must_use]
    pub fn behaviour(&self, step: &str, attempt: u32) -> &Behaviour {
        let Some(attempts) = self.behaviours.get(step) else {
            return &self.default_behaviour;
        };
        let index = usize::try_from(attempt).unwrap_or(usize::MAX);
        let of_attempt = attempts.get(index).or(attempts.last());
        of_attempt.unwrap_or(&self.default_behaviour)
    }
}

/// What the simulated service has, and how quick it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Capacity {
    /// GPUs by kind. A sandbox waits until those that it asks for are free. A kind
    /// that is not named is never short.
    pub gpus: BTreeMap<String, u32>,
    /// Sandboxes at once; a further one is RESOURCE_EXHAUSTED.
    pub sandboxes: Option<u32>,
    /// How long an image is built that is not there yet.
    pub image_build: Duration,
    /// Whether image builds fail.
    pub image_build_fails: bool,
    /// From a request's leaving to its arrival, and the same back.
    pub latency: Duration,
    /// How long a short-lived token is good for.
    pub token_lifetime: Duration,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            gpus: BTreeMap::new(),
            sandboxes: None,
            image_build: Duration::ZERO,
            image_build_fails: false,
            latency: Duration::from_millis(1),
            // Modal's own: the clients ask again five minutes before.
            token_lifetime: Duration::from_secs(1200),
        }
    }
}

/// How often something goes wrong by chance. All of it follows from the seed.
///
/// The default is that nothing does.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Chance {
    /// Share of the calls to the service that a fault befalls, from 0 to 1.
    pub calls: f64,
    /// Share of the calls to the run store that a fault befalls, from 0 to 1.
    pub store: f64,
    /// Share of the sandboxes that die, hang, are evicted or never start, from 0
    /// to 1.
    pub sandboxes: f64,
    /// How often the controller is killed, at most.
    pub kills: u32,
    /// How often the clock jumps, at most.
    pub clock_jumps: u32,
}

impl Chance {
    /// What `flavor test --chaos` does to a pipeline.
    pub const CHAOS: Self = Self {
        calls: 0.05,
        store: 0.01,
        sandboxes: 0.02,
        kills: 1,
        clock_jumps: 1,
    };

    /// Whether nothing goes wrong.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}
