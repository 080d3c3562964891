//! Snapshots of sandboxes as images: taken, repeated, forgotten.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use modal_proto::client as pb;
use tokio::sync::OnceCell;
use tonic::Status;

use crate::{
    clock::Timestamp,
    core::Core,
    ids::ImageId,
    journal::{Receipt, Record},
    limits, quota,
    sandbox::{Phase, Sandbox},
    store::{Image, Snapshot},
    sync::lock,
};

/// The snapshots that were asked for of one sandbox, by the ids that clients
/// gave them.
#[derive(Debug, Default)]
pub(crate) struct Asked(Mutex<BTreeMap<String, Arc<OnceCell<ImageId>>>>);

/// How long a snapshot is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    Limited(Duration),
    Unlimited,
}

impl Lifetime {
    /// From the seconds of a request, where -1 is for ever.
    pub(crate) fn parse(seconds: Option<i64>) -> Result<Self, Status> {
        let limited = |seconds| u64::try_from(seconds).map(Duration::from_secs);
        match seconds {
            None => Ok(Self::Limited(limits::SNAPSHOT_LIFETIME)),
            Some(-1) => Ok(Self::Unlimited),
            Some(seconds) => match limited(seconds) {
                Ok(lifetime) if !lifetime.is_zero() => Ok(Self::Limited(lifetime)),
                _ => Err(Status::invalid_argument(format!(
                    "ttl_seconds must be positive, or -1 for ever, not {seconds}"
                ))),
            },
        }
    }

    fn end(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Limited(lifetime) => Some(now.plus(lifetime)),
            Self::Unlimited => None,
        }
    }
}

impl Asked {
    /// Where the answer to an id is, or will be.
    fn of(&self, id: &str) -> Result<Arc<OnceCell<ImageId>>, Status> {
        let mut asked = lock(&self.0);
        if let Some(known) = asked.get(id) {
            return Ok(Arc::clone(known));
        }
        if asked.len() >= limits::SNAPSHOTS_PER_SANDBOX {
            return Err(Status::resource_exhausted(format!(
                "the local Modal takes at most {} snapshots of a sandbox",
                limits::SNAPSHOTS_PER_SANDBOX
            )));
        }
        let cell = Arc::<OnceCell<ImageId>>::default();
        asked.insert(id.to_owned(), Arc::clone(&cell));
        Ok(cell)
    }
}

/// Takes a snapshot, or finds the one that an earlier call with this id took.
/// A client that hangs up does not stop it: its next call finds the image.
pub(crate) async fn take(
    core: &Arc<Core>,
    sandbox: Arc<Sandbox>,
    id: Option<&str>,
    lifetime: Lifetime,
) -> Result<ImageId, Status> {
    let cell = match id {
        Some(id) => sandbox.snapshots.of(id)?,
        None => Arc::default(),
    };
    let core = Arc::clone(core);
    let taken = tokio::spawn(async move {
        let image = cell.get_or_try_init(|| take_now(&core, &sandbox, lifetime));
        let image = image.await.cloned();
        expire(&core).await;
        image
    });
    taken
        .await
        .unwrap_or_else(|error| Err(Status::internal(format!("the snapshot failed: {error}"))))
}

async fn take_now(
    core: &Arc<Core>,
    sandbox: &Sandbox,
    lifetime: Lifetime,
) -> Result<ImageId, Status> {
    let runs = |phase: &Phase| matches!(phase, Phase::Running { .. }) || phase.is_final();
    if sandbox.reaches(runs).await.is_final() {
        return Err(Status::not_found(format!(
            "sandbox {} has ended: its files cannot be taken any more",
            sandbox.id
        )));
    }
    quota::check(core)?;
    // Until it is recorded, nobody knows that it is wanted.
    let _recording = core.snapshots.read().await;
    let taken = core.executor.snapshot(sandbox.id.clone()).await;
    let hash = taken.map_err(|error| {
        Status::failed_precondition(format!(
            "the files of sandbox {} cannot be read: {error}",
            sandbox.id
        ))
    })?;
    let now = core.clock.now();
    let snapshot = Snapshot {
        hash,
        expires_at: lifetime.end(now),
    };
    let (id, recorded) = record(core, snapshot)?;
    recorded.committed().await?;
    Ok(id)
}

/// The same files taken twice are one image, which lives as long as the longest
/// was meant to.
fn record(core: &Core, mut snapshot: Snapshot) -> Result<(ImageId, Receipt), Status> {
    let mut store = core.store();
    let id = ImageId::of_snapshot(snapshot.hash);
    let known = store.images.get(&id).cloned();
    if let Some(earlier) = known.as_ref().and_then(|image| image.snapshot) {
        snapshot.expires_at = earlier
            .expires_at
            .zip(snapshot.expires_at)
            .map(|(earlier, later)| earlier.max(later));
    }
    let image = Image {
        id: id.clone(),
        definition: pb::Image::default(),
        builder_version: crate::control::BUILDER_VERSION.to_owned(),
        created_at: match known {
            Some(known) => known.created_at,
            None => store.creation_time(core.clock.now()),
        },
        snapshot: Some(snapshot),
    };
    let (image, dropped) = store
        .images
        .insert(image, |_| true)
        .ok_or_else(|| Status::resource_exhausted("the local Modal keeps no images"))?;
    let mut records = vec![Record::Image(image)];
    records.extend(dropped.map(|old| Record::ForgetImage(old.id.clone())));
    Ok((id, core.record(records)))
}

/// Forgets snapshots whose time is over, and removes what only they held.
pub(crate) async fn expire(core: &Core) {
    if !is_any_expired(core) {
        return;
    }
    // No snapshot is being taken meanwhile.
    let _all = core.snapshots.write().await;
    let wanted = {
        let mut store = core.store();
        let now = core.clock.now();
        let expired: Vec<ImageId> = store
            .images
            .iter()
            .filter(|image| {
                image
                    .snapshot
                    .is_some_and(|snapshot| snapshot.is_expired(now))
            })
            .map(|image| image.id.clone())
            .collect();
        for id in &expired {
            store.images.remove(id);
        }
        // The next server would forget them again.
        drop(core.record(expired.into_iter().map(Record::ForgetImage).collect()));
        let snapshots = store.images.iter().filter_map(|image| image.snapshot);
        snapshots.map(|snapshot| snapshot.hash).collect()
    };
    core.executor.retain_snapshots(wanted).await;
}

fn is_any_expired(core: &Core) -> bool {
    let now = core.clock.now();
    let store = core.store();
    let mut snapshots = store.images.iter().filter_map(|image| image.snapshot);
    snapshots.any(|snapshot| snapshot.is_expired(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_positive_or_unlimited() {
        let month = Duration::from_secs(2_592_000);
        assert_eq!(Lifetime::parse(None).unwrap(), Lifetime::Limited(month));
        assert_eq!(Lifetime::parse(Some(-1)).unwrap(), Lifetime::Unlimited);
        let second = Lifetime::Limited(Duration::from_secs(1));
        assert_eq!(Lifetime::parse(Some(1)).unwrap(), second);
        for bad in [0, -2, i64::MIN] {
            assert!(Lifetime::parse(Some(bad)).is_err());
        }
    }
}
