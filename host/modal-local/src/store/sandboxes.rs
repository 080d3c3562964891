//! Sandboxes by id, task, name, age and idempotency key.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::{
    clock::Timestamp,
    ids::{AppId, Backend, SandboxId, TaskId},
    names::{IdempotencyKey, Name, Tags},
    sandbox::Sandbox,
};

/// Every sandbox that is remembered.
#[derive(Debug, Default)]
pub(crate) struct Sandboxes {
    by_id: BTreeMap<SandboxId, Arc<Sandbox>>,
    by_age: BTreeMap<Timestamp, Arc<Sandbox>>,
    by_task: BTreeMap<TaskId, SandboxId>,
    by_key: BTreeMap<(Backend, IdempotencyKey), SandboxId>,
    /// Names in use: only those of sandboxes that have not ended.
    by_name: BTreeMap<(AppId, Name), SandboxId>,
    /// Ended ones, in the order of their end, with the bytes each keeps.
    ended: VecDeque<(SandboxId, u64)>,
    kept: u64,
}

/// What a listing asks for.
#[derive(Debug)]
pub(crate) struct Query<'a> {
    /// Only sandboxes created before this.
    pub(crate) before: Option<f64>,
    pub(crate) include_finished: bool,
    /// Only sandboxes that have at least these.
    pub(crate) tags: &'a Tags,
    /// `None`: those of both backends.
    pub(crate) backend: Option<Backend>,
}

impl Sandboxes {
    pub(crate) fn get(&self, id: &SandboxId) -> Option<&Arc<Sandbox>> {
        self.by_id.get(id)
    }

    pub(crate) fn of_task(&self, task: &TaskId) -> Option<&Arc<Sandbox>> {
        self.get(self.by_task.get(task)?)
    }

    pub(crate) fn created_by(
        &self,
        backend: Backend,
        key: Option<&IdempotencyKey>,
    ) -> Option<&Arc<Sandbox>> {
        self.get(self.by_key.get(&(backend, key?.clone()))?)
    }

    /// The sandbox that uses a name at present.
    pub(crate) fn named(&self, app: &AppId, name: &Name) -> Option<&Arc<Sandbox>> {
        self.get(self.by_name.get(&(app.clone(), name.clone()))?)
    }

    /// The newest sandbox that has or had a name.
    pub(crate) fn last_named(&self, app: &AppId, name: &Name) -> Option<&Arc<Sandbox>> {
        self.by_age
            .values()
            .rev()
            .find(|sandbox| sandbox.app_id == *app && sandbox.name.as_ref() == Some(name))
    }

    pub(crate) fn any_of_app(&self, app: &AppId) -> bool {
        self.by_id.values().any(|sandbox| sandbox.app_id == *app)
    }

    /// How many have not ended.
    pub(crate) fn running(&self) -> usize {
        self.by_id.len().saturating_sub(self.ended.len())
    }

    /// All of them, oldest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Sandbox>> {
        self.by_age.values()
    }

    /// Those that have not ended, oldest first.
    pub(crate) fn all_running(&self) -> Vec<Arc<Sandbox>> {
        self.by_age
            .values()
            .filter(|sandbox| !sandbox.phase().is_final())
            .cloned()
            .collect()
    }

    /// Sandboxes of apps that match, newest first.
    pub(crate) fn list<'a>(
        &'a self,
        query: &'a Query<'a>,
        in_app: impl Fn(&AppId) -> bool + 'a,
    ) -> impl Iterator<Item = &'a Arc<Sandbox>> {
        self.by_age
            .values()
            .rev()
            .filter(move |sandbox| {
                query
                    .before
                    .is_none_or(|before| sandbox.created_at.seconds() < before)
            })
            .filter(move |sandbox| {
                query
                    .backend
                    .is_none_or(|backend| sandbox.id.backend() == backend)
            })
            .filter(move |sandbox| query.include_finished || !sandbox.phase().is_final())
            .filter(move |sandbox| in_app(&sandbox.app_id))
            .filter(move |sandbox| sandbox.has_tags(query.tags))
    }

    /// Adds a sandbox that has not ended.
    pub(crate) fn insert(&mut self, sandbox: Arc<Sandbox>) {
        if let Some(name) = &sandbox.name {
            let name = (sandbox.app_id.clone(), name.clone());
            self.by_name.insert(name, sandbox.id.clone());
        }
        self.index(sandbox);
    }

    /// Adds a sandbox that an earlier server ended.
    pub(crate) fn insert_ended(&mut self, sandbox: Arc<Sandbox>, kept: u64) {
        self.ended.push_back((sandbox.id.clone(), kept));
        self.kept = self.kept.saturating_add(kept);
        self.index(sandbox);
    }

    fn index(&mut self, sandbox: Arc<Sandbox>) {
        let id = &sandbox.id;
        self.by_task.insert(sandbox.task_id.clone(), id.clone());
        if let Some(key) = &sandbox.idempotency_key {
            self.by_key.insert((id.backend(), key.clone()), id.clone());
        }
        self.by_age.insert(sandbox.created_at, Arc::clone(&sandbox));
        self.by_id.insert(id.clone(), sandbox);
    }

    /// Notes that a sandbox has ended: its name is free again.
    pub(crate) fn ended(&mut self, sandbox: &Sandbox, kept: u64) {
        self.free_name(sandbox);
        self.ended.push_back((sandbox.id.clone(), kept));
        self.kept = self.kept.saturating_add(kept);
    }

    /// Drops the longest ended sandboxes above a number or a sum of bytes kept.
    pub(crate) fn forget(&mut self, number: usize, kept: u64) -> Vec<Arc<Sandbox>> {
        let mut forgotten = Vec::new();
        while self.ended.len() > number || self.kept > kept {
            let Some((id, bytes)) = self.ended.pop_front() else {
                break;
            };
            self.kept = self.kept.saturating_sub(bytes);
            forgotten.extend(self.remove(&id));
        }
        forgotten
    }

    /// Takes a sandbox out of every index but the list of ended ones.
    pub(crate) fn remove(&mut self, id: &SandboxId) -> Option<Arc<Sandbox>> {
        let sandbox = self.by_id.remove(id)?;
        self.free_name(&sandbox);
        self.by_age.remove(&sandbox.created_at);
        self.by_task.remove(&sandbox.task_id);
        if let Some(key) = &sandbox.idempotency_key {
            self.by_key.remove(&(id.backend(), key.clone()));
        }
        Some(sandbox)
    }

    fn free_name(&mut self, sandbox: &Sandbox) {
        let Some(name) = &sandbox.name else { return };
        let name = (sandbox.app_id.clone(), name.clone());
        if self.by_name.get(&name) == Some(&sandbox.id) {
            self.by_name.remove(&name);
        }
    }
}
