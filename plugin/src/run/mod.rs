//! Runs a pipeline: the asynchronous shell around [`crate::dag`].
//!
//! [`plan`] turns what the host hands in into something that cannot be wrong,
//! [`runner`] drives the state machine, [`controller`] makes its steps sandboxes,
//! [`attempt`] is the life of one sandbox, `adoption` that of one which an earlier
//! controller has begun, `left` says where that was, [`starting`] bounds how many start at a
//! time, [`watch`] learns when sandboxes end, [`publication`] tells the step where
//! it runs, [`journal`] writes to the run store in groups, [`events`] is what the
//! host hears meanwhile. [`zenml`] is a run store on ZenML's server.

mod adoption;
pub mod attempt;
pub mod controller;
pub mod events;
pub mod journal;
mod left;
pub mod plan;
pub mod publication;
pub mod runner;
pub mod starting;
pub mod store;
#[cfg(test)]
mod tests;
pub mod watch;
pub mod zenml;
