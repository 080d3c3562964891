//! Loads flavor plugins and runs pipelines through them without trusting them.
//!
//! A plugin is a WebAssembly component of the world `zenml:flavor/flavor@0.1.0`. It
//! decides everything about its execution service and can reach nothing but what this
//! crate hands it: HTTP under a policy, a clock, chance, a run store and a log.
//!
//! ```no_run
//! # async fn example(
//! #     component: &[u8],
//! #     pipeline: flavor_host::contract::Pipeline,
//! #     target: flavor_host::Target,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use flavor_host::{Host, RunRequest, store::MemoryStore};
//! use std::sync::Arc;
//!
//! let host = Host::new()?;
//! let plugin = host.load(component).await?;
//! let store = Arc::new(MemoryStore::new());
//! let mut run = plugin.run(RunRequest::new(pipeline, target, store)).await?;
//! while let Some(event) = run.next().await {
//!     println!("{event:?}");
//! }
//! let finished = run.finish().await?;
//! println!("{:?}", finished.status);
//! # Ok(())
//! # }
//! ```
//!
//! # What a host app should know
//!
//! - **Runtime.** Everything runs on the tokio runtime that calls it; its I/O and time
//!   drivers must be on. One thread is enough, several are fine. A thread of the host's
//!   own ticks for CPU limits while instances live.
//! - **Send.** [`Host`], [`Plugin`], [`Run`] and everything in [`session`] are `Send` and
//!   `Sync`, but for streams, which are `Send`. The futures of their methods are `Send`.
//! - **Instances.** Each run has an instance of its own, each session and each other
//!   call too. An instance that trapped, overran a limit or was cut off is never used
//!   again.
//! - **Dropping** a [`Run`] stops it by force in the background, for at most ten
//!   seconds; so does giving up [`Plugin::run`] while it starts. Not reading events
//!   holds the plugin up once [`Limits::events_waiting`] is reached: read, or drop.
//!   Dropping a [`session::Session`] leaves its sandbox alone unless it was created to
//!   be destroyed on exit; dropping the future of a call that asks the service cuts the
//!   plugin off in the middle of it.
//! - **Errors.** [`Error::Plugin`] carries the contract's typed error: bad input, a
//!   refusal of the policy, the service's own status, an unreachable service, a lost
//!   store. Of these only `Unreachable` and service errors may go away by themselves.
//!   The other variants of [`Error`] mean a defect of the plugin; the host lives.
//! - **Recording.** What must survive goes through a [`store::RunStore`] before it is
//!   acted on. [`Plugin::resume`] takes a run up again whose controller died or was let go
//!   of with [`Run::abandon`]. [`state::StateDir`] keeps runs on disk, [`store::MemoryStore`] as long as
//!   the process lives.

mod connection;
pub mod contract;
pub mod credentials;
mod digest;
mod engine;
mod error;
mod events;
mod guest;
mod host;
mod http;
mod imports;
mod instance;
mod limits;
mod log;
pub mod outputs;
mod redact;
mod room;
mod run;
pub mod session;
pub mod state;
mod step_operator;
pub mod store;
mod submitted;
pub mod surroundings;
mod target;
mod wasi;
pub mod zenml;

pub use connection::Connection;
pub use digest::Digest;
pub use error::{Error, LoadError};
pub use flavor_policy as policy;
pub use host::{Host, HostBuilder, Plugin};
pub use http::{Resolved, Resolver, SystemResolver};
pub use limits::Limits;
pub use run::{Run, RunRequest, StartError};
pub use target::{MODAL_URL, Target, TargetError};
