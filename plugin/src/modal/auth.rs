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

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    text: String,
    fetched: Moment,
    /// The age at which a new one is fetched.
    refresh_after: Duration,
    /// The age at which it ends.
    life: Duration,
}

/// After a failed refresh the old token serves on for a while.
#[derive(Debug, Default)]
struct Cooldown {
    failures: u32,
    /// By the monotonic clock.
    until: Duration,
}

/// A moment by two clocks: the time of day can be set back, and the other one
/// stands still while the machine sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    unix: Duration,
    monotonic: Duration,
}

impl Moment {
    fn now<P: Platform>(platform: &P) -> Self {
        Self {
            unix: platform.unix_time(),
            monotonic: platform.monotonic(),
        }
    }

    /// The longer of the two times that have passed.
    fn since(self, earlier: Self) -> Duration {
        let by_day = self.unix.saturating_sub(earlier.unix);
        by_day.max(self.monotonic.saturating_sub(earlier.monotonic))
    }
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
        let now = Moment::now(client.platform());
        if let Some(token) = self.usable(now) {
            let is_fresh = now.since(token.fetched) < token.refresh_after;
            if is_fresh || now.monotonic < self.cooldown.borrow().until {
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
                    self.cooldown.borrow_mut().arm(now.monotonic);
                    Ok(token.text)
                }
            };
        }
        let _fetching = self.fetching.lock().await;
        // Somebody else may have fetched one while this call waited.
        if let Some(token) = self.usable(Moment::now(client.platform())) {
            return Ok(token.text);
        }
        self.fetch(client, Policy::SDK).await
    }

    fn usable(&self, now: Moment) -> Option<Token> {
        let cached = self.cached.borrow();
        cached.as_ref().filter(|token| token.lasts(now)).cloned()
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
        let now = Moment::now(client.platform());
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
    fn new(text: String, now: Moment, chance: [u8; 16]) -> Self {
        let life = match expiry(&text) {
            Some(expires_at) => expires_at.saturating_sub(now.unix),
            None => limits::AUTH_LIFETIME,
        };
        let [byte, ..] = chance;
        let fraction = 0.5 + 0.1 * f64::from(byte) / 256.0;
        Self {
            text,
            fetched: now,
            refresh_after: life.mul_f64(fraction),
            life,
        }
    }

    fn lasts(&self, now: Moment) -> bool {
        now.since(self.fetched) < self.life
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
    use super::{Cooldown, Moment, Token, expiry};
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

    fn moment(unix: u64, monotonic: u64) -> Moment {
        Moment {
            unix: Duration::from_secs(unix),
            monotonic: Duration::from_secs(monotonic),
        }
    }

    #[test]
    fn refresh_comes_between_50_and_60_percent() {
        let now = moment(1000, 7);
        for chance in [0, 128, 255] {
            let token = Token::new(jwt(r#"{"exp": 1100}"#), now, [chance; 16]);
            let after = token.refresh_after;
            assert!(Duration::from_secs(50) <= after && after < Duration::from_secs(60));
        }
        let token = Token::new("opaque".into(), now, [0; 16]);
        assert_eq!(token.life, Duration::from_secs(1200));
    }

    #[test]
    fn it_ends_by_whichever_clock_says_so_first() {
        let token = Token::new(jwt(r#"{"exp": 1100}"#), moment(1000, 7), [0; 16]);
        assert!(token.lasts(moment(1099, 106)));
        // The time of day was set back.
        assert!(token.lasts(moment(10, 106)));
        assert!(!token.lasts(moment(10, 107)));
        // The machine slept.
        assert!(!token.lasts(moment(1100, 8)));
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
