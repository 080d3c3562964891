//! Runs plugins against a simulated Modal in virtual time.

mod chance;
mod check;
mod clock;
pub mod limits;
mod network;
mod outcome;
pub mod scenario;
mod schedule;
mod script;
mod shrink;
mod simulation;
mod store;
mod trace;

pub use outcome::{Outcome, Rule, StepOutcome, Violation};
pub use shrink::{Shrunk, broken_rules, shrink};
pub use simulation::{Simulation, SimulationError};
