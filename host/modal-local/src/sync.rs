//! A lock that outlives a panic, and a value that is waited for.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Locks, whatever became of an earlier holder: no code here panics while it
/// holds a lock, and refusing every later call would help nobody.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value that many wait for.
///
/// They are woken in the order in which they began to wait. Tokio's own watch leaves
/// that to chance, and a simulation must leave nothing to it.
#[derive(Debug, Default)]
pub(crate) struct Watched<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T> Watched<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            changed: Notify::new(),
        }
    }

    /// Looks at the value. What is done there must not look again.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&lock(&self.value))
    }

    pub(crate) fn set(&self, value: T) {
        *lock(&self.value) = value;
        self.changed.notify_waiters();
    }

    /// Waits until the value is as wanted, and returns it.
    pub(crate) async fn wait_for(&self, mut wanted: impl FnMut(&T) -> bool) -> T
    where
        T: Clone,
    {
        loop {
            // Made before the look: a change in between is not missed.
            let changed = self.changed.notified();
            let found = self.look(|value| wanted(value).then(|| value.clone()));
            if let Some(value) = found {
                return value;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_are_woken_in_turn() {
        for _ in 0..20 {
            let (value, order) = (Arc::new(Watched::new(0)), Arc::new(Mutex::new(Vec::new())));
            let waiters: Vec<_> = (0..20)
                .map(|number| {
                    let (value, order) = (Arc::clone(&value), Arc::clone(&order));
                    tokio::spawn(async move {
                        let seen = value.wait_for(|value| *value > 1).await;
                        lock(&order).push((number, seen));
                    })
                })
                .collect();
            // All of them wait after their first turn.
            tokio::task::yield_now().await;
            value.set(1);
            value.set(2);
            for waiter in waiters {
                waiter.await.unwrap();
            }
            let expected: Vec<_> = (0..20).map(|number| (number, 2)).collect();
            assert_eq!(*lock(&order), expected);
        }
    }
}
