//! When to make a call again. Pure: it is told what happened and when.

use super::error::CallError;
use crate::limits;
use std::time::Duration;

/// How often and how long a call is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Further attempts in quick succession.
    pub retries: u32,
    /// Time from the start during which further attempts follow at a slower
    /// pace; zero for none.
    pub patience: Duration,
}

impl Policy {
    /// What the SDK does.
    pub const SDK: Self = Self {
        retries: limits::RETRIES,
        patience: Duration::ZERO,
    };

    /// One attempt.
    pub const ONCE: Self = Self {
        retries: 0,
        patience: Duration::ZERO,
    };

    /// What the SDK does, and then on until this time has gone by.
    pub const fn patient(patience: Duration) -> Self {
        Self {
            retries: limits::RETRIES,
            patience,
        }
    }
}

/// The attempts of one logical call so far.
#[derive(Debug, Clone)]
pub struct Attempts {
    policy: Policy,
    throttle_budget: Duration,
    started: Duration,
    retries: u32,
    throttles: u32,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Ask again after a pause.
    Again(Duration),
    /// Give the failure to the caller.
    GiveUp,
}

impl Attempts {
    /// A call that begins at `now`. Server-directed waits do not count as
    /// retries, but may take no longer than `throttle_budget` together; zero
    /// ignores them, as the SDK does.
    pub fn new(now: Duration, policy: Policy, throttle_budget: Duration) -> Self {
        Self {
            policy,
            throttle_budget,
            started: now,
            retries: 0,
            throttles: 0,
        }
    }

    /// Takes in a failure that came at `now`.
    pub fn failed(&mut self, error: &CallError, now: Duration) -> Next {
        if let Some(wait) = error.retry_after() {
            if let Some(left) = self.throttle_budget.checked_sub(wait) {
                self.throttle_budget = left;
                self.throttles = self.throttles.saturating_add(1);
                return Next::Again(wait);
            }
            if !self.throttle_budget.is_zero() {
                return Next::GiveUp;
            }
        }
        if !error.is_transient() {
            return Next::GiveUp;
        }
        let pause = if self.retries < self.policy.retries {
            doubled(limits::RETRY_PAUSE, self.retries).min(limits::RETRY_PAUSE_LONGEST)
        } else {
            let (shortest, longest) = limits::PATIENT_PAUSE;
            let pause = doubled(shortest, self.retries - self.policy.retries).min(longest);
            if now.saturating_sub(self.started) + pause > self.policy.patience {
                return Next::GiveUp;
            }
            pause
        };
        self.retries = self.retries.saturating_add(1);
        Next::Again(pause)
    }

    /// The headers that tell Modal about earlier attempts.
    pub fn headers(&self, now: Duration) -> Vec<(&'static str, String)> {
        let since_start = || format!("{:?}", now.saturating_sub(self.started).as_secs_f64());
        let mut headers = vec![
            ("x-retry-attempt", self.retries.to_string()),
            ("x-throttle-retry-attempt", self.throttles.to_string()),
        ];
        if self.retries > 0 {
            headers.push(("x-retry-delay", since_start()));
        }
        if self.throttles > 0 {
            headers.push(("x-throttle-retry-delay", since_start()));
        }
        headers
    }
}

/// A pause after `times` doublings.
pub fn doubled(pause: Duration, times: u32) -> Duration {
    pause.saturating_mul(2_u32.saturating_pow(times))
}

#[cfg(test)]
mod tests {
    use super::{Attempts, Next, Policy};
    use crate::modal::error::CallError;
    use std::time::Duration;
    use tonic::Code;

    fn error(code: Code, retry_after: Option<f64>) -> CallError {
        CallError::Status {
            operation: "X",
            code,
            message: String::new(),
            retry_after: retry_after.map(Duration::from_secs_f64),
        }
    }

    fn pauses(attempts: &mut Attempts, error: &CallError) -> Vec<u128> {
        let mut pauses = Vec::new();
        let mut now = Duration::ZERO;
        while let Next::Again(pause) = attempts.failed(error, now) {
            pauses.push(pause.as_millis());
            now += pause;
            if pauses.len() > 20 {
                break;
            }
        }
        pauses
    }

    fn retries(retries: u32) -> Policy {
        Policy {
            retries,
            patience: Duration::ZERO,
        }
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn three_retries_with_doubling_pauses() {
        let mut attempts = Attempts::new(Duration::ZERO, retries(3), HOUR);
        assert_eq!(
            pauses(&mut attempts, &error(Code::Unavailable, None)),
            [100, 200, 400]
        );
    }

    #[test]
    fn the_pause_is_capped() {
        let mut attempts = Attempts::new(Duration::ZERO, retries(6), HOUR);
        assert_eq!(
            pauses(&mut attempts, &error(Code::Internal, None)),
            [100, 200, 400, 800, 1000, 1000]
        );
    }

    #[test]
    fn patience_goes_on_slowly_until_it_ends() {
        let policy = Policy::patient(Duration::from_secs(3));
        let mut attempts = Attempts::new(Duration::ZERO, policy, HOUR);
        assert_eq!(
            pauses(&mut attempts, &error(Code::Unavailable, None)),
            [100, 200, 400, 250, 500, 1000]
        );
    }

    #[test]
    fn permanent_failures_are_given_up_at_once() {
        for code in [
            Code::InvalidArgument,
            Code::ResourceExhausted,
            Code::Unauthenticated,
        ] {
            let mut attempts = Attempts::new(Duration::ZERO, retries(3), HOUR);
            assert_eq!(
                attempts.failed(&error(code, None), Duration::ZERO),
                Next::GiveUp
            );
        }
    }

    #[test]
    fn directed_waits_use_no_retry_up_to_a_budget() {
        let mut attempts = Attempts::new(Duration::ZERO, retries(3), Duration::from_secs(2));
        let throttled = error(Code::ResourceExhausted, Some(0.5));
        assert_eq!(pauses(&mut attempts, &throttled), [500; 4]);
        let headers = attempts.headers(Duration::from_secs(2));
        assert!(headers.contains(&("x-retry-attempt", "0".into())));
        assert!(headers.contains(&("x-throttle-retry-attempt", "4".into())));
        assert!(headers.contains(&("x-throttle-retry-delay", "2.0".into())));
        assert!(!headers.iter().any(|(name, _)| *name == "x-retry-delay"));
    }

    #[test]
    fn a_budget_of_zero_ignores_directed_waits() {
        let mut attempts = Attempts::new(Duration::ZERO, retries(1), Duration::ZERO);
        assert_eq!(
            pauses(&mut attempts, &error(Code::Unavailable, Some(5.0))),
            [100]
        );
        let mut attempts = Attempts::new(Duration::ZERO, retries(1), Duration::ZERO);
        assert_eq!(
            attempts.failed(&error(Code::ResourceExhausted, Some(5.0)), Duration::ZERO),
            Next::GiveUp
        );
    }
}
