//! Everything the server knows, in memory. The journal is a copy of it for the
//! next start.

mod sandboxes;
mod shelf;

pub(crate) use self::{
    sandboxes::{Query, Sandboxes},
    shelf::{Item, Shelf},
};

use std::{collections::BTreeMap, sync::Arc};

use modal_proto::client as pb;

use crate::{
    clock::Timestamp,
    executor::Hash,
    ids::{AppId, EnvironmentId, ImageId, SecretId},
    limits,
    names::{IdempotencyKey, Name},
};

/// An app: what sandboxes belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct App {
    pub(crate) id: AppId,
    pub(crate) environment: Name,
    /// `None` for an app that only its id leads to.
    pub(crate) name: Option<Name>,
    pub(crate) created_at: Timestamp,
    pub(crate) key: Option<IdempotencyKey>,
}

/// Variables kept on the server.
#[derive(Clone, PartialEq)]
pub(crate) struct Secret {
    pub(crate) id: SecretId,
    pub(crate) environment: Name,
    /// `None` for a secret that only its id leads to.
    pub(crate) name: Option<Name>,
    pub(crate) env: pb::StringMap,
    pub(crate) created_at: Timestamp,
    pub(crate) key: Option<IdempotencyKey>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret")
            .field("id", &self.id)
            .field("keys", &self.env.contents.keys())
            .finish_non_exhaustive()
    }
}

/// The definition of an image, of which nothing is ever built, or a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Image {
    pub(crate) id: ImageId,
    pub(crate) definition: pb::Image,
    pub(crate) builder_version: String,
    pub(crate) created_at: Timestamp,
    pub(crate) snapshot: Option<Snapshot>,
}

/// The files that a sandbox with an image begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) hash: Hash,
    /// `None`: never.
    pub(crate) expires_at: Option<Timestamp>,
}

impl Snapshot {
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }
}

impl Item for App {
    type Id = AppId;

    fn id(&self) -> &AppId {
        &self.id
    }

    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn key(&self) -> Option<&IdempotencyKey> {
        self.key.as_ref()
    }

    fn name(&self) -> Option<(Name, Name)> {
        let name = self.name.clone()?;
        Some((self.environment.clone(), name))
    }
}

impl Item for Secret {
    type Id = SecretId;

    fn id(&self) -> &SecretId {
        &self.id
    }

    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn key(&self) -> Option<&IdempotencyKey> {
        self.key.as_ref()
    }

    fn name(&self) -> Option<(Name, Name)> {
        let name = self.name.clone()?;
        Some((self.environment.clone(), name))
    }
}

impl Item for Image {
    type Id = ImageId;

    fn id(&self) -> &ImageId {
        &self.id
    }

    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn key(&self) -> Option<&IdempotencyKey> {
        None
    }

    fn name(&self) -> Option<(Name, Name)> {
        None
    }
}

/// The whole state, behind one lock that is never held across a wait.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) environments: BTreeMap<Name, EnvironmentId>,
    pub(crate) apps: Shelf<App>,
    pub(crate) secrets: Shelf<Secret>,
    pub(crate) images: Shelf<Image>,
    pub(crate) sandboxes: Sandboxes,
    newest: Timestamp,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            environments: BTreeMap::new(),
            apps: Shelf::new(limits::APPS),
            secrets: Shelf::new(limits::SECRETS),
            images: Shelf::new(limits::IMAGES),
            sandboxes: Sandboxes::default(),
            newest: Timestamp::default(),
        }
    }

    /// A creation time later than every earlier one, whatever the clock says.
    pub(crate) fn creation_time(&mut self, now: Timestamp) -> Timestamp {
        self.newest = now.max(self.newest.next());
        self.newest
    }

    /// Takes note of a creation time given out by an earlier server.
    pub(crate) fn seen(&mut self, created_at: Timestamp) {
        self.newest = self.newest.max(created_at);
    }

    /// Adds an app; returns the one that was dropped for it. `None` when every
    /// app has sandboxes that are remembered.
    pub(crate) fn add_app(&mut self, app: App) -> Option<(Arc<App>, Option<Arc<App>>)> {
        let sandboxes = &self.sandboxes;
        self.apps.insert(app, |old| !sandboxes.any_of_app(&old.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creation_times_are_unique_whatever_the_clock_does() {
        let mut store = Store::new();
        store.seen(Timestamp::from_micros(10));
        let times: Vec<i64> = [5, 5, 20, 20, 7]
            .into_iter()
            .map(|now| store.creation_time(Timestamp::from_micros(now)).micros())
            .collect();
        assert_eq!(times, [11, 12, 20, 21, 22]);
    }
}
