//! Why a call to Modal failed.

use crate::limits;
use crate::platform::TransportFault;
use crate::text::first_chars;
use modal_proto::RETRY_POLICY_TYPE;
use modal_proto::client::{RpcRetryPolicy, RpcStatus};
use prost::Message as _;
use std::time::Duration;
use tonic::{Code, Status};

/// A call without a result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CallError {
    /// Modal said no, in its own words.
    #[error("{message}")]
    Status {
        /// The operation, by Modal's name for it.
        operation: &'static str,
        /// The gRPC status.
        code: Code,
        /// Modal's words, unchanged but for their length.
        message: String,
        /// How long to wait before asking again, when Modal says so.
        retry_after: Option<Duration>,
    },
    /// No answer.
    #[error("{fault}")]
    Transport {
        /// The operation, by Modal's name for it.
        operation: &'static str,
        /// What happened instead.
        fault: TransportFault,
    },
}

impl CallError {
    /// Reads what tonic made of an answer, or of the lack of one.
    pub fn from_status(operation: &'static str, status: &Status) -> Self {
        if let Some(fault) = transport_fault(status) {
            return Self::Transport { operation, fault };
        }
        Self::Status {
            operation,
            code: status.code(),
            message: first_chars(status.message(), limits::MESSAGE).to_owned(),
            retry_after: retry_after(status.details()),
        }
    }

    /// Whether the same call may succeed when made again: the statuses that the
    /// SDK retries, and broken connections.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Status { code, .. } => matches!(
                code,
                Code::DeadlineExceeded
                    | Code::Unavailable
                    | Code::Cancelled
                    | Code::Internal
                    | Code::Unknown
            ),
            Self::Transport { fault, .. } => matches!(fault, TransportFault::Broken { .. }),
        }
    }

    /// Whether every other call would fail the same way.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Status { code, .. } => matches!(code, Code::Unauthenticated),
            Self::Transport { fault, .. } => matches!(fault, TransportFault::Refused { .. }),
        }
    }

    /// Whether Modal answered with this status.
    pub fn is(&self, wanted: Code) -> bool {
        matches!(self, Self::Status { code, .. } if *code == wanted)
    }

    /// Whether Modal says that it is asked for too much at one time.
    pub fn is_throttling(&self) -> bool {
        self.is(Code::ResourceExhausted) || self.retry_after().is_some()
    }

    /// How long Modal wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Transport { .. } => None,
        }
    }
}

/// tonic wraps the error of the transport below it into a status.
fn transport_fault(status: &Status) -> Option<TransportFault> {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if let Some(fault) = error.downcast_ref::<TransportFault>() {
            return Some(fault.clone());
        }
        source = error.source();
    }
    None
}

/// The server-directed wait in `grpc-status-details-bin`. Any URL prefix before
/// the type's name is accepted, as the SDKs do; a figure that is no duration is
/// ignored.
fn retry_after(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let policy = status
        .details
        .iter()
        .find(|detail| detail.type_url.rsplit('/').next() == Some(RETRY_POLICY_TYPE))?;
    let policy = RpcRetryPolicy::decode(policy.value.as_slice()).ok()?;
    let wait = Duration::try_from_secs_f32(policy.retry_after_secs).ok()?;
    Some(wait.max(limits::THROTTLE_SHORTEST))
}

#[cfg(test)]
mod tests {
    use super::CallError;
    use modal_proto::client::{RpcRetryPolicy, RpcStatus};
    use prost::Message as _;
    use std::time::Duration;
    use tonic::{Code, Status};

    fn throttled(type_url: &str, seconds: f32) -> CallError {
        let details = RpcStatus {
            code: 8,
            message: "slow down".into(),
            details: vec![prost_types::Any {
                type_url: type_url.into(),
                value: RpcRetryPolicy {
                    retry_after_secs: seconds,
                }
                .encode_to_vec(),
            }],
        };
        let status = Status::with_details(
            Code::ResourceExhausted,
            "slow down",
            details.encode_to_vec().into(),
        );
        CallError::from_status("SandboxCreateV2", &status)
    }

    #[test]
    fn a_directed_wait_is_found_under_any_prefix() {
        for prefix in ["type.modal.com/", "type.googleapis.com/", ""] {
            let error = throttled(&format!("{prefix}modal.client.RPCRetryPolicy"), 0.5);
            assert_eq!(
                error.retry_after(),
                Some(Duration::from_millis(500)),
                "{prefix}"
            );
        }
        assert_eq!(throttled("type.modal.com/other", 0.5).retry_after(), None);
    }

    #[test]
    fn odd_waits_are_bounded_or_ignored() {
        let url = "type.modal.com/modal.client.RPCRetryPolicy";
        assert_eq!(
            throttled(url, 0.0).retry_after(),
            Some(Duration::from_millis(100))
        );
        for seconds in [-1.0, f32::NAN, f32::INFINITY] {
            assert_eq!(throttled(url, seconds).retry_after(), None);
        }
        let status = Status::with_details(Code::Internal, "", vec![0xff, 0xff].into());
        assert_eq!(CallError::from_status("X", &status).retry_after(), None);
    }

    #[test]
    fn permanent_statuses_are_not_transient() {
        for code in [
            Code::InvalidArgument,
            Code::NotFound,
            Code::PermissionDenied,
            Code::Unauthenticated,
            Code::FailedPrecondition,
            Code::ResourceExhausted,
            Code::AlreadyExists,
            Code::Unimplemented,
        ] {
            assert!(
                !CallError::from_status("X", &Status::new(code, "no")).is_transient(),
                "{code:?}"
            );
        }
    }
}
