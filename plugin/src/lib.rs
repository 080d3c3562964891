//! ZenML's Modal integration as a WebAssembly component.
//!
//! All decisions of its three flavors are made here; everything that touches
//! the world is an import that the host answers under its policy. The modules
//! below compile natively too, so that most tests need no WebAssembly; the
//! glue to the component's world is the module `component`, which exists only
//! there.

pub mod catalog;
#[cfg(target_family = "wasm")]
mod component;
pub mod config;
#[cfg(any(feature = "conformance", test))]
pub mod conformance;
pub mod credentials;
pub mod dag;
pub mod entrypoint;
pub mod environment;
pub mod kept;
pub mod limits;
pub mod metadata;
pub mod modal;
pub mod names;
pub mod platform;
pub mod registry;
pub mod resources;
pub mod run;
pub mod sandbox;
pub mod status;
pub mod submission;
#[cfg(test)]
mod testing;
pub mod text;
pub mod validator;
