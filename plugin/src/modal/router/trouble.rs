//! What to do after a failure at a command router. Pure: it is told what happened
//! and when.

use crate::limits;
use crate::modal::error::CallError;
use crate::modal::retry::doubled;
use std::time::Duration;
use tonic::Code;

/// How long a router may be out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// [`limits::ROUTER_RETRIES`] attempts and no more: nothing runs yet that
    /// could be lost.
    Short,
    /// Until nothing has been heard for [`limits::ROUTER_PATIENCE`]: a command
    /// runs, and the router may only be restarting.
    Long,
}

/// Failures since the last sign of life.
#[derive(Debug)]
pub(super) struct Trouble {
    patience: Patience,
    throttle_budget: Duration,
    failures: u32,
    throttles: u32,
    /// When nothing came back for the first time.
    silent_since: Option<Duration>,
    /// Whether the token was refused.
    is_refused: bool,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask again after a pause.
    Again(Duration, Renewal),
    /// Give the failure to the caller.
    GiveUp,
}

/// Whether the control plane is asked for the way to the router before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    /// No.
    No,
    /// The router may have moved. If it cannot be asked, the old way will do.
    Address,
    /// The token is over: without a new one there is no point in going on.
    Token,
}

impl Trouble {
    pub(super) fn new(patience: Patience, throttle_budget: Duration) -> Self {
        Self {
            patience,
            throttle_budget,
            failures: 0,
            throttles: 0,
            silent_since: None,
            is_refused: false,
        }
    }

    /// Server-directed waits so far: a header tells the router.
    pub(super) fn throttles(&self) -> u32 {
        self.throttles
    }

    /// Takes in a sign of life: the count starts anew.
    pub(super) fn is_over(&mut self) {
        self.failures = 0;
        self.silent_since = None;
        self.is_refused = false;
    }

    /// Takes in a failure that came at `now`.
    pub(super) fn failed(&mut self, error: &CallError, expires_soon: bool, now: Duration) -> Next {
        if error.is(Code::Unauthenticated) {
            return self.refused(expires_soon);
        }
        if let Some(wait) = error.retry_after() {
            return match self.throttle_budget.checked_sub(wait) {
                Some(left) => {
                    self.throttle_budget = left;
                    self.throttles = self.throttles.saturating_add(1);
                    Next::Again(wait, Renewal::No)
                }
                None => Next::GiveUp,
            };
        }
        if !error.is_transient() {
            return Next::GiveUp;
        }
        self.is_refused = false;
        self.failures = self.failures.saturating_add(1);
        match error {
            CallError::Transport { .. } => self.silent(now),
            CallError::Status { .. } => {
                self.silent_since = None;
                self.within_retries(Renewal::No)
            }
        }
    }

    /// A token that lasts is tried once more as it is, one that ends is replaced;
    /// a second refusal counts (SDK).
    fn refused(&mut self, expires_soon: bool) -> Next {
        if std::mem::replace(&mut self.is_refused, true) {
            return Next::GiveUp;
        }
        let renewal = match expires_soon {
            true => Renewal::Token,
            false => Renewal::No,
        };
        Next::Again(Duration::ZERO, renewal)
    }

    fn silent(&mut self, now: Duration) -> Next {
        let since = *self.silent_since.get_or_insert(now);
        let renewal = match self.failures % limits::ROUTER_FAILURES_PER_ADDRESS {
            0 => Renewal::Address,
            _ => Renewal::No,
        };
        match self.within_retries(renewal) {
            Next::GiveUp if self.patience == Patience::Long => {
                let pause = limits::ROUTER_PAUSE_LONGEST;
                match now.saturating_sub(since) + pause <= limits::ROUTER_PATIENCE {
                    true => Next::Again(pause, renewal),
                    false => Next::GiveUp,
                }
            }
            next => next,
        }
    }

    fn within_retries(&self, renewal: Renewal) -> Next {
        if self.failures > limits::ROUTER_RETRIES {
            return Next::GiveUp;
        }
        let pause = doubled(limits::ROUTER_PAUSE, self.failures.saturating_sub(1));
        Next::Again(pause, renewal)
    }
}

