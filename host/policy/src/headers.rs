//! Header names that belong to the host.
//!
//! A guest that could set `host` would choose another virtual host after the
//! policy said yes; one that could set a credential's header would choose whose
//! account pays. Both are refused by name, in headers and in trailers alike.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, header};

use crate::refusal::{Reason, Refusal, Remedy};

/// The names a guest must not set. Cheap to clone, so that a host can move it
/// into the filters of its HTTP stack.
#[derive(Debug, Clone, Default)]
pub struct ForbiddenHeaders {
    // In lower case, as `HeaderName` keeps them.
    credentials: Arc<BTreeSet<String>>,
}

impl ForbiddenHeaders {
    /// The names every guest is refused, and those in which the host's own
    /// credentials travel.
    #[must_use]
    pub fn with_credentials(names: impl IntoIterator<Item = HeaderName>) -> Self {
        Self {
            credentials: Arc::new(names.into_iter().map(|name| name.to_string()).collect()),
        }
    }

    /// Whether a guest is refused this name, in any letter case.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let name = name.as_str();
        name.starts_with("proxy-")
            || CONNECTION.contains(&name)
            || REWRITING.contains(&name)
            || self.credentials.contains(name)
    }

    /// Judges the headers or trailers of a request.
    ///
    /// `te` passes with the value `trailers` only, which gRPC needs: HTTP/2 allows
    /// no other (RFC 9113, 8.2.2).
    ///
    /// # Errors
    ///
    /// A [`Refusal`] with [`Reason::ForbiddenHeader`] for the first name refused.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let odd_te = headers
            .get_all(header::TE)
            .iter()
            .any(|value| value != "trailers");
        let refused = odd_te
            .then_some(&header::TE)
            .or_else(|| headers.keys().find(|name| self.contains(name.as_str())));
        let Some(name) = refused else {
            return Ok(());
        };
        Err(Refusal::new(
            format!("the header `{name}`"),
            Reason::ForbiddenHeader,
            Remedy::ChangeRequest("leave it out; the host sets what the server needs"),
        ))
    }
}

/// About one connection, which is the host's (RFC 9110, 7.6.1; RFC 9113, 8.2.2);
/// `proxy-*` is matched as a family.
const CONNECTION: &[&str] = &[
    "alt-used",
    "connection",
    "host",
    "http2-settings",
    "keep-alive",
    "transfer-encoding",
    "upgrade",
];

/// Headers by which some servers and frameworks replace the host, path or method
/// of a request: what would be sent is not what was judged.
const REWRITING: &[&str] = &[
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-path",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-url",
    "x-rewrite-url",
];
