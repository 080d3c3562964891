//! The local Modal, over a socket, by a client that knows only the protocol.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking, their helpers too"
)]

mod auth;
mod catalog;
mod contract;
mod create;
mod exec;
mod files;
mod harness;
mod life;
mod listing;
mod logs;
mod output;
mod process;
mod quota;
mod restart;
mod scale;
mod snapshots;
mod stdin;
mod terminal;
mod wire;
