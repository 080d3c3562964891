//! Time for scripted cases: it stands still while anything can go on, then jumps
//! to the next moment that somebody waits for.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// How often time may jump before a case counts as one that never ends.
const JUMPS: u32 = 100_000;

/// A clock of its own for one case. Clones show the same time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock {
    state: Rc<RefCell<State>>,
}

#[derive(Debug, Default)]
struct State {
    now: Duration,
    sleepers: Vec<(Duration, Waker)>,
}

/// The case waits for something that never comes, or for ever again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hang;

impl Clock {
    /// Time since the case began.
    pub(crate) fn now(&self) -> Duration {
        self.state.borrow().now
    }

    /// Waits.
    pub(crate) fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        let clock = self.clone();
        let until = self.now().saturating_add(duration);
        poll_fn(move |context| {
            let mut state = clock.state.borrow_mut();
            if state.now >= until {
                return Poll::Ready(());
            }
            state.sleepers.push((until, context.waker().clone()));
            Poll::Pending
        })
    }

    /// Runs a case to its end.
    pub(crate) fn run<T>(&self, case: impl Future<Output = T>) -> Result<T, Hang> {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let mut case = pin!(case);
        for _ in 0..JUMPS {
            loop {
                if let Poll::Ready(result) = case.as_mut().poll(&mut context) {
                    return Ok(result);
                }
                if !woken.0.swap(false, Ordering::Relaxed) {
                    break;
                }
            }
            if !self.jump() {
                return Err(Hang);
            }
        }
        Err(Hang)
    }

    /// Goes on to the next moment that somebody waits for, if there is one.
    fn jump(&self) -> bool {
        let due: Vec<Waker> = {
            let mut state = self.state.borrow_mut();
            let Some(next) = state.sleepers.iter().map(|(until, _)| *until).min() else {
                return false;
            };
            state.now = next;
            let (due, waiting) = std::mem::take(&mut state.sleepers)
                .into_iter()
                .partition(|(until, _)| *until <= next);
            state.sleepers = waiting;
            let due: Vec<(Duration, Waker)> = due;
            due.into_iter().map(|(_, waker)| waker).collect()
        };
        due.into_iter().for_each(Waker::wake);
        true
    }
}

#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, Hang};
    use std::cell::RefCell;
    use std::time::Duration;

    #[test]
    fn sleepers_wake_in_the_order_of_their_times() {
        let clock = Clock::default();
        let order = RefCell::new(Vec::new());
        let wait = async |seconds| {
            clock.sleep(Duration::from_secs(seconds)).await;
            order.borrow_mut().push((seconds, clock.now().as_secs()));
        };
        let done = clock.run(async { futures::join!(wait(7), wait(3), wait(5)) });
        assert_eq!(done, Ok(((), (), ())));
        assert_eq!(order.into_inner(), [(3, 3), (5, 5), (7, 7)]);
    }

    #[test]
    fn what_never_ends_is_a_hang() {
        let clock = Clock::default();
        assert_eq!(clock.run(std::future::pending::<()>()), Err(Hang));
        let again_and_again = async {
            loop {
                clock.sleep(Duration::from_secs(1)).await;
            }
        };
        assert_eq!(clock.run::<()>(again_and_again), Err(Hang));
    }
}
