//! Whether anything happens in a sandbox.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

/// The clock of a sandbox's idle timeout. A sandbox is busy while a command is
/// executed in it, and not idle when its input is written; its own command
/// alone does not count, as on Modal.
#[derive(Clone, Debug)]
pub(crate) struct Activity(Arc<watch::Sender<State>>);

#[derive(Clone, Copy, Debug)]
struct State {
    busy: usize,
    /// When something last happened.
    last: Instant,
}

/// While this lives, the sandbox is busy.
#[derive(Debug)]
pub(crate) struct Busy(Activity);

impl Activity {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(State {
            busy: 0,
            last: Instant::now(),
        })))
    }

    /// Something happens.
    pub(crate) fn touch(&self) {
        self.0.send_modify(|state| state.last = Instant::now());
    }

    /// Something happens until the answer is dropped.
    pub(crate) fn busy(&self) -> Busy {
        self.0.send_modify(|state| state.busy += 1);
        Busy(self.clone())
    }

    /// Resolves once nothing has happened for so long.
    pub(crate) async fn idle_for(&self, time: Duration) {
        let mut changes = self.0.subscribe();
        loop {
            let state = *changes.borrow_and_update();
            let until = state.last.checked_add(time);
            match until.filter(|_| state.busy == 0) {
                // The sender is part of self.
                None => drop(changes.changed().await),
                Some(until) => {
                    if timeout_at(until, changes.changed()).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| {
            state.busy = state.busy.saturating_sub(1);
            state.last = Instant::now();
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn idleness_starts_anew_with_every_activity() {
        let seconds = Duration::from_secs;
        let begin = Instant::now();
        let activity = Activity::new();
        let busy = activity.busy();
        let happens = async {
            sleep(seconds(100)).await;
            drop(busy);
            sleep(seconds(9)).await;
            activity.touch();
        };
        tokio::join!(happens, activity.idle_for(seconds(10)));
        assert_eq!(begin.elapsed().as_secs(), 119);
    }
}
