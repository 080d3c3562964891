//! How many sandboxes may be starting at one time.
//!
//! Creating is fastest when everything that is ready is asked for at once, until
//! the service says that it is too much. Then fewer are asked for, and slowly
//! more again.

use crate::limits;
use crate::platform::Platform;
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The number, as it changes. Pure: it is told what happened and when.
#[derive(Debug, Clone)]
struct Ramp {
    most: usize,
    /// Successes since it last changed.
    successes: usize,
    /// Refusals until then belong to the same burst.
    settled_at: Duration,
    /// Nothing is to be started before this.
    not_before: Duration,
}

impl Ramp {
    fn new() -> Self {
        Self {
            most: limits::STARTING_AT_ONCE.get(),
            successes: 0,
            settled_at: Duration::ZERO,
            not_before: Duration::ZERO,
        }
    }

    /// A sandbox was created. After a round without a refusal an eighth more may
    /// be starting.
    fn succeeded(&mut self) {
        self.successes += 1;
        if self.successes >= self.most {
            self.successes = 0;
            let more = (self.most / 8).max(1);
            self.most = (self.most + more).min(limits::STARTING_AT_ONCE.get());
        }
    }

    /// The service said that it is too much, and perhaps when to come again.
    /// Whatever was under way then is refused together: it counts once.
    fn throttled(&mut self, now: Duration, wait: Duration) {
        self.successes = 0;
        self.not_before = self.not_before.max(now + wait);
        if now >= self.settled_at {
            self.most = (self.most / 2).max(limits::STARTING_AT_LEAST);
            self.settled_at = now + wait.max(limits::THROTTLE_BURST);
        }
    }
}

/// Places for sandboxes that are starting, first come, first served.
#[derive(Debug)]
pub struct Starting {
    ramp: RefCell<Ramp>,
    places: Semaphore,
    /// Places that were given out and are not to come back.
    surplus: Cell<usize>,
}

/// One of the places, until it is dropped.
#[derive(Debug)]
pub struct Place<'s> {
    starting: &'s Starting,
    permit: Option<SemaphorePermit<'s>>,
}

impl Default for Starting {
    fn default() -> Self {
        let ramp = Ramp::new();
        Self {
            places: Semaphore::new(ramp.most),
            ramp: RefCell::new(ramp),
            surplus: Cell::default(),
        }
    }
}

impl Starting {
    /// Waits for a place, and for as long as the service wants to be left alone.
    pub async fn place<P: Platform>(&self, platform: &P) -> Place<'_> {
        // Closed never, so it cannot fail.
        let permit = self.places.acquire().await.ok();
        let place = Place {
            starting: self,
            permit,
        };
        loop {
            let not_before = self.ramp.borrow().not_before;
            let wait = not_before.saturating_sub(platform.monotonic());
            if wait.is_zero() {
                return place;
            }
            platform.sleep(wait).await;
        }
    }

    /// A sandbox was created.
    pub fn succeeded(&self) {
        self.change(Ramp::succeeded);
    }

    /// The service said that it is too much, and perhaps how long to wait.
    pub fn throttled(&self, now: Duration, wait: Option<Duration>) {
        self.change(|ramp| ramp.throttled(now, wait.unwrap_or_default()));
    }

    fn change(&self, change: impl FnOnce(&mut Ramp)) {
        let mut ramp = self.ramp.borrow_mut();
        let before = ramp.most;
        change(&mut ramp);
        if ramp.most < before {
            let fewer = before - ramp.most;
            let free = self.places.forget_permits(fewer);
            self.surplus.set(self.surplus.get() + fewer - free);
        } else {
            let more = ramp.most - before;
            let kept = more.min(self.surplus.get());
            self.surplus.set(self.surplus.get() - kept);
            self.places.add_permits(more - kept);
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let surplus = &self.starting.surplus;
        if let Some(permit) = self.permit.take()
            && surplus.get() > 0
        {
            surplus.set(surplus.get() - 1);
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ramp, Starting};
    use crate::limits::{self, STARTING_AT_LEAST};
    use crate::testing::Fake;
    use futures::FutureExt as _;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);
    const MOST: usize = limits::STARTING_AT_ONCE.get();

    #[test]
    fn one_burst_of_refusals_halves_it_once() {
        let mut ramp = Ramp::new();
        for _ in 0..500 {
            ramp.throttled(SECOND, SECOND / 2);
        }
        assert_eq!(ramp.most, MOST / 2);
        assert_eq!(ramp.not_before, SECOND + SECOND / 2);
        ramp.throttled(3 * SECOND, Duration::ZERO);
        assert_eq!(ramp.most, MOST / 4);
        for round in 4..100 {
            ramp.throttled(round * SECOND, Duration::ZERO);
        }
        assert_eq!(ramp.most, STARTING_AT_LEAST);
    }

    #[test]
    fn it_grows_again_up_to_what_it_was() {
        let mut ramp = Ramp::new();
        for round in 1..100 {
            ramp.throttled(round * SECOND, Duration::ZERO);
        }
        let mut successes = 0;
        while ramp.most < MOST {
            ramp.succeeded();
            successes += 1;
            assert!(successes < 20_000, "{}", ramp.most);
        }
        (0..10_000).for_each(|_| ramp.succeeded());
        assert_eq!(ramp.most, MOST);
    }

    /// How many places are free.
    fn free(starting: &Starting, fake: &Fake) -> usize {
        let mut places = Vec::new();
        while let Some(place) = starting.place(fake).now_or_never() {
            places.push(place);
        }
        places.len()
    }

    #[test]
    fn places_follow_the_number_whoever_holds_them() {
        let fake = Fake::replying([]);
        let starting = Starting::default();
        let taken = || starting.place(&fake).now_or_never().unwrap();
        let held: Vec<_> = (0..MOST - 10).map(|_| taken()).collect();
        starting.throttled(SECOND, None);
        assert_eq!(free(&starting, &fake), 0);
        drop(held);
        assert_eq!(free(&starting, &fake), MOST / 2);
        let held: Vec<_> = (0..MOST / 2).map(|_| taken()).collect();
        starting.throttled(5 * SECOND, None);
        (0..MOST).for_each(|_| starting.succeeded());
        drop(held);
        let most = starting.ramp.borrow().most;
        assert!(MOST / 4 < most && most < MOST / 2);
        assert_eq!(free(&starting, &fake), most);
        assert_eq!(free(&starting, &fake), most);
    }

    #[test]
    fn nothing_starts_while_the_service_wants_to_be_left_alone() {
        let fake = Fake::replying([]);
        let starting = Starting::default();
        let now = crate::platform::Platform::monotonic(&fake);
        starting.throttled(now, Some(3 * SECOND));
        fake.block_on(async {
            assert!(starting.place(&fake).now_or_never().is_none());
            drop(starting.place(&fake).await);
        });
        assert_eq!(fake.sleeps(), [3000]);
    }
}
