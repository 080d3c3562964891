//! The time of day in a simulation.

use flavor_host::surroundings::WallClock;
use std::time::Duration;
use tokio::time::Instant;

/// Tokio's clock, counted from a given time of day, with jumps.
#[derive(Debug)]
pub(crate) struct SimulatedClock {
    start: Instant,
    /// Time since 1970 at the start.
    origin: Duration,
    /// When, from the start, and by how many seconds.
    jumps: Vec<(Duration, f64)>,
}

impl SimulatedClock {
    /// A clock that starts now.
    pub(crate) fn new(origin: Duration, jumps: Vec<(Duration, f64)>) -> Self {
        Self {
            start: Instant::now(),
            origin,
            jumps,
        }
    }
}

impl WallClock for SimulatedClock {
    fn now(&self) -> Duration {
        let elapsed = self.start.elapsed();
        let now = self.origin.saturating_add(elapsed);
        let done = self.jumps.iter().filter(|(at, _)| *at <= elapsed);
        done.fold(now, |now, (_, seconds)| {
            let by = Duration::try_from_secs_f64(seconds.abs()).unwrap_or_default();
            match *seconds < 0.0 {
                true => now.saturating_sub(by),
                false => now.saturating_add(by),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::SimulatedClock;
    use flavor_host::surroundings::WallClock as _;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn it_jumps_both_ways() {
        let second = Duration::from_secs(1);
        let jumps = vec![(second, 10.0), (3 * second, -20.0)];
        let clock = SimulatedClock::new(100 * second, jumps);
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(clock.now().as_secs());
            tokio::time::sleep(second).await;
        }
        assert_eq!(seen, [100, 111, 112, 93]);
    }
}
