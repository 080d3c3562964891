//! A Modal server in the same process, for tests and benchmarks.
//!
//! Its sandboxes are no processes: their commands are a tiny language
//! ([`Command`]), and a [`Script`] says how long calls take and which of them
//! fail. It runs on a thread of its own with a runtime of its own, as a real
//! server would on its own machine, so that what a client costs can be told
//! from what the server costs ([`Server::cpu`]). It speaks plain HTTP/2 on
//! loopback and knows as much of Modal as a run of CPU steps needs.
//!
//! It trusts its caller: it checks no credentials and validates nothing.

mod answer;
mod command;
mod faults;
mod gate;
mod methods;
mod sandboxes;
mod server;

pub use command::Command;
pub use faults::{Faults, Throttle};
pub use gate::Gate;
pub use sandboxes::Ended;
pub use server::{Counts, Server};

use std::time::Duration;

/// How the server behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// Every answer comes this late.
    pub delay: Duration,
    /// An answer to a create request comes this much later still, and only then
    /// the sandbox begins to live.
    pub create_delay: Duration,
    /// Sandboxes in one page of a listing.
    pub page: usize,
    /// Streams that a client may open on one connection.
    pub streams: u32,
    /// Whether listings are offered at all.
    pub lists: bool,
    /// Calls that fail by chance.
    pub faults: Option<Faults>,
    /// How many sandboxes may be created in which time.
    pub throttle: Option<Throttle>,
}

impl Default for Script {
    /// A server that answers at once and never fails.
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            create_delay: Duration::ZERO,
            page: 100,
            streams: 100,
            lists: true,
            faults: None,
            throttle: None,
        }
    }
}
