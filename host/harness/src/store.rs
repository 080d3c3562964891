//! The run store of a simulation: outlives controllers, and fails or stalls.

use crate::network::{Life, World};
use crate::scenario::{StoreCall, StoreFault};
use flavor_host::contract::{Change, Claim, RunStatus, StopMode, StoreError};
use flavor_host::store::{MemoryStore, NewRun, RunStore, StoreFuture};
use futures::future::pending;
use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use tokio::time::sleep;

/// The store as one controller has it.
pub(crate) struct SimulatedStore {
    pub(crate) world: Arc<World>,
    pub(crate) life: Life,
    /// What survives.
    pub(crate) records: Arc<MemoryStore>,
    /// Steps that an earlier run has done.
    pub(crate) cached: Arc<BTreeSet<String>>,
}

impl SimulatedStore {
    /// One call of the plugin: counted, traced, and maybe its last.
    async fn import<T: fmt::Debug>(
        &self,
        call: StoreCall,
        arguments: String,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let trace = &self.world.trace;
        let (number, dies_after) = self.life.import(&self.world).await;
        trace.add(format_args!("store {number} {call:?} {arguments}"), &[]);
        let answer = match self.world.schedule.store_call(call) {
            Some(StoreFault::Fails) => {
                trace.add(format_args!("store {number} fails"), &[]);
                Err(StoreError::Unavailable(
                    "the store is out of order".to_owned(),
                ))
            }
            Some(StoreFault::Stalls(time)) => {
                trace.add(format_args!("store {number} stalls for {time:?}"), &[]);
                sleep(time).await;
                work.await
            }
            None => work.await,
        };
        if let Some(cut) = dies_after {
            trace.add(format_args!("killed after call {number}"), &[]);
            return self.life.end(cut).await;
        }
        // A dead controller's questions are not answered any more.
        if self.life.is_over() {
            return pending().await;
        }
        trace.add(format_args!("store {number} answers {answer:?}"), &[]);
        answer
    }

    /// What the host does by itself, for as long as it lives. `work` must not begin
    /// before it is asked for.
    async fn alive<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match self.life.is_over() {
            true => pending().await,
            false => work.await,
        }
    }
}

impl RunStore for SimulatedStore {
    fn create(&self, run: NewRun) -> StoreFuture<'_, ()> {
        Box::pin(async move { self.alive(async { self.records.create(run).await }).await })
    }

    fn open<'s>(&'s self, run: &'s str) -> StoreFuture<'s, Claim> {
        Box::pin(async move {
            // Done only when it is its turn.
            let work = async { self.records.open(run).await };
            self.import(StoreCall::Open, String::new(), work).await
        })
    }

    fn commit<'s>(&'s self, run: &'s str, epoch: u64, changes: Vec<Change>) -> StoreFuture<'s, ()> {
        Box::pin(async move {
            let told = format!("{epoch} {changes:?}");
            let work = async { self.records.commit(run, epoch, changes).await };
            self.import(StoreCall::Commit, told, work).await
        })
    }

    fn cached<'s>(&'s self, _: &'s str, step: &'s str) -> StoreFuture<'s, bool> {
        Box::pin(async move {
            let work = async { Ok(self.cached.contains(step)) };
            self.import(StoreCall::Cached, step.to_owned(), work).await
        })
    }

    fn wait_for_stop<'s>(
        &'s self,
        run: &'s str,
        known: Option<StopMode>,
    ) -> StoreFuture<'s, StopMode> {
        Box::pin(async move {
            let work = async { self.records.wait_for_stop(run, known).await };
            self.import(StoreCall::WaitForStop, format!("{known:?}"), work)
                .await
        })
    }

    fn request_stop<'s>(&'s self, run: &'s str, mode: StopMode) -> StoreFuture<'s, ()> {
        Box::pin(async move {
            self.alive(async { self.records.request_stop(run, mode).await })
                .await
        })
    }

    fn end<'s>(
        &'s self,
        run: &'s str,
        status: RunStatus,
        reason: Option<String>,
    ) -> StoreFuture<'s, ()> {
        Box::pin(async move {
            self.alive(async { self.records.end(run, status, reason).await })
                .await
        })
    }
}
