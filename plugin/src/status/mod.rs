//! How runs and steps stand that another process started, and stopping them.
//!
//! [`execution`] holds ZenML's statuses, [`sandboxes`] what is asked of Modal
//! and [`records`] what of ZenML's server; [`fetch`] looks, [`wait`] waits,
//! [`stop`] ends.

pub mod execution;
pub mod fetch;
pub mod records;
pub mod sandboxes;
pub mod stop;
#[cfg(test)]
mod tests;
pub mod wait;

pub use execution::ExecutionStatus;
pub use records::{Records, RunRecord, Shape, StepRecord};
pub use sandboxes::Sandboxes;
