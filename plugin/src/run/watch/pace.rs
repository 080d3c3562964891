//! When to list next. Pure: it is told what happened and when.
//!
//! A listing costs calls whether anything has ended or not. So listings follow
//! each other quickly while ends are found and slowly while none are, and all of
//! them together stay within a budget that grows with the number of sandboxes
//! that are watched.

use crate::limits;
use std::time::Duration;

/// The rhythm of listings.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    interval: Duration,
    /// When the last one did.
    began_at: Duration,
    /// Nothing is listed before this.
    not_before: Duration,
    /// Pages that may be asked for.
    budget: f64,
    filled_at: Duration,
    failures: u32,
}

impl Pace {
    /// No listing yet.
    pub(super) fn new(now: Duration) -> Self {
        Self {
            interval: limits::LIST_PAUSE.0,
            began_at: now,
            not_before: now,
            budget: f64::from(limits::LIST_BUDGET_LEAST),
            filled_at: now,
            failures: 0,
        }
    }

    /// Something ended elsewhere: more of the kind may have.
    pub(super) fn hint(&mut self, now: Duration) {
        let (shortest, _) = limits::LIST_PAUSE;
        if self.failures == 0 && self.interval > shortest {
            self.interval = shortest;
            self.not_before = self.not_before.min(now + shortest);
        }
    }

    /// When the next listing may begin, with this many sandboxes to look for and
    /// if it takes as many pages as the last one.
    pub(super) fn next(&mut self, now: Duration, watched: usize, pages: u32) -> Duration {
        let (rate, room) = budget(watched);
        let passed = now.saturating_sub(self.filled_at).as_secs_f64();
        self.budget = (self.budget + passed * rate).min(room);
        self.filled_at = now;
        let missing = f64::from(pages).min(room) - self.budget;
        let wait = match missing > 0.0 {
            true => Duration::try_from_secs_f64(missing / rate).unwrap_or(limits::LIST_PAUSE.1),
            false => Duration::ZERO,
        };
        // However large the listing, it is made this often at least.
        let latest = self.began_at + limits::LIST_PAUSE.1;
        (now + wait).min(latest).max(self.not_before)
    }

    /// A listing began.
    pub(super) fn began(&mut self, now: Duration) {
        self.began_at = now;
        self.not_before = now + self.interval;
    }

    /// It is over: so many pages, and so many ends were found.
    pub(super) fn over(&mut self, pages: u32, ends: usize) {
        let (shortest, longest) = limits::LIST_PAUSE;
        self.failures = 0;
        self.budget -= f64::from(pages);
        self.interval = match ends {
            0 => (self.interval * 2).min(longest),
            _ => shortest,
        };
    }

    /// It failed in passing. The server may say when to come again.
    pub(super) fn failed(&mut self, now: Duration, retry_after: Option<Duration>) {
        let (shortest, longest) = limits::PATIENT_PAUSE;
        let pause = crate::modal::retry::doubled(shortest, self.failures).min(longest);
        self.failures = self.failures.saturating_add(1);
        self.interval = limits::LIST_PAUSE.1;
        self.not_before = now + retry_after.unwrap_or(pause);
    }
}

/// Pages a second that may be asked for, and how many can be saved up.
fn budget(watched: usize) -> (f64, f64) {
    let watched = f64::from(u32::try_from(watched).unwrap_or(u32::MAX));
    let rate = (watched * limits::LIST_RATE).max(f64::from(limits::LIST_RATE_LEAST));
    let room = rate * limits::LIST_SAVED.as_secs_f64();
    (rate, room.max(f64::from(limits::LIST_BUDGET_LEAST)))
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use crate::limits;
    use std::time::Duration;

    /// Lists for a while and counts the pages.
    fn pages(watched: usize, pages: u32, seconds: u64, ends: usize) -> u32 {
        let mut now = Duration::from_secs(100);
        let end = now + Duration::from_secs(seconds);
        let mut pace = Pace::new(now);
        let mut count = 0;
        loop {
            now = pace.next(now, watched, pages);
            if now >= end {
                return count;
            }
            pace.began(now);
            pace.over(pages, ends);
            count += pages;
        }
    }

    #[test]
    fn quiet_sandboxes_are_listed_seldom_but_in_time() {
        for watched in [100, 1000, 10_000] {
            let per_listing = u32::try_from(watched).unwrap() / 100;
            let count = pages(watched, per_listing, 60, 0);
            let listings = count / per_listing;
            assert!((100..=140).contains(&listings), "{watched}: {listings}");
        }
    }

    #[test]
    fn busy_listings_stay_within_a_twentieth_of_a_call_per_sandbox_and_second() {
        for watched in [1000, 10_000] {
            let per_listing = u32::try_from(watched).unwrap() / 100;
            let count = f64::from(pages(watched, per_listing, 60, 1));
            let rate = count / 60.0 / watched as f64;
            assert!(rate < 0.06, "{watched}: {rate}");
        }
    }

    #[test]
    fn small_pages_do_not_make_it_blind() {
        // Ten a page: the budget does not cover it, the longest pause does.
        let listings = pages(1000, 100, 60, 0) / 100;
        assert!(listings >= 50, "{listings}");
    }

    #[test]
    fn an_end_elsewhere_hurries_it_and_a_failure_slows_it() {
        let now = Duration::from_secs(1);
        let mut pace = Pace::new(now);
        for _ in 0..10 {
            pace.began(now);
            pace.over(10, 0);
        }
        let (shortest, longest) = limits::LIST_PAUSE;
        let later = now + Duration::from_secs(60);
        pace.began(later);
        assert_eq!(pace.next(later, 1000, 10), later + longest);
        pace.hint(later);
        assert_eq!(pace.next(later, 1000, 10), later + shortest);
        pace.failed(later, None);
        assert_eq!(pace.next(later, 1000, 10), later + limits::PATIENT_PAUSE.0);
        pace.failed(later, Some(Duration::from_secs(30)));
        pace.hint(later);
        assert_eq!(pace.next(later, 1000, 10), later + Duration::from_secs(30));
    }
}
