//! Interactive sessions in sandboxes: what ZenML's sandbox flavor decides. The
//! service and whoever opens a session are behind the traits of [`service`].

pub mod component;
pub mod error;
pub mod lines;
mod log;
pub mod modal;
pub mod process;
pub mod service;
pub mod session;
pub mod words;
