//! Wall-clock time, from the machine or from tokio's clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Microseconds since the Unix epoch.
///
/// On the wire a time is a double of seconds; at today's dates those are a
/// quarter of a microsecond apart, so that two different timestamps stay
/// different there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp(i64);

impl Timestamp {
    pub(crate) fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub(crate) fn micros(self) -> i64 {
        self.0
    }

    pub(crate) fn millis(self) -> u64 {
        u64::try_from(self.0 / 1_000).unwrap_or(0)
    }

    pub(crate) fn whole_seconds(self) -> i64 {
        self.0 / 1_000_000
    }

    /// Seconds, as messages carry them.
    #[allow(
        clippy::cast_precision_loss,
        reason = "exact below 2^53 microseconds: the year 2255"
    )]
    pub(crate) fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The smallest later timestamp.
    pub(crate) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    pub(crate) fn plus(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

/// Where timestamps come from. Waiting always goes through tokio's clock.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    /// The machine's clock: what clients compare expiry times with, also after
    /// the machine was suspended, during which tokio's clock stands still.
    System,
    /// Tokio's clock, counted from a given time: virtual when it is paused.
    Tokio { origin: Instant, at: Timestamp },
}

impl Clock {
    pub(crate) fn tokio(at: Timestamp) -> Self {
        Self::Tokio {
            origin: Instant::now(),
            at,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::default().plus(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default(),
            ),
            Self::Tokio { origin, at } => at.plus(origin.elapsed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_stay_apart_on_the_wire() {
        // The end of 2099.
        let mut time = Timestamp::from_micros(4_102_444_799_000_000);
        for _ in 0..1_000 {
            assert!(time.seconds() < time.next().seconds());
            time = time.next();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn virtual_time_follows_tokio() {
        let clock = Clock::tokio(Timestamp::from_micros(5));
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert_eq!(clock.now(), Timestamp::from_micros(3_600_000_005));
    }
}
