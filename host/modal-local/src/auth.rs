//! Who calls, and whether they may.

use std::fmt;

use http::{HeaderMap, Uri, uri::Scheme};
use tonic::Status;

use crate::{
    core::Core,
    ids::TaskId,
    random::Random,
    token::{Audience, same_secret},
};

/// A Modal token: what every control-plane call must carry.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `ak-…`, sent as `x-modal-token-id`.
    pub token_id: String,
    /// `as-…`, sent as `x-modal-token-secret`.
    pub token_secret: String,
}

impl Credentials {
    pub(crate) fn fresh(random: &Random) -> Self {
        Self {
            token_id: format!("ak-{}", random.alphanumeric(22)),
            token_secret: format!("as-{}", random.alphanumeric(22)),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("token_id", &self.token_id)
            .finish_non_exhaustive()
    }
}

/// A client of the control plane, authenticated.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The scheme of router URLs that this client accepts.
    scheme: &'static str,
    /// The host and port it reached this server by.
    authority: String,
}

impl Caller {
    /// Checks the headers of a control-plane call: token id and secret always,
    /// the short-lived tokens where they are sent.
    pub(crate) fn authenticate(
        core: &Core,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Self, Status> {
        let header = |name: &str| headers.get(name).map(|value| value.as_bytes());
        let (Some(id), Some(secret)) = (header("x-modal-token-id"), header("x-modal-token-secret"))
        else {
            return Err(Status::unauthenticated(
                "token missing: send x-modal-token-id and x-modal-token-secret \
                 (MODAL_TOKEN_ID and MODAL_TOKEN_SECRET for the official clients)",
            ));
        };
        let expected = &core.credentials;
        // Both are always compared.
        let known =
            core.is_secret(id, &expected.token_id) & core.is_secret(secret, &expected.token_secret);
        if !known {
            return Err(Status::unauthenticated(
                "token refused: this local Modal was started with another token id or secret",
            ));
        }
        for (name, audience) in [
            ("x-modal-auth-token", Audience::ControlPlane),
            ("x-modal-sandbox-token", Audience::Sandbox),
        ] {
            if let Some(token) = header(name) {
                core.verify(audience, token)
                    .map_err(|reason| Status::unauthenticated(format!("{name} {reason}")))?;
            }
        }
        Ok(Self {
            scheme: router_scheme(header("x-modal-client-type"), uri.scheme()),
            authority: authority(uri, headers),
        })
    }

    /// The URL of the task command router, which is this same server.
    pub(crate) fn router_url(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }
}

/// The right to call the worker plane for one task.
#[derive(Clone, Debug)]
pub(crate) struct RouterGrant(TaskId);

impl RouterGrant {
    /// Checks the headers of a worker-plane call.
    pub(crate) fn authenticate(core: &Core, headers: &HeaderMap) -> Result<Self, Status> {
        let token = headers
            .get(http::header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
            .ok_or_else(|| {
                Status::unauthenticated(
                    "token missing: send authorization: Bearer JWT, with the JWT of \
                     SandboxGetCommandRouterAccess or TaskGetCommandRouterAccess",
                )
            })?;
        let task = core
            .verify(Audience::Router, token)
            .map_err(|reason| Status::unauthenticated(format!("the router token {reason}")))?;
        Ok(Self(TaskId::from_text(task)))
    }

    /// The task of a request, if this grant is for it.
    pub(crate) fn covers(&self, task_id: &str) -> Result<&TaskId, Status> {
        if self.0.as_str() == task_id {
            Ok(&self.0)
        } else {
            Err(Status::permission_denied(format!(
                "the router token is for task {}, not for {task_id:?}",
                self.0
            )))
        }
    }
}

impl Core {
    fn is_secret(&self, given: &[u8], expected: &str) -> bool {
        same_secret(&self.comparison_key, given, expected.as_bytes())
    }

    fn verify(&self, audience: Audience, token: &[u8]) -> Result<String, String> {
        let token = std::str::from_utf8(token).unwrap_or_default();
        self.tokens
            .verify(audience, token, self.clock.now())
            .map_err(|error| error.to_string())
    }
}

/// The JavaScript and Go clients (types 8 and 9) accept only `https` for a
/// router, and then speak plaintext to one on a loopback address; the Python
/// client takes `https` at its word.
fn router_scheme(client_type: Option<&[u8]>, called: Option<&Scheme>) -> &'static str {
    match client_type {
        Some(b"8" | b"9") => "https",
        _ if called == Some(&Scheme::HTTPS) => "https",
        _ => "http",
    }
}

/// Host and port as the client wrote them: they lead back here whatever lies
/// between.
fn authority(uri: &Uri, headers: &HeaderMap) -> String {
    let authority = uri.authority().map(http::uri::Authority::as_str);
    let host = || headers.get(http::header::HOST)?.to_str().ok();
    let authority = authority.or_else(host).unwrap_or("localhost");
    // Credentials in it are nobody's business.
    let (_, authority) = authority.rsplit_once('@').unwrap_or(("", authority));
    authority.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_gets_a_router_url_it_accepts() {
        for (client_type, scheme) in [
            (Some(&b"1"[..]), "http"),
            (Some(b"8"), "https"),
            (Some(b"9"), "https"),
            (Some(b""), "http"),
            (None, "http"),
        ] {
            assert_eq!(router_scheme(client_type, None), scheme);
            assert_eq!(router_scheme(client_type, Some(&Scheme::HTTP)), scheme);
            assert_eq!(router_scheme(client_type, Some(&Scheme::HTTPS)), "https");
        }
    }

    #[test]
    fn the_router_is_where_the_client_found_us() {
        let of = |uri: &str| authority(&uri.parse().unwrap(), &HeaderMap::new());
        assert_eq!(of("http://127.0.0.1:80/a"), "127.0.0.1:80");
        assert_eq!(of("http://user:secret@[::1]:80/a"), "[::1]:80");
        assert_eq!(of("/a"), "localhost");
    }

    #[test]
    fn a_secret_is_not_printed() {
        let credentials = Credentials {
            token_id: "ak-1".into(),
            token_secret: "as-1".into(),
        };
        assert!(!format!("{credentials:?}").contains("as-1"));
    }
}
