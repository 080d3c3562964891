//! The sandboxes of the server.

use crate::command::Command;
use modal_proto::client::{
    GenericResult, GenericStatus, SandboxCreateV2Request, SandboxInfo, SandboxListRequest,
    SandboxTag, TaskInfo,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::time::Instant;

/// How and when a sandbox ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// When.
    pub at: std::time::Instant,
    /// Whether it was terminated before its command had ended.
    pub terminated: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Sandboxes {
    /// In the order of creation.
    all: Vec<Arc<Sandbox>>,
    /// Create requests that were performed.
    by_key: HashMap<String, usize>,
    latest: f64,
}

#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) id: String,
    pub(crate) task: String,
    pub(crate) app: String,
    pub(crate) name: String,
    pub(crate) command: Command,
    tags: Vec<SandboxTag>,
    created_at: f64,
    ends_at: Instant,
    terminated_at: watch::Sender<Option<Instant>>,
}

impl Sandboxes {
    /// The sandbox of a create request, the same for each of its attempts.
    /// It begins to live after `starts_in`.
    pub(crate) fn create(
        &mut self,
        key: &str,
        request: SandboxCreateV2Request,
        starts_in: Duration,
    ) -> Arc<Sandbox> {
        let known = self.by_key.get(key).and_then(|index| self.all.get(*index));
        if let Some(known) = known {
            return Arc::clone(known);
        }
        let definition = request.definition.unwrap_or_default();
        let command = Command::parse(&definition.entrypoint_args);
        let number = self.all.len();
        let sandbox = Arc::new(Sandbox {
            id: format!("sb-01{number:024}"),
            task: format!("ta-01{number:023}V"),
            app: request.app_id,
            name: definition.name.unwrap_or_default(),
            ends_at: Instant::now() + starts_in + command.lives,
            command,
            tags: request.tags,
            created_at: self.moment(),
            terminated_at: watch::Sender::new(None),
        });
        self.by_key.insert(key.to_owned(), number);
        self.all.push(Arc::clone(&sandbox));
        sandbox
    }

    /// Now, and later than ever before: pages of a listing are told apart by it.
    fn moment(&mut self) -> f64 {
        const STEP: f64 = 1e-6;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs_f64();
        self.latest = now.max(self.latest + STEP);
        self.latest
    }

    pub(crate) fn by_id(&self, id: &str) -> Option<Arc<Sandbox>> {
        self.at(id.strip_prefix("sb-01")?)
    }

    pub(crate) fn by_task(&self, task: &str) -> Option<Arc<Sandbox>> {
        self.at(task.strip_prefix("ta-01")?.strip_suffix('V')?)
    }

    fn at(&self, number: &str) -> Option<Arc<Sandbox>> {
        let number: usize = number.parse().ok()?;
        self.all.get(number).cloned()
    }

    /// One page of a listing, newest first.
    pub(crate) fn page(&self, wanted: &SandboxListRequest, size: usize) -> Vec<SandboxInfo> {
        let before = wanted.before_timestamp;
        let end = match before > 0.0 {
            true => self.all.partition_point(|one| one.created_at < before),
            false => self.all.len(),
        };
        let older = self.all.iter().take(end).rev();
        older
            .filter(|one| one.app == wanted.app_id)
            .filter(|one| wanted.include_finished || one.result().is_none())
            .filter(|one| wanted.tags.iter().all(|tag| one.tags.contains(tag)))
            .take(size)
            .map(|one| one.info())
            .collect()
    }

    pub(crate) fn all(&self) -> &[Arc<Sandbox>] {
        &self.all
    }
}

impl Sandbox {
    /// How it ended, if it has.
    pub(crate) fn result(&self) -> Option<GenericResult> {
        let terminated = self.is_terminated();
        let ended = self.ends_at <= Instant::now();
        let (status, exitcode) = match (terminated, ended) {
            (true, _) => (GenericStatus::Terminated, 137),
            (false, false) => return None,
            (false, true) if self.command.code == 0 => (GenericStatus::Success, 0),
            (false, true) => (GenericStatus::Failure, self.command.code),
        };
        Some(GenericResult {
            status: status.into(),
            exitcode,
            ..GenericResult::default()
        })
    }

    pub(crate) fn ended(&self) -> Option<Ended> {
        self.result()?;
        let at = self.terminated_at.borrow().unwrap_or(self.ends_at);
        Some(Ended {
            at: at.into_std(),
            terminated: self.is_terminated(),
        })
    }

    fn is_terminated(&self) -> bool {
        let at = *self.terminated_at.borrow();
        at.is_some_and(|at| at < self.ends_at)
    }

    pub(crate) fn terminate(&self) {
        self.terminated_at.send_if_modified(|at| {
            let first = at.is_none();
            at.get_or_insert_with(Instant::now);
            first
        });
    }

    /// Returns when it has ended, or after that time.
    pub(crate) async fn ends_within(&self, hold: Duration) {
        let until = self.ends_at.min(Instant::now() + hold);
        let mut terminated = self.terminated_at.subscribe();
        tokio::select! {
            biased;
            _ = terminated.wait_for(Option::is_some) => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }

    fn info(&self) -> SandboxInfo {
        SandboxInfo {
            id: self.id.clone(),
            created_at: self.created_at,
            task_info: Some(TaskInfo {
                id: self.task.clone(),
                result: self.result(),
                ..TaskInfo::default()
            }),
            app_id: self.app.clone(),
            tags: self.tags.clone(),
            name: self.name.clone(),
            ..SandboxInfo::default()
        }
    }
}
