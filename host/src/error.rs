//! What can go wrong between a host app and a plugin.

use crate::contract;
use crate::limits::CRASH_TEXT;
use std::fmt;
use std::time::Duration;

/// Why a call to a plugin has no result. Whatever it is, the host and other
/// plugins go on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The plugin answered with an error of the contract.
    #[error("{}", Described(.0))]
    Plugin(contract::Error),
    /// The plugin crashed. Its instance is gone.
    #[error("the plugin crashed: {message}")]
    Trapped {
        /// What the engine says.
        message: String,
    },
    /// The plugin used more CPU than it may without returning. Its instance is
    /// gone.
    #[error("the plugin was ended: it computed for more than {limit:?} without a pause")]
    Spinning {
        /// How long it may.
        limit: Duration,
    },
    /// The plugin did not answer in time. Its instance is gone.
    #[error("the plugin was ended: it did not answer within {limit:?}")]
    TooSlow {
        /// How long it may.
        limit: Duration,
    },
    /// The plugin ended a run without saying how it ended. Its instance is gone.
    #[error("the plugin ended the run without a result")]
    NoResult,
    /// The plugin said something that the contract does not allow. Its instance
    /// is gone.
    #[error("the plugin broke the contract: {what}")]
    BrokenContract {
        /// What it said.
        what: String,
    },
}

impl Error {
    /// A crash, in the engine's words.
    pub(crate) fn trapped(message: &str) -> Self {
        // Names of functions are the guest's to choose.
        let mut shown = String::new();
        for c in message.chars() {
            if shown.len() >= CRASH_TEXT {
                shown.push('…');
                break;
            }
            match c.is_control() && c != '\n' {
                true => shown.extend(c.escape_default()),
                false => shown.push(c),
            }
        }
        Self::Trapped { message: shown }
    }
}

/// Why a component is not a plugin that this host can run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It is too large.
    #[error("the component has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The most it may have.
        limit: usize,
    },
    /// It is no valid component.
    #[error("this is no WebAssembly component: {0}")]
    Invalid(String),
    /// It wants something that no plugin gets, or offers something else than a
    /// plugin does.
    #[error("the component does not fit the world {world}: {0}", world = contract::WORLD)]
    WrongWorld(String),
}

impl From<contract::Error> for Error {
    fn from(error: contract::Error) -> Self {
        Self::Plugin(error)
    }
}

/// An error of the contract in words.
struct Described<'e>(&'e contract::Error);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use contract::{Error, StoreError};
        match self.0 {
            Error::Invalid(faults) => {
                for (position, fault) in faults.iter().enumerate() {
                    if position > 0 {
                        writeln!(f)?;
                    }
                    if !fault.path.is_empty() {
                        write!(f, "{}: ", fault.path.join("."))?;
                    }
                    write!(f, "{}", fault.message)?;
                }
                Ok(())
            }
            Error::Refused(refusal) => write!(f, "refused {}: {}", refusal.asked, refusal.reason),
            Error::Service(error) => write!(f, "{}", error.message),
            Error::Unreachable(error) => write!(f, "{}", error.reason),
            Error::Store(StoreError::Unavailable(reason)) => {
                write!(f, "the run store failed: {reason}")
            }
            Error::Store(StoreError::Fenced) => {
                write!(f, "another controller has taken over this run")
            }
            Error::Store(StoreError::UnknownRun) => {
                write!(f, "the run store does not know this run")
            }
            Error::NotFound(what) => write!(f, "{what}"),
            Error::Cancelled => write!(f, "cut short on request"),
            Error::Unsupported(what) => write!(f, "{what}"),
            Error::Internal(what) => write!(f, "defect of the plugin: {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Error;
    use crate::limits::CRASH_TEXT;

    #[test]
    fn what_the_engine_says_is_cut_and_fit_to_print() {
        let error = Error::trapped("unreachable\n  at \u{1b}[2Jevil");
        assert_eq!(
            error.to_string(),
            "the plugin crashed: unreachable\n  at \\u{1b}[2Jevil"
        );
        let Error::Trapped { message } = Error::trapped(&"ä".repeat(100_000)) else {
            panic!("no crash");
        };
        assert!(message.len() <= CRASH_TEXT + "ä…".len());
    }
}
