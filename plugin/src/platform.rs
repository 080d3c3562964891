//! What the plugin needs from outside: HTTP, time, chance and a log. In the
//! component these are imports; tests bring their own.

use crate::limits::Deadline;
use std::fmt;
use std::future::Future;
use std::time::Duration;
use tonic::body::Body;

/// The outside world.
pub trait Platform: Clone + 'static {
    /// Sends one HTTP request and gives the answer once its head is there.
    fn send(
        &self,
        request: http::Request<Body>,
        deadline: Deadline,
    ) -> impl Future<Output = Result<http::Response<Body>, TransportFault>>;

    /// Waits.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;

    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;

    /// Time since the beginning of 1970, as far as the host's clock is right.
    fn unix_time(&self) -> Duration;

    /// 16 bytes of chance.
    fn random(&self) -> [u8; 16];

    /// A line for the host's log.
    fn log(&self, level: LogLevel, message: &str);
}

/// How much a line of the log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// For whoever looks for a defect.
    Debug,
    /// Worth a look.
    Warn,
}

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportFault {
    /// The host's policy forbids it. Asking again changes nothing.
    Refused {
        /// The URL that was asked for.
        url: String,
    },
    /// The connection failed, broke or took too long.
    Broken {
        /// What happened.
        reason: String,
    },
}

impl fmt::Display for TransportFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { url } => write!(f, "the host does not allow requests to {url}"),
            Self::Broken { reason } => f.write_str(reason),
        }
    }
}

impl std::error::Error for TransportFault {}
