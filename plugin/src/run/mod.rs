//! Runs a pipeline: the asynchronous shell around [`crate::dag`].
//!
//! [`plan`] turns what the host hands in into something that cannot be wrong,
//! [`controller`] carries out the state machine's commands, [`attempt`] is the
//! life of one sandbox, [`starting`] bounds how many start at a time, [`watch`]
//! learns when sandboxes end, [`journal`] writes to the run store in groups,
//! [`events`] is what the host hears meanwhile.

pub mod attempt;
pub mod controller;
pub mod events;
pub mod journal;
pub mod plan;
pub mod starting;
pub mod store;
#[cfg(test)]
mod tests;
pub mod watch;
