//! The plugin's way to the network: `wasi:http` under a policy.
//!
//! [`gate`] decides about a request and adds credentials, [`clients`] holds the
//! HTTP clients and their resolver, [`body`] watches over what flows.

mod body;
mod clients;
mod gate;

pub(crate) use gate::{Gate, GateOptions};
