//! What a guest is told when the answer is no.

use std::fmt;

use crate::address::AddressClass;
use crate::grant::Grant;
use crate::names::{MethodName, ServiceName};
use crate::target::UriFault;

/// What was asked, why it was refused, and what would allow it.
///
/// The `Display` says these three in that order. It holds no secret: user names
/// and queries of URIs are left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused {}: {}; {}", inner.asked, inner.reason, inner.remedy)]
pub struct Refusal {
    // Boxed: results of every request carry the type, few carry a value.
    inner: Box<Inner>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    asked: String,
    reason: Reason,
    remedy: Remedy,
}

impl Refusal {
    pub(crate) fn new(asked: String, reason: Reason, remedy: Remedy) -> Self {
        Self {
            inner: Box::new(Inner {
                asked,
                reason,
                remedy,
            }),
        }
    }

    /// What was asked, such as `POST https://api.example.com/example.Jobs/Create`.
    #[must_use]
    pub fn asked(&self) -> &str {
        &self.inner.asked
    }

    /// Why it was refused.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.inner.reason
    }

    /// What would allow it.
    #[must_use]
    pub fn remedy(&self) -> &Remedy {
        &self.inner.remedy
    }
}

/// Why something was refused.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The URI is written in a way that is not accepted from anybody.
    #[error(transparent)]
    Uri(#[from] UriFault),
    /// `CONNECT` or `TRACE`.
    #[error("this method opens a tunnel or reflects the request, and cannot be granted")]
    Method,
    /// A header that belongs to the host.
    #[error("this header belongs to the host")]
    ForbiddenHeader,
    /// No grant covers the request.
    #[error(transparent)]
    NotGranted(Missing),
    /// The address is not of the public internet.
    #[error("it is {0}")]
    Address(AddressClass),
    /// A name of the machine itself that leads to another one.
    #[error("the name stands for this machine, and the address is another one's")]
    NotLoopback,
    /// The request's headers are too large.
    #[error("the headers take {size} bytes of the {limit} allowed")]
    HeaderBytes {
        /// Names and values, and 32 bytes for each pair, as HTTP/2 counts.
        size: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A budget does not hold what was asked of it.
    #[error("{meter} has {left} of {limit} bytes left")]
    Spent {
        /// Which budget.
        meter: Meter,
        /// Bytes left in it.
        left: u64,
        /// The whole budget, in bytes.
        limit: u64,
    },
}

/// How far the grants go towards a request that none of them covers.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// No grant names the scheme, host and port.
    #[error("no grant names this scheme, host and port")]
    Origin,
    /// The server is granted, this gRPC service on it is not.
    #[error("the grants for this server do not include the service `{0}`")]
    Service(ServiceName),
    /// The service is granted, this method of it is not.
    #[error("the grants for `{0}` do not include the method `{1}`")]
    Method(ServiceName, MethodName),
    /// The server is granted, not with this method and path.
    #[error("the grants for this server do not include this method and path")]
    Path,
}

/// What would turn a refusal into a permit.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// This grant, added to the policy, covers the request.
    Grant(Box<Grant>),
    /// `private = true` on the grant for this host.
    AllowPrivate,
    /// A larger limit; the name is its key in [`Limits`](crate::Limits).
    RaiseLimit(&'static str),
    /// Nothing but another request: what to change.
    ChangeRequest(&'static str),
    /// No grant allows this.
    Never,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(grant) => write!(f, "to allow it, add the grant: {grant}"),
            Self::AllowPrivate => {
                f.write_str("to allow it, set `private = true` in the grant that names this host")
            }
            Self::RaiseLimit(key) => write!(f, "to allow it, raise the limit `{key}`"),
            Self::ChangeRequest(help) => f.write_str(help),
            Self::Never => f.write_str("no grant allows this"),
        }
    }
}

/// What a [`Budget`](crate::Budget) counts.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Meter {
    /// One request's body.
    RequestBody,
    /// One response's body.
    ResponseBody,
    /// Everything a guest sends.
    Egress,
}

impl Meter {
    /// The key of the limit in [`Limits`](crate::Limits).
    #[must_use]
    pub fn limit_key(self) -> &'static str {
        match self {
            Self::RequestBody => "request_body_bytes",
            Self::ResponseBody => "response_body_bytes",
            Self::Egress => "egress_bytes",
        }
    }
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RequestBody => "the budget of this request's body",
            Self::ResponseBody => "the budget of this response's body",
            Self::Egress => "the budget of all that this guest sends",
        })
    }
}
