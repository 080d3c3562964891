//! Tells steps where they run, without a flood of questions: the record of a
//! step appears only once its own code runs.

use super::controller::Shared;
use super::store::RunStore;
use crate::limits;
use crate::platform::Platform;
use serde_json::{Map, Value};
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

/// What one step has been told so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Publication {
    is_done: bool,
    tried_at: Option<Duration>,
}

impl Publication {
    /// Whether the step knows.
    pub fn is_done(self) -> bool {
        self.is_done
    }

    /// Whether it is time to try. Once it knows, it never is.
    pub fn is_due(self, now: Duration) -> bool {
        let rested = |tried_at: Duration| now.saturating_sub(tried_at) >= limits::TELL_STEP_PAUSE;
        !self.is_done && self.tried_at.is_none_or(rested)
    }

    /// Tries, if it is time to.
    pub async fn attempt(&mut self, now: Duration, tell: impl Future<Output = bool>) {
        if self.is_due(now) {
            self.tried_at = Some(now);
            self.is_done = tell.await;
        }
    }
}

/// Tells a step where it runs as soon as it can be told. Never returns: it goes
/// on beside something that does.
pub(super) async fn keep_telling<P: Platform, S: RunStore>(
    shared: &Shared<P, S>,
    step: &str,
    values: &Map<String, Value>,
) -> Infallible {
    let platform = shared.client.platform();
    let mut publication = Publication::default();
    loop {
        let tell = shared.store.tell_step(&shared.run_id, step, values);
        publication.attempt(platform.monotonic(), tell).await;
        if publication.is_done() {
            return std::future::pending().await;
        }
        platform.sleep(limits::TELL_STEP_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::Publication;
    use futures::FutureExt as _;
    use std::future::ready;
    use std::time::Duration;

    #[test]
    fn a_step_is_told_every_ten_seconds_until_it_knows() {
        let mut publication = Publication::default();
        let mut told_at = Vec::new();
        for second in 0..40 {
            let now = Duration::from_secs(second);
            if publication.is_due(now) {
                told_at.push(second);
            }
            let attempt = publication.attempt(now, ready(second >= 15));
            assert_eq!(attempt.now_or_never(), Some(()));
        }
        assert_eq!(told_at, [0, 10, 20]);
        assert!(publication.is_done());
    }
}
