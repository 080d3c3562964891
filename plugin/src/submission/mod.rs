//! Starts sandboxes that ZenML's own code runs in: controllers of runs, steps
//! that a controller starts, isolated steps, and steps of the step operator.
//!
//! [`service`] is what is asked of Modal, [`images`] finds the image that was
//! built, [`sandbox`] puts together what a sandbox is to be; [`controller`] and
//! [`step`] are the submissions themselves.

pub mod controller;
pub mod error;
pub mod images;
pub mod sandbox;
pub mod service;
pub mod step;
#[cfg(test)]
mod tests;

pub use error::SubmitError;
pub use images::BuiltImages;
pub use sandbox::{Placement, StepResources};
pub use service::{SandboxRequest, Service};
