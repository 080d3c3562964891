//! Calls that fail by chance, and creates that come too fast.

use std::time::Duration;
use tokio::time::Instant;

/// Calls that fail by chance: half of them before anything is done, half of them
/// after it, so that only the answer is lost. Both are UNAVAILABLE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Of a hundred calls so many fail.
    pub percent: u32,
    /// Fixes which.
    pub seed: u64,
}

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    Refused,
    AnswerLost,
}

impl Faults {
    /// What happens to the call of this number.
    pub(crate) fn fate(self, call: u64) -> Fate {
        let chance = mix(self.seed ^ mix(call));
        match chance % 100 < u64::from(self.percent) {
            false => Fate::Answered,
            true if chance >> 63 == 0 => Fate::Refused,
            true => Fate::AnswerLost,
        }
    }
}

/// The finaliser of splitmix64: neighbours get unrelated numbers.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A bucket of creates that fills up steadily. A create that finds it empty is
/// told to come again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throttle {
    /// Creates a second.
    pub rate: f64,
    /// Creates that a full bucket holds.
    pub burst: f64,
    /// What a refused one is told to wait.
    pub wait: Duration,
}

/// The bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    throttle: Throttle,
    left: f64,
    filled: Instant,
}

impl Bucket {
    pub(crate) fn new(throttle: Throttle) -> Self {
        Self {
            throttle,
            left: throttle.burst,
            filled: Instant::now(),
        }
    }

    /// Takes one out, or says how long to wait.
    pub(crate) fn take(&mut self) -> Result<(), Duration> {
        let passed = self.filled.elapsed().as_secs_f64();
        self.filled = Instant::now();
        self.left = (self.left + passed * self.throttle.rate).min(self.throttle.burst);
        if self.left < 1.0 {
            return Err(self.throttle.wait);
        }
        self.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Fate, Faults};

    #[test]
    fn about_so_many_fail_and_always_the_same() {
        let faults = Faults {
            percent: 10,
            seed: 7,
        };
        let fates = || (0..10_000).map(move |call| faults.fate(call));
        let count = |wanted| fates().filter(|fate| *fate == wanted).count();
        assert!((400..600).contains(&count(Fate::Refused)));
        assert!((400..600).contains(&count(Fate::AnswerLost)));
        assert!(fates().eq(fates()));
    }
}
