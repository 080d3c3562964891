//! Room for what waits for a reader, in bytes.

use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

/// So many bytes, shared by whoever has a clone. What comes from a plugin is
/// weighed only once it is there, so some room is enough to take one batch.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    places: PollSemaphore,
}

impl Room {
    pub(crate) fn new(bytes: usize) -> Self {
        let places = Semaphore::new(bytes.clamp(1, Semaphore::MAX_PERMITS));
        Self {
            places: PollSemaphore::new(Arc::new(places)),
        }
    }

    /// Waits until there is some. `None`: never again.
    pub(crate) fn poll_some(&mut self, cx: &mut Context<'_>) -> Poll<Option<OwnedSemaphorePermit>> {
        self.places.poll_acquire(cx)
    }

    /// Takes as much more as so many bytes need, or all that is left.
    pub(crate) fn widen(&self, room: &mut OwnedSemaphorePermit, bytes: usize) {
        let more = bytes.min(self.places.available_permits());
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        // What was left may have become less: then the batch counts for less.
        if let Ok(more) = self.places.clone_inner().try_acquire_many_owned(more) {
            room.merge(more);
        }
    }
}
