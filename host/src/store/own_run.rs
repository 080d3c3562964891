//! What a plugin reaches of a run store: its own run, and so much of it at a
//! time.

use super::RunStore;
use crate::contract::{Change, Claim, RunChange, RunStatus, StopMode, StoreError};
use crate::limits::{Limits, STOP_QUESTIONS, STORE_CALLS};
use crate::redact::Redactor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The one run that an instance was started for. Others do not exist for it.
pub(crate) struct OwnRun {
    id: String,
    store: Arc<dyn RunStore>,
    redactor: Redactor,
    /// Whether any of its steps has a cache key.
    has_cache_keys: bool,
    /// Bytes that may still be recorded.
    left: AtomicU64,
    /// Bytes that may be on their way to the store.
    room: Semaphore,
    calls: Semaphore,
    questions: Semaphore,
    /// Of the last claim; 0: none.
    epoch: AtomicU64,
    /// Whether sandboxes may exist that nobody would look after if the run was
    /// recorded as ended.
    has_begun: AtomicBool,
}

impl OwnRun {
    pub(crate) fn new(
        id: String,
        store: Arc<dyn RunStore>,
        redactor: Redactor,
        has_cache_keys: bool,
        limits: &Limits,
    ) -> Self {
        Self {
            id,
            store,
            redactor,
            has_cache_keys,
            left: AtomicU64::new(limits.record_bytes),
            room: Semaphore::new(limits.call_bytes.min(Semaphore::MAX_PERMITS)),
            calls: Semaphore::new(STORE_CALLS),
            questions: Semaphore::new(STOP_QUESTIONS),
            epoch: AtomicU64::new(0),
            has_begun: AtomicBool::new(false),
        }
    }

    /// For a run that an earlier instance has begun.
    pub(crate) fn resumed(self) -> Self {
        self.has_begun.store(true, Ordering::Relaxed);
        self
    }

    pub(crate) async fn open(&self, run: &str) -> Result<Claim, StoreError> {
        self.check(run)?;
        // Closed never, so waiting cannot fail.
        let _place = self.calls.acquire().await.ok();
        let claim = self.store.open(&self.id).await?;
        self.epoch.store(claim.epoch, Ordering::Relaxed);
        Ok(claim)
    }

    pub(crate) async fn commit(
        &self,
        run: &str,
        epoch: u64,
        changes: Vec<Change>,
    ) -> Result<(), StoreError> {
        self.check(run)?;
        let _room = self.make_room(changes.iter().map(weight).sum())?;
        let changes = changes
            .into_iter()
            .map(|change| self.redactor.change(change))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| {
                StoreError::Unavailable(format!("metadata is not one JSON object: {error}"))
            })?;
        if changes
            .iter()
            .any(|change| matches!(change, Change::Intent(_)))
        {
            self.has_begun.store(true, Ordering::Relaxed);
        }
        let _place = self.calls.acquire().await.ok();
        self.store.commit(&self.id, epoch, changes).await
    }

    /// Records the run as failed when its instance cannot any more, unless
    /// sandboxes of it may exist: such a run can be resumed. Nor is it for an
    /// instance to say that has lost the run to another one.
    pub(crate) async fn fail(&self, reason: String) {
        if self.has_begun.load(Ordering::Relaxed) {
            return;
        }
        let (status, reason) = (RunStatus::Failed, Some(reason));
        // Whoever hears of the failure itself hears enough.
        let _ = match self.epoch.load(Ordering::Relaxed) {
            0 => self.store.end(&self.id, status, reason).await,
            epoch => {
                let change = Change::Run(RunChange { status, reason });
                self.store.commit(&self.id, epoch, vec![change]).await
            }
        };
    }

    pub(crate) async fn cached(&self, run: &str, step: &str) -> Result<bool, StoreError> {
        self.check(run)?;
        // Asked for every step of every run, and most runs have no keys.
        if !self.has_cache_keys {
            return Ok(false);
        }
        let _place = self.calls.acquire().await.ok();
        self.store.cached(&self.id, step).await
    }

    pub(crate) async fn wait_for_stop(
        &self,
        run: &str,
        known: Option<StopMode>,
    ) -> Result<StopMode, StoreError> {
        self.check(run)?;
        let _place = self.questions.acquire().await.ok();
        self.store.wait_for_stop(&self.id, known).await
    }

    fn check(&self, run: &str) -> Result<(), StoreError> {
        match run == self.id {
            true => Ok(()),
            false => Err(StoreError::UnknownRun),
        }
    }

    /// Takes what is to be recorded into account. What has no room is refused
    /// and not kept waiting: it is in the host's memory already.
    fn make_room(&self, bytes: usize) -> Result<SemaphorePermit<'_>, StoreError> {
        let full = |what| StoreError::Unavailable(format!("the run records more than {what}"));
        let at_once = u32::try_from(bytes)
            .ok()
            .and_then(|bytes| self.room.try_acquire_many(bytes).ok())
            .ok_or_else(|| full("may be on its way at one time"))?;
        // Relaxed: the number is all that is shared.
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes as u64)
            })
            .map_err(|_| full("a run may"))?;
        Ok(at_once)
    }
}

