//! Configurations and settings.

pub mod fault;
pub mod lax;
pub mod orchestrator;

pub use fault::FieldFault;
