//! A plugin that attacks its host.
//!
//! It does what a pipeline tells it: each step's command is one attack and its
//! arguments. `check` gives back what came of each; `run` tells it in warnings, one
//! for each step, and ends as completed. A pipeline named `before` has the attacks
//! made before the run is accepted.
//!
//! What attacks when there is no pipeline yet is built in: see `component::mode`.
//!
//! Natively this crate is empty.

#[cfg(target_family = "wasm")]
mod component;
