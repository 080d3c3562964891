//! How the process ends. Others script these codes.

use crate::terminal;
use flavor_host::contract::{self, RunFinished, RunStatus};
use flavor_host::credentials::modal::TokenError;
use flavor_host::state::StateError;
use flavor_host::{Error, LoadError, StartError, TargetError};
use std::fmt::Display;
use std::process::ExitCode;

/// Exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything was done.
    Done,
    /// A step or a run failed.
    Failed,
    /// Bad input, configuration or usage.
    BadInput,
    /// Refused by policy.
    Refused,
    /// The service or the network failed, or there are no credentials for it.
    Service,
    /// Interrupted or stopped.
    Stopped,
    /// A command in a sandbox ended with this code.
    Command(u8),
    /// A command in a sandbox was not run, or its end is not known.
    NotRun,
}

impl Exit {
    fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::BadInput => 2,
            Self::Refused => 3,
            Self::Service => 4,
            Self::Stopped => 130,
            Self::Command(code) => code,
            Self::NotRun => 125,
        }
    }

    /// For a run that went its way.
    pub(crate) fn of_run(finished: &RunFinished) -> Self {
        match (&finished.error, finished.status) {
            (Some(error), RunStatus::Failed) => Self::of_plugin_error(error),
            (_, RunStatus::Completed) => Self::Done,
            (_, RunStatus::Stopped) => Self::Stopped,
            _ => Self::Failed,
        }
    }

    fn of_plugin_error(error: &contract::Error) -> Self {
        use contract::Error;
        match error {
            Error::Invalid(_) | Error::NotFound(_) | Error::Unsupported(_) => Self::BadInput,
            Error::Refused(_) => Self::Refused,
            Error::Service(_) | Error::Unreachable(_) => Self::Service,
            Error::Cancelled => Self::Stopped,
            Error::Store(_) | Error::Internal(_) => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do what it should: a code, and a message that says
/// what happened, why, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
        }
    }

    pub(crate) fn bad_input(message: impl Display) -> Self {
        Self::new(Exit::BadInput, message)
    }

    /// The same, with another code.
    pub(crate) fn with_exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// The same, and what to do about it.
    pub(crate) fn and(self, advice: &str) -> Self {
        let message = format!("{}; {advice}", self.message);
        Self { message, ..self }
    }

    /// The same, about this place.
    pub(crate) fn at(self, place: &str) -> Self {
        let message = format!("{place}: {}", self.message);
        Self { message, ..self }
    }

    /// The message, fit for a terminal.
    pub(crate) fn message(&self) -> String {
        terminal::escape(&self.message)
    }

    /// Says it on stderr.
    pub(crate) fn report(&self) -> ExitCode {
        terminal::complain(&format!("error: {}", self.message()));
        self.exit.into()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match &error {
            Error::Plugin(error) => Exit::of_plugin_error(error),
            _ => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Run(error) => error.into(),
            StartError::Target(error) => error.into(),
            error => Self::new(Exit::Failed, error),
        }
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        Self::bad_input(error)
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        Self::new(Exit::Service, error)
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::new(
            Exit::BadInput,
            format!("the plugin cannot be loaded: {error}"),
        )
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::new(Exit::Failed, error)
    }
}

impl From<contract::StoreError> for Failure {
    fn from(error: contract::StoreError) -> Self {
        Error::Plugin(contract::Error::Store(error)).into()
    }
}
