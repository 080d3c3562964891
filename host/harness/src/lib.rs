//! Runs plugins against a simulated Modal in virtual time.

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
