//! A client for Modal: the operations that the flavors need, with the retries,
//! idempotency keys and server-directed waits of the official SDK.

pub mod app;
pub mod auth;
pub mod call;
pub mod catalogue;
pub mod channel;
pub mod error;
pub mod image;
pub mod output;
pub mod recovery;
pub mod result;
pub mod retry;
pub mod router;
pub mod rpc;
pub mod sandbox;
pub mod secret;
#[cfg(test)]
mod tests;

pub use call::{CallOptions, Client, ClientOptions};
pub use error::CallError;
