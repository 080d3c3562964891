//! Runs plugins against a simulated Modal in virtual time.

pub mod limits;
pub mod scenario;
