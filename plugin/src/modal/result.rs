//! How a sandbox ended.

use crate::limits;
use crate::text::first_chars;
use modal_proto::client::{GenericResult, GenericStatus};

/// Exit code that stands for a sandbox that was terminated (SDK).
pub const TERMINATED: i32 = 137;
/// Exit code that stands for a sandbox that ran out of time (SDK).
pub const TIMED_OUT: i32 = 124;

/// The end of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Its command ended by itself.
    Exited {
        /// As the command gave it; 0 is success.
        code: i32,
    },
    /// Somebody terminated it.
    Terminated,
    /// Its time was up.
    TimedOut,
    /// It was ended by something other than its command: a failure whatever
    /// the exit code says.
    Broken {
        /// What happened.
        cause: Cause,
        /// As Modal gave it. Not to be trusted: 0 has been seen.
        code: i32,
        /// Modal's own words, possibly none.
        message: String,
    },
}

/// What ended a sandbox from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It never started.
    InitFailure,
    /// Modal failed.
    InternalFailure,
    /// Nothing happened in it for too long.
    IdleTimeout,
    /// Its machine ran short of memory.
    Eviction,
    /// It thrashed its memory.
    Thrashing,
    /// It used more memory than it may.
    OutOfMemory,
    /// Modal calls it failed, although its exit code says success.
    Unexplained,
    /// A status that this version does not know.
    Unknown {
        /// Its number.
        status: i32,
    },
}

impl Cause {
    fn describe(self) -> String {
        match self {
            Self::InitFailure => "the sandbox could not be started".into(),
            Self::InternalFailure => "Modal failed".into(),
            Self::IdleTimeout => "the sandbox was idle for too long".into(),
            Self::Eviction => "the sandbox was evicted: its machine ran short of memory".into(),
            Self::Thrashing => "the sandbox was evicted: it thrashed its memory".into(),
            Self::OutOfMemory => "the sandbox was killed: out of memory".into(),
            Self::Unexplained => "Modal reports a failure".into(),
            Self::Unknown { status } => {
                format!("the sandbox ended with an unknown status ({status})")
            }
        }
    }
}

impl Ending {
    /// Understands a result. None while the sandbox runs.
    pub fn from_result(result: &GenericResult) -> Option<Self> {
        let code = result.exitcode;
        let broken = |cause| Self::Broken {
            cause,
            code,
            message: first_chars(&result.exception, limits::MESSAGE).to_owned(),
        };
        let Ok(status) = GenericStatus::try_from(result.status) else {
            return Some(broken(Cause::Unknown {
                status: result.status,
            }));
        };
        Some(match status {
            GenericStatus::Unspecified => return None,
            GenericStatus::Failure if code == 0 => broken(Cause::Unexplained),
            GenericStatus::Success | GenericStatus::Failure => Self::Exited { code },
            GenericStatus::Terminated => Self::Terminated,
            GenericStatus::Timeout => Self::TimedOut,
            GenericStatus::InitFailure => broken(Cause::InitFailure),
            GenericStatus::InternalFailure => broken(Cause::InternalFailure),
            GenericStatus::IdleTimeout => broken(Cause::IdleTimeout),
            GenericStatus::MemoryManagerEviction => broken(Cause::Eviction),
            GenericStatus::MemoryThrashingEviction => broken(Cause::Thrashing),
            GenericStatus::KernelOomKill => broken(Cause::OutOfMemory),
        })
    }

    /// Whether the step did what it should.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Exited { code: 0 })
    }

    /// The return code as the SDK gives it.
    pub fn return_code(&self) -> i32 {
        match self {
            Self::Exited { code } | Self::Broken { code, .. } => *code,
            Self::Terminated => TERMINATED,
            Self::TimedOut => TIMED_OUT,
        }
    }

    /// Why it is no success, for people.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Exited { code: 0 } => None,
            Self::Exited { code } => Some(format!("exit code {code}")),
            Self::Terminated => Some("the sandbox was terminated".into()),
            Self::TimedOut => Some("the sandbox ran out of time".into()),
            Self::Broken { cause, message, .. } if message.is_empty() => Some(cause.describe()),
            Self::Broken { cause, message, .. } => Some(format!("{}: {message}", cause.describe())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, Ending};
    use modal_proto::client::GenericResult;

    fn ending(status: i32, exitcode: i32) -> Option<Ending> {
        Ending::from_result(&GenericResult {
            status,
            exitcode,
            ..GenericResult::default()
        })
    }

    #[test]
    fn only_a_clean_exit_is_success() {
        assert_eq!(ending(0, 0), None);
        assert!(ending(1, 0).unwrap().is_success());
        for (status, code) in [(1, 3), (2, 0), (2, 1), (3, 0), (4, 0), (11, 0)]
            .into_iter()
            .chain((5..=10).map(|status| (status, 0)))
        {
            let ending = ending(status, code).unwrap();
            assert!(!ending.is_success(), "{status}/{code}");
            assert!(ending.reason().is_some());
        }
    }

    #[test]
    fn return_codes_are_those_of_the_sdk() {
        for (status, code, expected) in [(3, 0, 137), (4, 7, 124), (2, 7, 7), (8, 1, 1), (1, 0, 0)]
        {
            assert_eq!(ending(status, code).unwrap().return_code(), expected);
        }
    }

    #[test]
    fn the_reason_keeps_modals_words() {
        let ending = Ending::from_result(&GenericResult {
            status: 10,
            exception: "used 2.1 GiB of 2 GiB".into(),
            ..GenericResult::default()
        })
        .unwrap();
        assert!(matches!(
            ending,
            Ending::Broken {
                cause: Cause::OutOfMemory,
                ..
            }
        ));
        assert_eq!(
            ending.reason().unwrap(),
            "the sandbox was killed: out of memory: used 2.1 GiB of 2 GiB"
        );
    }
}
