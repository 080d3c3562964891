//! The plugin's way to the network: `wasi:http` under a policy.
//!
//! [`gate`] decides about a request and adds credentials, [`clients`] holds the
//! HTTP clients, [`resolver`] looks names up, [`body`] watches over what flows.

mod body;
mod clients;
mod gate;
mod resolver;

pub(crate) use gate::{Gate, GateOptions};
pub use resolver::{Resolved, Resolver, SystemResolver};
