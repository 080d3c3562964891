//! Configurations and settings.

pub mod class;
pub mod document;
pub mod fault;
mod fields;
pub mod lax;
pub mod orchestrator;
pub mod reference;
pub mod sandbox;
pub mod settings;

pub use class::Class;
pub use document::Document;
pub use fault::FieldFault;
pub use fields::LONGEST_TIMEOUT;
