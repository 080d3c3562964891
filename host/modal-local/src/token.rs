//! Short-lived tokens: JWTs signed with the server's own key.
//!
//! Clients read only `exp` (seconds since the epoch, an integer) and want three
//! parts separated by dots; the signature is for us alone.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::{clock::Timestamp, limits};

/// What a token is good for. A token for one is refused for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Audience {
    /// Control-plane calls; the answer of `AuthTokenGet`.
    ControlPlane,
    /// Worker-plane calls for one task, which is the subject.
    Router,
    /// Control-plane calls through the handle that created a sandbox, which is
    /// the subject.
    Sandbox,
}

/// Why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("was not issued by this server for this use")]
    Invalid,
    #[error("has expired")]
    Expired,
}

/// Issues and verifies tokens.
#[derive(Debug)]
pub(crate) struct Tokens {
    key: [u8; 32],
    auth_lifetime: Duration,
    router_lifetime: Duration,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    aud: Audience,
    sub: String,
    exp: i64,
}

impl Tokens {
    pub(crate) fn new(key: [u8; 32], auth_lifetime: Duration, router_lifetime: Duration) -> Self {
        Self {
            key,
            auth_lifetime,
            router_lifetime,
        }
    }

    pub(crate) fn issue(&self, audience: Audience, subject: &str, now: Timestamp) -> String {
        let lifetime = match audience {
            Audience::ControlPlane => self.auth_lifetime,
            Audience::Router => self.router_lifetime,
            Audience::Sandbox => limits::SANDBOX_TOKEN_LIFETIME,
        };
        let claims = Claims {
            aud: audience,
            sub: subject.to_owned(),
            exp: now.plus(lifetime).whole_seconds(),
        };
        let header = BASE64.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        // A struct of texts and numbers always serializes.
        let claims = BASE64.encode(serde_json::to_vec(&claims).unwrap_or_default());
        let signature = BASE64.encode(self.mac(&header, &claims).finalize().into_bytes());
        format!("{header}.{claims}.{signature}")
    }

    /// The subject of a token that is good for this use now.
    pub(crate) fn verify(
        &self,
        audience: Audience,
        token: &str,
        now: Timestamp,
    ) -> Result<String, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Invalid)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Invalid)?;
        let signature = BASE64.decode(signature).map_err(|_| TokenError::Invalid)?;
        self.mac(header, claims)
            .verify_slice(&signature)
            .map_err(|_| TokenError::Invalid)?;
        let claims: Claims = BASE64
            .decode(claims)
            .ok()
            .and_then(|claims| serde_json::from_slice(&claims).ok())
            .ok_or(TokenError::Invalid)?;
        if claims.aud != audience {
            Err(TokenError::Invalid)
        } else if claims.exp <= now.whole_seconds() {
            Err(TokenError::Expired)
        } else {
            Ok(claims.sub)
        }
    }

    fn mac(&self, header: &str, claims: &str) -> Hmac<Sha256> {
        keyed(&self.key)
            .chain_update(header)
            .chain_update(".")
            .chain_update(claims)
    }
}

/// Whether two secrets are equal, in a time that tells nothing about where they
/// differ.
pub(crate) fn same_secret(key: &[u8; 32], left: &[u8], right: &[u8]) -> bool {
    let right = keyed(key).chain_update(right).finalize().into_bytes();
    keyed(key).chain_update(left).verify(&right).is_ok()
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    // A key is as good as the same one padded to a block.
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    Hmac::new(&block.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens::new([1; 32], Duration::from_secs(20), Duration::from_secs(40))
    }

    #[test]
    fn a_token_is_good_for_its_use_until_it_expires() {
        let tokens = tokens();
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        let token = tokens.issue(Audience::Router, "ta-1", now);
        let verify = |audience, seconds| {
            tokens.verify(audience, &token, now.plus(Duration::from_secs(seconds)))
        };
        assert_eq!(verify(Audience::Router, 39).as_deref(), Ok("ta-1"));
        assert_eq!(verify(Audience::Router, 40), Err(TokenError::Expired));
        assert_eq!(verify(Audience::ControlPlane, 0), Err(TokenError::Invalid));
    }

    #[test]
    fn clients_can_read_it() {
        let now = Timestamp::from_micros(1_700_000_000_900_000);
        let token = tokens().issue(Audience::ControlPlane, "", now);
        let parts: Vec<&str> = token.split('.').collect();
        assert_eq!(parts.len(), 3);
        let claims: serde_json::Value =
            serde_json::from_slice(&BASE64.decode(parts[1]).unwrap()).unwrap();
        assert_eq!(claims["exp"], serde_json::json!(1_700_000_020));
    }

    #[test]
    fn it_cannot_be_forged() {
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        let token = tokens().issue(Audience::Router, "ta-1", now);
        let other = Tokens::new([2; 32], Duration::from_secs(20), Duration::from_secs(40));
        assert_eq!(
            other.verify(Audience::Router, &token, now),
            Err(TokenError::Invalid)
        );
        // Every single changed byte, and texts that are no token at all.
        for place in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(bytes).unwrap();
            // The last character carries unused bits.
            if place + 1 < token.len() {
                assert!(tokens().verify(Audience::Router, &forged, now).is_err());
            }
        }
        for text in ["", ".", "..", "a.b", "a.b.c", "....", "é.é.é"] {
            assert!(tokens().verify(Audience::Router, text, now).is_err());
        }
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert!(same_secret(&[0; 32], b"as-1", b"as-1"));
        assert!(!same_secret(&[0; 32], b"as-1", b"as-2"));
        assert!(!same_secret(&[0; 32], b"as-1", b"as-11"));
        assert!(!same_secret(&[0; 32], b"", b"as-1"));
    }
}
