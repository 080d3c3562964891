//! What a grant can say.
//!
//! In TOML (JSON has the same shape):
//!
//! ```toml
//! scheme = "https"
//! host = "api.example.com"
//! port = 8443                   # default: 443 for https, 80 for http
//! credential = "account"        # default: none
//! private = false               # default: false
//!
//! [grpc]
//! service = "example.v1.Jobs"
//! methods = ["Create", "Wait"]  # or "*"
//! lanes = { Wait = "waits" }    # default: none
//!
//! [[learn]]                     # default: none
//! method = "Create"
//! url = "5.2"                   # protobuf field path in the response
//! key = "response:1"            # or "request:1"
//! grpc = { service = "example.v1.Worker", methods = "*" }
//! ```
//!
//! A grant for something other than gRPC has, in place of `grpc` and `learn`:
//!
//! ```toml
//! [http]
//! method = "GET"
//! path = "/api/v1"
//! lane = "reads"                # default: none
//! ```
//!
//! Unknown keys are refused: a misspelt `methods` must not widen a grant.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;

use http::Method;
use serde::{Deserialize, Serialize};

use crate::access::{Access, GrpcAccess, HttpAccess, Methods};
use crate::learn::LearnRule;
use crate::names::{Label, MethodName, PathPrefix, ServiceName};
use crate::origin::{Host, Origin, Scheme};

/// One thing that a guest may ask of the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Document", into = "Document")]
pub struct Grant {
    origin: Origin,
    private: bool,
    credential: Option<Label>,
    access: Access,
    learn: Vec<Arc<LearnRule>>,
}

impl Grant {
    /// Methods of a gRPC service, on one lane.
    #[must_use]
    pub fn grpc(origin: Origin, service: ServiceName, methods: Methods) -> Self {
        Self::new(origin, Access::Grpc(GrpcAccess::new(service, methods)))
    }

    /// An HTTP method below a path.
    ///
    /// # Errors
    ///
    /// [`GrantError::HttpMethod`] for `CONNECT` and `TRACE`.
    pub fn http(origin: Origin, method: Method, path: PathPrefix) -> Result<Self, GrantError> {
        let access = HttpAccess::new(method, path)?;
        Ok(Self::new(origin, Access::Http(access)))
    }

    /// Anything that [`Access`] can say.
    #[must_use]
    pub fn new(origin: Origin, access: Access) -> Self {
        Self {
            origin,
            private: false,
            credential: None,
            access,
            learn: Vec::new(),
        }
    }

    /// Has the host add the headers of this credential.
    #[must_use]
    pub fn with_credential(mut self, credential: Label) -> Self {
        self.credential = Some(credential);
        self
    }

    /// Allows private and loopback addresses for this host, see
    /// [`AddressClass::is_private`](crate::AddressClass::is_private).
    #[must_use]
    pub fn with_private(mut self) -> Self {
        self.private = true;
        self
    }

    /// Learns further grants from a method's responses.
    ///
    /// # Errors
    ///
    /// [`GrantError::NotGranted`] when the grant does not include the method,
    /// [`GrantError::NotGrpc`] when it is none for gRPC.
    pub fn with_learn(mut self, rule: LearnRule) -> Result<Self, GrantError> {
        self.learn.push(Arc::new(rule));
        self.check()?;
        Ok(self)
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether private and loopback addresses are allowed.
    #[must_use]
    pub fn private(&self) -> bool {
        self.private
    }

    /// The credential whose headers the host adds.
    #[must_use]
    pub fn credential(&self) -> Option<&Label> {
        self.credential.as_ref()
    }

    /// What may be asked of the server.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// What the server's responses open.
    #[must_use]
    pub fn learn(&self) -> &[Arc<LearnRule>] {
        &self.learn
    }

    /// Whether the host would send the credential unencrypted, and to another
    /// machine at that: worth a warning when the grant is made.
    #[must_use]
    pub fn exposes_credential(&self) -> bool {
        self.credential.is_some()
            && self.origin.scheme() == Scheme::Http
            && !self.origin.host().is_loopback()
    }

    /// Every method that something is said about must be granted.
    fn check(&self) -> Result<(), GrantError> {
        let Access::Grpc(grpc) = &self.access else {
            return if self.learn.is_empty() {
                Ok(())
            } else {
                Err(GrantError::NotGrpc)
            };
        };
        grpc.check()?;
        for rule in &self.learn {
            grpc.check_method(&rule.method)?;
            rule.grpc.check()?;
        }
        Ok(())
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.origin, self.access)?;
        if let Some(credential) = &self.credential {
            write!(f, ", with the credential {credential}")?;
        }
        if self.private {
            f.write_str(", private addresses allowed")?;
        }
        for rule in &self.learn {
            write!(f, ", {} opens {}", rule.method, rule.grpc)?;
        }
        Ok(())
    }
}

/// Why a grant cannot be made.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Neither `grpc` nor `http`, or both.
    #[error(
        "a grant needs either `grpc` or `http`; write one of them, and a second grant for the other"
    )]
    OneAccess,
    /// A list of methods without any.
    #[error("a grant without methods allows nothing; name the methods, or write \"*\" for all")]
    NoMethods,
    /// `CONNECT`, `TRACE`, or no HTTP method at all.
    #[error("`{0}` is not an HTTP method that can be granted; write one such as `GET` or `POST`")]
    HttpMethod(String),
    /// A lane or learn rule for a method outside of the grant.
    #[error(
        "the grant does not include `{method}` of `{service}`; add it to `methods`, or leave out what is said about it"
    )]
    NotGranted {
        /// The service granted.
        service: ServiceName,
        /// The method that is not.
        method: MethodName,
    },
    /// A lane per method or a learn rule where there is no gRPC service.
    #[error("lanes per method and `learn` need `grpc`; write the lane of an `http` grant into it")]
    NotGrpc,
}

/// A [`Grant`] as it is stored.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    scheme: Scheme,
    host: Host,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<NonZeroU16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credential: Option<Label>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    private: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grpc: Option<GrpcAccess>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http: Option<HttpAccess>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    learn: Vec<LearnRule>,
}

impl TryFrom<Document> for Grant {
    type Error = GrantError;

    fn try_from(document: Document) -> Result<Self, GrantError> {
        let access = match (document.grpc, document.http) {
            (Some(grpc), None) => Access::Grpc(grpc),
            (None, Some(http)) => Access::Http(http),
            _ => return Err(GrantError::OneAccess),
        };
        let grant = Self {
            origin: Origin::new(document.scheme, document.host, document.port),
            private: document.private,
            credential: document.credential,
            access,
            learn: document.learn.into_iter().map(Arc::new).collect(),
        };
        grant.check()?;
        Ok(grant)
    }
}

impl From<Grant> for Document {
    fn from(grant: Grant) -> Self {
        let (grpc, http) = match grant.access {
            Access::Grpc(grpc) => (Some(grpc), None),
            Access::Http(http) => (None, Some(http)),
        };
        let scheme = grant.origin.scheme();
        Self {
            scheme,
            host: grant.origin.host().clone(),
            port: Some(grant.origin.port()).filter(|port| *port != scheme.default_port()),
            credential: grant.credential,
            private: grant.private,
            grpc,
            http,
            learn: grant.learn.into_iter().map(Arc::unwrap_or_clone).collect(),
        }
    }
}
