//! A local Modal: one server that speaks Modal's gRPC, control plane and worker
//! plane, and runs sandboxes as processes of this machine.
//!
//! It isolates nothing. Commands run as you, on this machine's file system;
//! images are ignored, processors and memory are recorded and not enforced. It
//! is there so that a pipeline runs without an account, and so that tests cross
//! the real wire: Modal's own clients can be pointed at it with
//! `MODAL_SERVER_URL`, `MODAL_TOKEN_ID` and `MODAL_TOKEN_SECRET`.
//!
//! ```no_run
//! # async fn example() -> Result<(), modal_local::Error> {
//! use modal_local::{Options, Server};
//!
//! let server = Server::start(Options::default()).await?;
//! println!("MODAL_SERVER_URL={}", server.url());
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # How it is built
//!
//! [`Service`] is a tower service: it authenticates a call and hands it to the
//! control plane or the worker plane. Both work on one in-memory state. Every
//! sandbox is one task that has it recorded, runs it through an executor, times
//! it out or ends it, and has its end recorded before anyone hears of it.
//!
//! Process facts the design rests on:
//!
//! - A command leads its own process group, and carries a marker variable by
//!   which everything that it started is found, in whatever group or session.
//! - It is recorded (pid, start time, boot) by itself, before it executes. A
//!   server killed with SIGKILL leaves its commands running; the next one on
//!   the same state directory ends them before it listens, and answers
//!   TERMINATED for their sandboxes.
//! - Output goes through pipes into files bounded in size. A command that
//!   writes faster than the disk waits; one that is executed in a sandbox also
//!   waits for those who read it, once it has written as much as is kept.
//! - Commands executed in a sandbox lead groups of their own and carry its
//!   marker. They end with the sandbox: each is killed with its group, then
//!   everything with the marker.
//! - The file tool that the official clients execute is no process: it works in
//!   the sandbox's directory, through handles that no path leads out of.
//! - A snapshot is a list of files named by their content, which is kept once.

#[cfg(not(target_os = "linux"))]
compile_error!("the local Modal needs Linux: it finds and ends processes through pidfds and /proc");

mod activity;
mod auth;
mod clock;
mod control;
mod core;
mod environment;
mod error;
mod execs;
mod executor;
mod ids;
mod journal;
mod lifecycle;
mod limits;
mod names;
mod quota;
mod random;
mod router;
mod sandbox;
mod server;
mod service;
pub mod simulated;
mod snapshots;
mod state_dir;
mod stdin;
mod store;
mod sync;
mod token;
mod unimplemented;
#[cfg(test)]
mod virtual_time;

pub use self::{
    auth::Credentials,
    error::Error,
    executor::process::{Prepare, PrepareSandbox},
    limits::Limits,
    server::{Options, Server},
    service::Service,
    state_dir::State,
};
