//! The short-lived token that the newer sandbox backend asks for: fetched
//! before the first call that needs it, refreshed in time.

use super::call::{CallOptions, Client};
use super::error::CallError;
use super::retry::{Policy, doubled};
use super::rpc::AUTH_TOKEN_GET;
use crate::limits;
use crate::platform::{LogLevel, Platform};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use modal_proto::client::AuthTokenGetRequest;
use serde::Deserialize;
use std::cell::RefCell;
use std::time::Duration;
use tokio::sync::Mutex;
use tonic::Code;

/// The cached token of one client.
#[derive(Debug, Default)]
pub struct AuthToken {
    cached: RefCell<Option<Token>>,
    cooldown: RefCell<Cooldown>,
    /// Held while a token is fetched, so that one fetch serves all.
    fetching: Mutex<()>,
}

/// Times are since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    text: String,
    refresh_at: Duration,
    expires_at: Duration,
}

/// After a failed refresh the old token serves on for a while.
#[derive(Debug, Default)]
struct Cooldown {
    failures: u32,
    until: Duration,
}

impl AuthToken {
    /// A token that has not expired. Between its refresh point and its end one
    /// caller fetches a new one and the others use the old one; after its end
    /// all wait for one fetch.
    ///
    /// # Errors
    ///
    /// When there is no token and none can be fetched, and when Modal refuses
    /// the credentials.
    pub async fn get<P: Platform>(&self, client: &Client<P>) -> Result<String, CallError> {
        let now = client.platform().unix_time();
        if let Some(token) = self.usable(now) {
            if now < token.refresh_at || now < self.cooldown.borrow().until {
                return Ok(token.text);
            }
            let Ok(_fetching) = self.fetching.try_lock() else {
                return Ok(token.text);
            };
            return match self.fetch(client, Policy::ONCE).await {
                Ok(text) => Ok(text),
                Err(error) if is_refusal(&error) => Err(error),
                Err(error) => {
                    let message = format!("the token was not refreshed: {error}");
                    client.platform().log(LogLevel::Warn, &message);
                    self.cooldown.borrow_mut().arm(now);
                    Ok(token.text)
                }
            };
        }
        let _fetching = self.fetching.lock().await;
        // Somebody else may have fetched one while this call waited.
        if let Some(token) = self.usable(client.platform().unix_time()) {
            return Ok(token.text);
        }
        self.fetch(client, Policy::SDK).await
    }

    fn usable(&self, now: Duration) -> Option<Token> {
        let cached = self.cached.borrow();
        cached
            .as_ref()
            .filter(|token| now < token.expires_at)
            .cloned()
    }

    async fn fetch<P: Platform>(
        &self,
        client: &Client<P>,
        policy: Policy,
    ) -> Result<String, CallError> {
        let options = CallOptions {
            deadline: limits::AUTH_TOKEN,
            announced_deadline: Some(limits::AUTH_TOKEN.head),
            policy,
            // Its callers hold a place already while they wait for it.
            takes_place: false,
            ..CallOptions::default()
        };
        let request = AuthTokenGetRequest {};
        let answer = client
            .within(
                limits::AUTH_TOKEN_TOTAL,
                AUTH_TOKEN_GET.name,
                client.call(&AUTH_TOKEN_GET, &request, &options),
            )
            .await?;
        let now = client.platform().unix_time();
        let token = Token::new(answer.token, now, client.platform().random());
        let text = token.text.clone();
        *self.cached.borrow_mut() = Some(token);
        *self.cooldown.borrow_mut() = Cooldown::default();
        Ok(text)
    }
}

impl Token {
    /// Refreshed after 50 to 60 % of what is left of its life; where in between
    /// is chance, so that many clients do not come at once.
    fn new(text: String, now: Duration, chance: [u8; 16]) -> Self {
        let expires_at = expiry(&text).unwrap_or(now + limits::AUTH_LIFETIME);
        let life = expires_at.saturating_sub(now);
        let [byte, ..] = chance;
        let fraction = 0.5 + 0.1 * f64::from(byte) / 256.0;
        Self {
            text,
            refresh_at: now + life.mul_f64(fraction),
            expires_at,
        }
    }
}

impl Cooldown {
    fn arm(&mut self, now: Duration) {
        let (shortest, longest) = limits::AUTH_COOLDOWN;
        self.until = now + doubled(shortest, self.failures).min(longest);
        self.failures = self.failures.saturating_add(1);
    }
}

fn is_refusal(error: &CallError) -> bool {
    error.is(Code::Unauthenticated) || error.is(Code::PermissionDenied)
}

/// When a JWT ends, since 1970. The signature is the server's business.
pub fn expiry(jwt: &str) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let payload = jwt.split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    // A year 10,000 and beyond is a defect or an attack, not a date.
    (claims.exp < 253_402_300_800.0)
        .then(|| Duration::try_from_secs_f64(claims.exp).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::{Cooldown, Token, expiry};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use std::time::Duration;

    fn jwt(claims: &str) -> String {
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn expiry_is_read_from_the_middle() {
        assert_eq!(
            expiry(&jwt(r#"{"exp": 1000}"#)),
            Some(Duration::from_secs(1000))
        );
        for odd in [
            "",
            "a",
            "a.b.c",
            &jwt("{}"),
            &jwt(r#"{"exp": -1}"#),
            &jwt(r#"{"exp": 1e300}"#),
        ] {
            assert_eq!(expiry(odd), None, "{odd}");
        }
    }

    #[test]
    fn refresh_comes_between_50_and_60_percent() {
        let now = Duration::from_secs(1000);
        for chance in [0, 128, 255] {
            let token = Token::new(jwt(r#"{"exp": 1100}"#), now, [chance; 16]);
            let after = token.refresh_at - now;
            assert!(Duration::from_secs(50) <= after && after < Duration::from_secs(60));
        }
        let token = Token::new("opaque".into(), now, [0; 16]);
        assert_eq!(token.expires_at, Duration::from_secs(2200));
    }

    #[test]
    fn the_cooldown_doubles_up_to_a_minute() {
        let mut cooldown = Cooldown::default();
        let pauses: Vec<u128> = (0..9)
            .map(|_| {
                cooldown.arm(Duration::ZERO);
                cooldown.until.as_millis()
            })
            .collect();
        assert_eq!(
            pauses,
            [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]
        );
    }
}
