//! Run stores: what a run has done so far.
//!
//! [`RunStore`] is what a plugin sees of one, through the contract's import
//! `run-store`. [`SqliteStore`] is the embedded one.

mod memory;
mod own_run;
mod records;
mod sqlite;
mod words;

pub use memory::MemoryStore;
pub(crate) use own_run::OwnRun;
pub use records::{
    AttemptRecord, CacheRecord, EarlierStep, NewRun, RunAttempts, RunRecord, RunSummary, StepRecord,
};
pub use sqlite::{SqliteStore, StoreOpenError};

use crate::contract::{Change, Claim, RunStatus, StopMode, StoreError};
use std::future::Future;
use std::pin::Pin;

/// A future of a store.
pub type StoreFuture<'s, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 's>>;

/// Where the runs of a host are kept; the host's side of the contract's
/// `run-store`, whose documentation says what each function promises. A plugin
/// reaches its own run through it and no other.
pub trait RunStore: Send + Sync {
    /// Makes a run known, with all its steps. The first thing that happens to a
    /// run; `Unavailable` when its id is taken.
    fn create(&self, run: NewRun) -> StoreFuture<'_, ()>;

    /// Takes charge of a run.
    fn open<'s>(&'s self, run: &'s str) -> StoreFuture<'s, Claim>;

    /// Records changes, all or none.
    fn commit<'s>(&'s self, run: &'s str, epoch: u64, changes: Vec<Change>) -> StoreFuture<'s, ()>;

    /// Whether a step of an earlier run has completed under the cache key of this
    /// step. A step without a key has none, and so has every step of a store that
    /// keeps no keys.
    fn cached<'s>(&'s self, run: &'s str, step: &'s str) -> StoreFuture<'s, bool> {
        let _ = (run, step);
        Box::pin(std::future::ready(Ok(false)))
    }

    /// Waits for a stop that goes further than the known one.
    fn wait_for_stop<'s>(
        &'s self,
        run: &'s str,
        known: Option<StopMode>,
    ) -> StoreFuture<'s, StopMode>;

    /// Asks for a stop. One that goes no further than an earlier one changes
    /// nothing.
    fn request_stop<'s>(&'s self, run: &'s str, mode: StopMode) -> StoreFuture<'s, ()>;

    /// Records how a run ended that no plugin can record any more.
    fn end<'s>(
        &'s self,
        run: &'s str,
        status: RunStatus,
        reason: Option<String>,
    ) -> StoreFuture<'s, ()>;
}
