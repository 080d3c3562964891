//! Writes to the run store in groups: whatever gathers while one write is under
//! way goes into the next.

use super::store::{Change, RunStore, StoreError};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tokio::sync::{Notify, oneshot};

/// The changes of one run on their way to the store.
#[derive(Debug)]
pub struct Journal<S> {
    store: S,
    run: String,
    epoch: u64,
    queue: RefCell<Vec<Entry>>,
    arrived: Notify,
    failed: RefCell<Option<StoreError>>,
    failure: Notify,
    writing: Cell<bool>,
    idle: Notify,
}

#[derive(Debug)]
struct Entry {
    change: Change,
    recorded: Option<oneshot::Sender<()>>,
}

impl<S: RunStore> Journal<S> {
    /// A journal under a claim. Nothing is written until [`Self::write`] runs.
    pub fn new(store: S, run: String, epoch: u64) -> Rc<Self> {
        Rc::new(Self {
            store,
            run,
            epoch,
            queue: RefCell::default(),
            arrived: Notify::new(),
            failed: RefCell::default(),
            failure: Notify::new(),
            writing: Cell::new(false),
            idle: Notify::new(),
        })
    }

    /// Writes until it is dropped. After a failure nothing more is written: a
    /// gap in the record would be worse than its end.
    pub async fn write(self: Rc<Self>) {
        loop {
            let entries = std::mem::take(&mut *self.queue.borrow_mut());
            if entries.is_empty() {
                self.idle.notify_waiters();
                self.arrived.notified().await;
                continue;
            }
            if self.failure().is_some() {
                continue;
            }
            self.writing.set(true);
            let (changes, waiting): (Vec<_>, Vec<_>) = entries
                .into_iter()
                .map(|entry| (entry.change, entry.recorded))
                .unzip();
            let result = self.store.commit(&self.run, self.epoch, changes).await;
            self.writing.set(false);
            match result {
                // Who waits and sees its sender dropped asks for the failure.
                Err(error) => self.fail(error),
                Ok(()) => {
                    for recorded in waiting.into_iter().flatten() {
                        let _ = recorded.send(());
                    }
                }
            }
        }
    }

    /// Records a change, and returns once that is done.
    ///
    /// # Errors
    ///
    /// When this or an earlier write failed.
    pub async fn record(&self, change: Change) -> Result<(), StoreError> {
        let (sender, recorded) = oneshot::channel();
        self.push(change, Some(sender));
        match recorded.await {
            Ok(()) => Ok(()),
            Err(_) => Err(self
                .failure()
                .unwrap_or_else(|| StoreError::Unavailable("it is gone".into()))),
        }
    }

    /// Records a change some time soon, after those before it.
    pub fn note(&self, change: Change) {
        self.push(change, None);
    }

    /// Returns once everything noted so far is recorded, or a write has failed.
    pub async fn flush(&self) -> Result<(), StoreError> {
        loop {
            let idle = self.idle.notified();
            if let Some(error) = self.failure() {
                return Err(error);
            }
            if self.queue.borrow().is_empty() && !self.writing.get() {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = idle => {}
                () = self.failure.notified() => {}
            }
        }
    }

    /// Returns when a write has failed, and never otherwise.
    pub async fn failed(&self) -> StoreError {
        loop {
            let failure = self.failure.notified();
            if let Some(error) = self.failure() {
                return error;
            }
            failure.await;
        }
    }

    /// Whether this is still the holder of the run: false only when the store says
    /// that somebody else has it. To be asked before anything of the run is ended.
    pub async fn holds(&self) -> bool {
        match self.failure() {
            Some(error) => error != StoreError::Fenced,
            None => {
                let asked = self.store.commit(&self.run, self.epoch, Vec::new()).await;
                let is_fenced = asked == Err(StoreError::Fenced);
                if is_fenced {
                    self.fail(StoreError::Fenced);
                }
                !is_fenced
            }
        }
    }

    fn fail(&self, error: StoreError) {
        self.failed.borrow_mut().get_or_insert(error);
        self.failure.notify_waiters();
    }

    fn failure(&self) -> Option<StoreError> {
        self.failed.borrow().clone()
    }

    fn push(&self, change: Change, recorded: Option<oneshot::Sender<()>>) {
        if self.failed.borrow().is_some() {
            return;
        }
        self.queue.borrow_mut().push(Entry { change, recorded });
        self.arrived.notify_one();
    }
}