#[cfg(test)]
mod tests {
    use super::{Next, Patience, Renewal, Trouble};
    use crate::limits;
    use crate::modal::error::CallError;
    use crate::platform::TransportFault;
    use std::time::Duration;
    use tonic::Code;

    const HOUR: Duration = Duration::from_secs(3600);

    fn status(code: Code, retry_after: Option<Duration>) -> CallError {
        CallError::Status {
            operation: "X",
            code,
            message: String::new(),
            retry_after,
        }
    }

    fn silence() -> CallError {
        CallError::Transport {
            operation: "X",
            fault: TransportFault::Broken {
                reason: "reset".to_owned(),
            },
        }
    }

    fn again(next: Next) -> Option<(u128, Renewal)> {
        match next {
            Next::Again(pause, renewal) => Some((pause.as_millis(), renewal)),
            Next::GiveUp => None,
        }
    }

    #[test]
    fn ten_retries_with_doubling_pauses() {
        let mut trouble = Trouble::new(Patience::Long, HOUR);
        let error = status(Code::Unavailable, None);
        let mut pauses = Vec::new();
        while let Some((pause, renewal)) = again(trouble.failed(&error, false, Duration::ZERO)) {
            assert_eq!(renewal, Renewal::No);
            pauses.push(pause);
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120]);
    }

    #[test]
    fn a_sign_of_life_starts_the_count_anew() {
        let mut trouble = Trouble::new(Patience::Short, HOUR);
        for _ in 0..25 {
            let next = trouble.failed(&silence(), false, Duration::ZERO);
            assert_eq!(again(next), Some((10, Renewal::No)));
            trouble.is_over();
        }
    }

    #[test]
    fn a_router_that_is_out_of_reach_may_have_moved() {
        for patience in [Patience::Short, Patience::Long] {
            let mut trouble = Trouble::new(patience, HOUR);
            let (mut now, mut renewals, mut attempts) = (Duration::ZERO, 0, 0);
            while let Next::Again(pause, renewal) = trouble.failed(&silence(), false, now) {
                now += pause;
                attempts += 1;
                renewals += u32::from(renewal == Renewal::Address);
            }
            let expected = match patience {
                Patience::Short => (limits::ROUTER_RETRIES, Duration::from_millis(10_230)),
                Patience::Long => (attempts, limits::ROUTER_PATIENCE),
            };
            assert_eq!(attempts, expected.0);
            assert_eq!(renewals, attempts / limits::ROUTER_FAILURES_PER_ADDRESS);
            assert!(now <= expected.1 && now + limits::ROUTER_PAUSE_LONGEST > expected.1);
        }
    }

    #[test]
    fn a_token_is_refused_twice_at_most() {
        let refused = status(Code::Unauthenticated, None);
        for (expires_soon, renewal) in [(false, Renewal::No), (true, Renewal::Token)] {
            let mut trouble = Trouble::new(Patience::Long, HOUR);
            let mut fail = || again(trouble.failed(&refused, expires_soon, Duration::ZERO));
            assert_eq!(fail(), Some((0, renewal)));
            assert_eq!(fail(), None);
        }
    }

    #[test]
    fn what_does_not_pass_is_given_up() {
        for code in [
            Code::NotFound,
            Code::ResourceExhausted,
            Code::FailedPrecondition,
            Code::InvalidArgument,
        ] {
            let mut trouble = Trouble::new(Patience::Long, HOUR);
            let next = trouble.failed(&status(code, None), false, Duration::ZERO);
            assert_eq!(next, Next::GiveUp);
        }
    }

    #[test]
    fn directed_waits_are_kept_up_to_a_budget() {
        let wait = Duration::from_millis(400);
        let throttled = status(Code::ResourceExhausted, Some(wait));
        let mut trouble = Trouble::new(Patience::Short, Duration::from_secs(1));
        for number in 1..=2 {
            let next = trouble.failed(&throttled, false, Duration::ZERO);
            assert_eq!(next, Next::Again(wait, Renewal::No));
            assert_eq!(trouble.throttles(), number);
        }
        let next = trouble.failed(&throttled, false, Duration::ZERO);
        assert_eq!(next, Next::GiveUp);
    }
}