/// About what a change takes in memory and on disk, in bytes.
fn weight(change: &Change) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    size_of::<Change>()
        + match change {
            Change::Intent(intent) => {
                intent.step.len() + intent.idempotency_key.len() + intent.place.len()
            }
            Change::Created(created) => created.step.len() + created.sandbox.len(),
            Change::Step(step) => step.step.len() + text(&step.reason),
            Change::Run(run) => text(&run.reason),
            Change::Metadata(metadata) => text(&metadata.step) + metadata.values.len(),
        }
}

#[cfg(test)]
mod tests {
    use super::OwnRun;
    use crate::contract::{Change, Intent, Metadata, StopMode, StoreError};
    use crate::limits::Limits;
    use crate::redact::Redactor;
    use crate::store::{MemoryStore, NewRun, RunStore as _};
    use std::sync::Arc;

    async fn store() -> Arc<MemoryStore> {
        let store = Arc::new(MemoryStore::new());
        for id in ["own", "other"] {
            let run = NewRun {
                id: id.into(),
                name: "name".into(),
                target: "target".into(),
                ..NewRun::default()
            };
            store.create(run).await.unwrap();
        }
        store
    }

    fn own(store: &Arc<MemoryStore>, limits: &Limits) -> OwnRun {
        let store = Arc::clone(store);
        OwnRun::new("own".into(), store, Redactor::default(), false, limits)
    }

    fn metadata(values: String) -> Vec<Change> {
        vec![Change::Metadata(Metadata { step: None, values })]
    }

    #[tokio::test]
    async fn other_runs_do_not_exist() {
        let store = store().await;
        let own = own(&store, &Limits::default());
        for run in ["other", "none", "", "own ", "OWN"] {
            assert_eq!(own.open(run).await, Err(StoreError::UnknownRun));
            assert_eq!(
                own.commit(run, 1, Vec::new()).await,
                Err(StoreError::UnknownRun)
            );
            assert_eq!(
                own.wait_for_stop(run, None).await,
                Err(StoreError::UnknownRun)
            );
        }
        assert_eq!(own.open("own").await.unwrap().epoch, 1);
        // The other one was not opened above.
        assert_eq!(store.open("other").await.unwrap().epoch, 1);
    }

    #[tokio::test]
    async fn what_a_run_records_is_bounded() {
        let store = store().await;
        let limits = Limits {
            record_bytes: 10_000,
            call_bytes: 8_000,
            ..Limits::default()
        };
        let own = own(&store, &limits);
        let epoch = own.open("own").await.unwrap().epoch;
        let object = |size: usize| metadata(format!("{{\"key\":\"{}\"}}", "x".repeat(size)));
        let refused = own.commit("own", epoch, object(8_000)).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))));
        own.commit("own", epoch, object(6_000)).await.unwrap();
        let refused = own.commit("own", epoch, object(6_000)).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))));
        own.commit("own", epoch, object(2_000)).await.unwrap();
        assert_eq!(store.changes("own").len(), 2);
    }

    #[tokio::test]
    async fn metadata_that_is_no_object_is_refused_and_nothing_is_recorded() {
        let store = store().await;
        let own = own(&store, &Limits::default());
        let epoch = own.open("own").await.unwrap().epoch;
        let mut changes = metadata("{}".into());
        changes.extend(metadata("[]".into()));
        let refused = own.commit("own", epoch, changes).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))));
        assert_eq!(store.changes("own"), []);
    }

    #[tokio::test]
    async fn only_a_run_that_nobody_else_has_and_that_began_nothing_has_failed() {
        let store = store().await;
        let failed = || {
            let is_end = |change: &Change| matches!(change, Change::Run(_));
            store
                .changes("own")
                .iter()
                .filter(|end| is_end(end))
                .count()
        };
        let limits = Limits::default();
        own(&store, &limits).fail("unclaimed".into()).await;
        assert_eq!(failed(), 1);

        let loser = own(&store, &limits);
        loser.open("own").await.unwrap();
        let holder = own(&store, &limits);
        let epoch = holder.open("own").await.unwrap().epoch;
        loser.fail("lost".into()).await;
        assert_eq!(failed(), 1);
        holder.fail("crashed".into()).await;
        assert_eq!(failed(), 2);

        let intent = Change::Intent(Intent {
            step: "a".into(),
            attempt: 0,
            idempotency_key: "k".into(),
            place: "ap-1".into(),
        });
        holder.commit("own", epoch, vec![intent]).await.unwrap();
        holder.fail("crashed".into()).await;
        own(&store, &limits)
            .resumed()
            .fail("unreachable".into())
            .await;
        assert_eq!(failed(), 2);
    }

    #[tokio::test]
    async fn the_store_still_hears_of_stops_and_fences() {
        let store = store().await;
        let own = own(&store, &Limits::default());
        let epoch = own.open("own").await.unwrap().epoch;
        store.open("own").await.unwrap();
        assert_eq!(
            own.commit("own", epoch, Vec::new()).await,
            Err(StoreError::Fenced)
        );
        store.request_stop("own", StopMode::Force).await.unwrap();
        assert_eq!(own.wait_for_stop("own", None).await, Ok(StopMode::Force));
    }
}
