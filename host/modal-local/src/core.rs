//! What every call works on.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::RwLock;
use tonic::Status;

use crate::{
    auth::Credentials,
    clock::Clock,
    executor::{Executor, Exit, Outputs},
    ids::SandboxId,
    journal::{Journal, Receipt, Record, Recorded},
    limits::Limits,
    quota::Quota,
    random::Random,
    sandbox::{Ended, Phase, Sandbox},
    store::Store,
    sync::lock,
    token::Tokens,
    unimplemented::Unimplemented,
};

/// One server without its socket.
#[derive(Debug)]
pub(crate) struct Core {
    store: Mutex<Store>,
    journal: Option<Journal>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) credentials: Credentials,
    /// Blinds the comparison of credentials.
    pub(crate) comparison_key: [u8; 32],
    pub(crate) tokens: Tokens,
    pub(crate) limits: Limits,
    pub(crate) unimplemented: Unimplemented,
    pub(crate) quota: Quota,
    /// Held for reading while a snapshot is taken and recorded, for writing
    /// while others are forgotten.
    pub(crate) snapshots: RwLock<()>,
    closing: AtomicBool,
}

/// What a [`Core`] is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) journal: Option<(Journal, Recorded)>,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) credentials: Credentials,
    pub(crate) tokens: Tokens,
    pub(crate) limits: Limits,
}

impl Core {
    /// Starts with what was recorded. The executor has already ended what an
    /// earlier server left running.
    pub(crate) fn new(parts: Parts) -> Self {
        let (journal, recorded) = parts.journal.unzip();
        let core = Self {
            store: Mutex::new(Store::new()),
            journal,
            executor: parts.executor,
            clock: parts.clock,
            comparison_key: parts.random.bytes(),
            random: parts.random,
            credentials: parts.credentials,
            tokens: parts.tokens,
            limits: parts.limits,
            unimplemented: Unimplemented::default(),
            quota: Quota::default(),
            snapshots: RwLock::default(),
            closing: AtomicBool::new(false),
        };
        core.restore(recorded.unwrap_or_default());
        core
    }

    /// The state. The lock is never held across a wait.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    /// Queues records. Called with the store locked, so that records are in
    /// the order of the changes they describe. Without any the receipt is for
    /// what was queued before: a repeated call waits for its first attempt.
    pub(crate) fn record(&self, records: Vec<Record>) -> Receipt {
        match &self.journal {
            Some(journal) => journal.write(records),
            None => Receipt::nothing(),
        }
    }

    /// Drops what is kept of sandboxes, none of which runs any more, and writes
    /// down the rest.
    pub(crate) async fn finish(&self) {
        self.executor.close().await;
        if let Some(journal) = &self.journal {
            journal.close().await;
        }
    }

    /// No new sandboxes from now on.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// The sandbox of an id, or the answer that there is none.
    pub(crate) fn sandbox(&self, id: &SandboxId) -> Result<Arc<Sandbox>, Status> {
        self.store().sandboxes.get(id).cloned().ok_or_else(|| {
            Status::not_found(format!(
                "sandbox {:?} not found: it never existed here, or ended long ago and was \
                 forgotten",
                id.as_str()
            ))
        })
    }

    /// Ends every sandbox, and returns when nothing of them runs.
    pub(crate) async fn end_all(&self) {
        let running = self.store().sandboxes.all_running();
        for sandbox in &running {
            sandbox.terminate();
        }
        for sandbox in running {
            sandbox.reaches(Phase::is_final).await;
        }
    }

    fn restore(&self, recorded: Recorded) {
        let mut store = self.store();
        store.environments.extend(recorded.environments);
        // The limits held when these were written.
        for app in recorded.apps {
            store.seen(app.created_at);
            store.apps.insert(app, |_| true);
        }
        for secret in recorded.secrets {
            store.seen(secret.created_at);
            store.secrets.insert(secret, |_| true);
        }
        for image in recorded.images {
            store.seen(image.created_at);
            store.images.insert(image, |_| true);
        }
        let heads = recorded.sandboxes.iter();
        let heads = heads.map(|(sandbox, heads)| (sandbox.id.clone(), heads.clone()));
        let mut outputs = self.executor.reopen(heads.collect());
        let mut ended = Vec::new();
        for (sandbox, _) in recorded.sandboxes {
            store.seen(sandbox.created_at);
            let outputs = outputs.remove(&sandbox.id);
            let end = sandbox.phase().ended().map(|end| Ended {
                exit: end.exit.clone(),
                started_at: end.started_at,
                finished_at: end.finished_at,
                outputs: end.started_at.and(outputs.clone()),
            });
            let is_new = end.is_none();
            let end = end.unwrap_or_else(|| Ended {
                exit: Exit::terminated("the server was killed while the sandbox ran"),
                // When exactly was not recorded.
                started_at: Some(sandbox.created_at),
                finished_at: self.clock.now(),
                outputs,
            });
            let kept = end.outputs.as_ref().map_or(0, Outputs::kept);
            sandbox.set_phase(Phase::Ended(Arc::new(end)));
            if is_new {
                ended.push(Record::sandbox(&sandbox, None));
            }
            store.sandboxes.insert_ended(Arc::new(sandbox), kept);
        }
        // The next start would end them again if this were lost.
        drop(self.record(ended));
    }
}
