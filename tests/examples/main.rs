//! The examples, as a newcomer runs them: through the binary, on this machine.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "tests fail by panicking, their helpers too"
)]

mod files;
mod harvest;
mod modal;
mod page;
mod scripts;
mod world;
