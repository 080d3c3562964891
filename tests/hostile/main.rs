//! Guests and servers that attack the host, through its public interface. What
//! the guest does is in `tests/guests/hostile`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "tests fail by panicking, their helpers too"
)]

mod budgets;
mod components;
mod computing;
mod crashing;
mod credentials;
mod dropping;
mod events;
mod harness;
mod imports;
mod logs;
mod memory;
mod network;
mod records;
mod secrets;
mod servers;
mod sessions;
