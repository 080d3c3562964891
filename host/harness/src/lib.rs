//! Runs plugins against a simulated Modal in virtual time: a day in a second, the
//! same every time.
//!
//! The plugin is byte for byte the component that runs in production, in the same
//! host under the same limits. Around it everything is simulated: Modal answers
//! in-process, commands are scripted, clocks are virtual, and all chance comes from a
//! seed. Requests get lost, controllers are killed and stores stall where a
//! [`Scenario`](scenario::Scenario) or its seed says so.
//!
//! ```
//! use flavor_harness::{Simulation, scenario::{RunEnd, Scenario}};
//! use flavor_host::contract::RunStatus;
//!
//! let simulation = Simulation::new(default_plugin::COMPONENT)?;
//! let text = "
//!     pipeline: {name: nightly, steps: {train: {command: [python, train.py]}}}
//!     steps: {train: {runs: 28800}}
//!     faults: [{fault: lost_reply, call: SandboxCreateV2}]
//! ";
//! let scenario = Scenario::parse("nightly.yaml", text.as_bytes(), |path| std::fs::read(path))?;
//! let outcome = simulation.run(&scenario, 1);
//! assert_eq!(outcome.end, RunEnd::Ended(RunStatus::Completed));
//! assert_eq!(outcome.sandboxes, 1);
//! assert!(outcome.violations.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a seed fixes
//!
//! The scenario, the seed and the component give the [`Outcome`], whatever else this
//! machine does: the order and the virtual time at which import calls complete, ids,
//! random numbers, faults. [`Outcome::trace_hash`] is a hash over every import call
//! with its arguments, its answer and its time. Everything happens on the calling
//! thread; a guest that computes is interrupted only to be ended.
//!
//! # What is judged
//!
//! Every run by the rules that hold whatever goes wrong ([`Rule`]); they look at it
//! from outside, at what the service has seen, what was recorded and what was told.
//! [`shrink`] finds the few faults that a failure takes, and
//! [`Scenario::to_yaml`](scenario::Scenario::to_yaml) writes them down.
//! [`random_scenario`] makes pipelines and faults that nobody chose.

mod chance;
mod check;
mod clock;
pub mod limits;
mod network;
mod outcome;
mod random;
pub mod scenario;
mod schedule;
mod script;
mod shrink;
mod simulation;
mod store;
mod trace;
mod verdict;

pub use outcome::{Outcome, Rule, StepOutcome, Violation};
pub use random::random_scenario;
pub use shrink::{Shrunk, broken_rules, shrink};
pub use simulation::{Simulation, SimulationError};
pub use verdict::{Difference, word};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
