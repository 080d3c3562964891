//! A run store that lasts as long as the process: for host apps that keep their
//! own records, and for tests.

use super::{NewRun, RunStore, StoreFuture};
use crate::contract::{
    Attempt, Change, Claim, Intent, RunChange, RunStatus, StepChange, StepStatus, StopMode,
    StoreError,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Keeps the changes of each run in order.
#[derive(Debug, Default)]
pub struct MemoryStore {
    runs: Mutex<HashMap<String, Run>>,
    stop_asked: Notify,
}

#[derive(Debug, Default)]
struct Run {
    epoch: u64,
    stop: Option<StopMode>,
    changes: Vec<Change>,
    cache_keys: BTreeMap<String, String>,
}

impl Run {
    /// Whether a step has completed under a key.
    fn has_completed(&self, key: &str) -> bool {
        self.changes.iter().any(|change| match change {
            Change::Step(step) => {
                let own = self.cache_keys.get(&step.step);
                step.status == StepStatus::Completed && own.is_some_and(|own| own == key)
            }
            _ => false,
        })
    }
}

impl Run {
    /// What the changes so far come to.
    fn claim(&self) -> Claim {
        let mut steps: BTreeMap<String, StepChange> = BTreeMap::new();
        let mut attempts: BTreeMap<(String, u32), Attempt> = BTreeMap::new();
        for change in &self.changes {
            match change {
                Change::Intent(intent) => {
                    let key = (intent.step.clone(), intent.attempt);
                    let attempt = attempts.entry(key).or_insert_with(|| begun(intent));
                    attempt.idempotency_key.clone_from(&intent.idempotency_key);
                    attempt.place.clone_from(&intent.place);
                    steps.insert(intent.step.clone(), starting(intent));
                }
                Change::Created(created) => {
                    let key = (created.step.clone(), created.attempt);
                    if let Some(attempt) = attempts.get_mut(&key) {
                        attempt.sandbox = Some(created.sandbox.clone());
                    }
                }
                Change::Step(step) => {
                    if let Some(attempt) = attempts.get_mut(&(step.step.clone(), step.attempt)) {
                        attempt.status = step.status;
                    }
                    steps.insert(step.step.clone(), step.clone());
                }
                Change::Run(_) | Change::Metadata(_) => {}
            }
        }
        Claim {
            epoch: self.epoch,
            steps: steps.into_values().collect(),
            attempts: attempts.into_values().collect(),
            stop: self.stop,
        }
    }
}

fn begun(intent: &Intent) -> Attempt {
    Attempt {
        step: intent.step.clone(),
        number: intent.attempt,
        status: StepStatus::Starting,
        idempotency_key: String::new(),
        place: String::new(),
        sandbox: None,
    }
}

fn starting(intent: &Intent) -> StepChange {
    StepChange {
        step: intent.step.clone(),
        attempt: intent.attempt,
        status: StepStatus::Starting,
        exit_code: None,
        reason: None,
    }
}

impl MemoryStore {
    /// A store without runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything that was recorded of a run, in order.
    pub fn changes(&self, run: &str) -> Vec<Change> {
        let runs = self.lock();
        runs.get(run)
            .map_or_else(Vec::new, |run| run.changes.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_run<T>(&self, run: &str, work: impl FnOnce(&mut Run) -> T) -> Result<T, StoreError> {
        self.lock()
            .get_mut(run)
            .map(work)
            .ok_or(StoreError::UnknownRun)
    }
}

impl RunStore for MemoryStore {
    fn create(&self, run: NewRun) -> StoreFuture<'_, ()> {
        let mut runs = self.lock();
        let result = match runs.contains_key(&run.id) {
            true => Err(StoreError::Unavailable(format!(
                "there is a run `{}` already",
                run.id
            ))),
            false => {
                let cache_keys = run.cache_keys;
                runs.insert(
                    run.id,
                    Run {
                        cache_keys,
                        ..Run::default()
                    },
                );
                Ok(())
            }
        };
        Box::pin(std::future::ready(result))
    }

    fn open<'s>(&'s self, run: &'s str) -> StoreFuture<'s, Claim> {
        let claim = self.with_run(run, |run| {
            run.epoch += 1;
            run.claim()
        });
        Box::pin(std::future::ready(claim))
    }

    fn commit<'s>(&'s self, run: &'s str, epoch: u64, changes: Vec<Change>) -> StoreFuture<'s, ()> {
        let result = self.with_run(run, |run| match run.epoch == epoch {
            true => {
                run.changes.extend(changes);
                Ok(())
            }
            false => Err(StoreError::Fenced),
        });
        Box::pin(std::future::ready(result.and_then(|result| result)))
    }

    fn cached<'s>(&'s self, run: &'s str, step: &'s str) -> StoreFuture<'s, bool> {
        let runs = self.lock();
        let known = runs.get(run).ok_or(StoreError::UnknownRun).map(|own| {
            let key = own.cache_keys.get(step);
            key.is_some_and(|key| runs.values().any(|run| run.has_completed(key)))
        });
        Box::pin(std::future::ready(known))
    }

    fn wait_for_stop<'s>(
        &'s self,
        run: &'s str,
        known: Option<StopMode>,
    ) -> StoreFuture<'s, StopMode> {
        Box::pin(async move {
            loop {
                let asked = self.stop_asked.notified();
                match self.with_run(run, |run| run.stop)? {
                    Some(mode) if mode.exceeds(known) => return Ok(mode),
                    _ => asked.await,
                }
            }
        })
    }

    fn request_stop<'s>(&'s self, run: &'s str, mode: StopMode) -> StoreFuture<'s, ()> {
        let result = self.with_run(run, |run| {
            if mode.exceeds(run.stop) {
                run.stop = Some(mode);
            }
        });
        self.stop_asked.notify_waiters();
        Box::pin(std::future::ready(result))
    }

    fn end<'s>(
        &'s self,
        run: &'s str,
        status: RunStatus,
        reason: Option<String>,
    ) -> StoreFuture<'s, ()> {
        let change = Change::Run(RunChange { status, reason });
        let result = self.with_run(run, |run| run.changes.push(change));
        Box::pin(std::future::ready(result))
    }
}
