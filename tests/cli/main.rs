//! The command line tool `flavor`, through its binary alone: what others script
//! and what people see.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "tests fail by panicking, their helpers too"
)]

mod bad_pipelines;
mod cache;
mod crash;
mod credentials;
mod doctor;
mod environment;
mod exec;
mod files;
mod harness;
mod help;
mod json;
mod logs;
mod memory;
mod modal_local;
mod modes;
mod pipes;
mod reap;
mod remote;
mod resume;
mod retries;
mod run;
mod run_ids;
mod runs;
mod sandboxes;
mod scenarios;
mod signals;
mod steps;
mod stop;
mod store;
mod terminal;
