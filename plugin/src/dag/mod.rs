//! DAG control: which step may start, is skipped, or is to be ended.
//!
//! [`graph`] holds the graph, [`machine`] the state of a run. Both are pure;
//! the asynchronous shell that carries out their commands is [`crate::run`].

pub mod graph;
pub mod machine;

#[cfg(test)]
mod machine_properties;
#[cfg(test)]
mod machine_tests;
