//! Credentials for Modal: where users keep them, and how they travel.

use super::{Credential, Secret};
use flavor_policy::Label;
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Headers that a plugin may not set itself: those of the token pair and of the
/// other ways in which Modal's clients prove who they are for an account.
pub(crate) const HEADER_NAMES: [HeaderName; 6] = [
    HeaderName::from_static("x-modal-token-id"),
    HeaderName::from_static("x-modal-token-secret"),
    HeaderName::from_static("x-modal-refresh-token"),
    HeaderName::from_static("x-modal-oauth-client-id"),
    HeaderName::from_static("x-modal-oauth-client-secret"),
    HeaderName::from_static("x-modal-oauth-client-assertion"),
];

/// What identifies an account at Modal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPair {
    id: String,
    secret: Secret,
}

impl TokenPair {
    /// A pair, when both texts can travel as headers.
    ///
    /// # Errors
    ///
    /// When one is empty or holds characters that no header can.
    pub fn new(id: impl Into<String>, secret: Secret) -> Result<Self, TokenError> {
        let id = id.into();
        for text in [id.as_str(), secret.reveal()] {
            if text.is_empty() || HeaderValue::from_str(text).is_err() {
                return Err(TokenError::Malformed);
            }
        }
        Ok(Self { id, secret })
    }

    /// The public half.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The secret half.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The headers for a grant's label.
    pub(crate) fn credential(&self, label: Label) -> Credential {
        let header = |name: &HeaderName, text: &str| {
            // Checked when the pair was made.
            let mut value = HeaderValue::from_str(text).ok()?;
            value.set_sensitive(true);
            Some((name.clone(), value))
        };
        let [id, secret, ..] = &HEADER_NAMES;
        let headers = [header(id, &self.id), header(secret, self.secret.reveal())];
        Credential {
            label,
            headers: headers.into_iter().flatten().collect(),
        }
    }
}

/// Where a token pair came from; never its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `MODAL_TOKEN_ID` and `MODAL_TOKEN_SECRET`.
    Environment,
    /// A profile of Modal's configuration file.
    Profile {
        /// The file.
        file: PathBuf,
        /// The profile.
        profile: String,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => write!(f, "MODAL_TOKEN_ID and MODAL_TOKEN_SECRET"),
            Self::Profile { file, profile } => {
                write!(f, "profile `{profile}` of {}", file.display())
            }
        }
    }
}

/// Why there is no token pair.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Nothing was found anywhere.
    #[error(
        "no credentials for Modal: set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or run `modal setup`, \
         which writes {}",
        .file.as_ref().map_or_else(|| "~/.modal.toml".into(), |file| file.display().to_string())
    )]
    Missing {
        /// Where a file was looked for.
        file: Option<PathBuf>,
    },
    /// One half without the other. They are never taken from different places.
    #[error("{found} is set but {missing} is not: set both, or neither")]
    Half {
        /// The one that is there.
        found: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// The pair cannot travel.
    #[error("a token is empty or holds characters that it cannot hold")]
    Malformed,
    /// The file cannot be read.
    #[error("{} cannot be read: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// The file is not what it should be.
    #[error("{}: {reason}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What the process' surroundings say about Modal. Read once, at the edge.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// `MODAL_TOKEN_ID`.
    pub token_id: Option<String>,
    /// `MODAL_TOKEN_SECRET`.
    pub token_secret: Option<Secret>,
    /// `MODAL_PROFILE`.
    pub profile: Option<String>,
    /// `MODAL_CONFIG_PATH`, or `.modal.toml` in the home directory.
    pub config_file: Option<PathBuf>,
}

impl Surroundings {
    /// Reads the environment of this process.
    pub fn of_process() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let in_home = || {
            let home = std::env::var_os("HOME").filter(|home| !home.is_empty())?;
            Some(Path::new(&home).join(".modal.toml"))
        };
        Self {
            token_id: variable("MODAL_TOKEN_ID"),
            token_secret: variable("MODAL_TOKEN_SECRET").map(Secret::new),
            profile: variable("MODAL_PROFILE"),
            config_file: variable("MODAL_CONFIG_PATH")
                .map(PathBuf::from)
                .or_else(in_home),
        }
    }

    /// The token pair in force and where it came from: the environment's, else
    /// the active profile's. Unlike in Modal's own client, an id from one place
    /// is never paired with a secret from another.
    ///
    /// # Errors
    ///
    /// When there is none, or what there is makes no sense.
    pub fn token_pair(&self) -> Result<(TokenPair, Source), TokenError> {
        match (&self.token_id, &self.token_secret) {
            (Some(id), Some(secret)) => {
                let pair = TokenPair::new(id.clone(), secret.clone())?;
                Ok((pair, Source::Environment))
            }
            (Some(_), None) => Err(TokenError::Half {
                found: "MODAL_TOKEN_ID",
                missing: "MODAL_TOKEN_SECRET",
            }),
            (None, Some(_)) => Err(TokenError::Half {
                found: "MODAL_TOKEN_SECRET",
                missing: "MODAL_TOKEN_ID",
            }),
            (None, None) => self.active_pair(),
        }
    }

    fn active_pair(&self) -> Result<(TokenPair, Source), TokenError> {
        let missing = || TokenError::Missing {
            file: self.config_file.clone(),
        };
        let file = self.config_file.clone().ok_or_else(missing)?;
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
            Err(error) => return Err(TokenError::Unreadable { file, error }),
        };
        let wrong = |reason: String| TokenError::File {
            file: file.clone(),
            reason,
        };
        // The parser's own words may quote a secret.
        let profiles: BTreeMap<String, Profile> =
            toml::from_str(&text).map_err(|error: toml::de::Error| {
                let before = error.span().and_then(|span| text.get(..span.start));
                let line = before.map_or(1, |before| before.split('\n').count());
                wrong(format!(
                    "line {line} is not what `modal setup` writes: a profile's name in brackets, and \
                     below it token_id and token_secret, in quotes"
                ))
            })?;
        let (name, profile) = self.active_profile(&profiles).map_err(wrong)?;
        match (&profile.token_id, &profile.token_secret) {
            (Some(id), Some(secret)) => {
                let pair = TokenPair::new(id.clone(), Secret::new(secret.clone()))?;
                let profile = name.to_owned();
                Ok((pair, Source::Profile { file, profile }))
            }
            _ => Err(wrong(format!(
                "profile `{name}` has no token_id and token_secret"
            ))),
        }
    }

    /// The profile that `MODAL_PROFILE` names, else the one marked active, else
    /// the only one.
    fn active_profile<'p>(
        &self,
        profiles: &'p BTreeMap<String, Profile>,
    ) -> Result<(&'p str, &'p Profile), String> {
        if let Some(name) = &self.profile {
            return profiles
                .get_key_value(name)
                .map(|(name, profile)| (name.as_str(), profile))
                .ok_or_else(|| format!("there is no profile `{name}`, which MODAL_PROFILE names"));
        }
        let mut active = profiles.iter().filter(|(_, profile)| profile.active);
        match (active.next(), active.next(), profiles.len()) {
            (Some((name, profile)), None, _) => Ok((name, profile)),
            (Some(_), Some(_), _) => Err("more than one profile is active; keep one".to_owned()),
            (None, _, 1) => profiles
                .iter()
                .next()
                .map(|(name, profile)| (name.as_str(), profile))
                .ok_or_else(|| "there is no profile".to_owned()),
            (None, _, 0) => Err("there is no profile".to_owned()),
            (None, _, _) => Err(
                "no profile is active; mark one with `active = true` or name one in MODAL_PROFILE"
                    .to_owned(),
            ),
        }
    }
}

#[derive(Deserialize)]
struct Profile {
    token_id: Option<String>,
    token_secret: Option<String>,
    #[serde(default)]
    active: bool,
}

#[cfg(test)]
mod tests {
    use super::{Secret, Source, Surroundings, TokenError, TokenPair};
    use std::fs;

    fn with_file(text: &str) -> (tempfile::TempDir, Surroundings) {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".modal.toml");
        fs::write(&file, text).unwrap();
        let surroundings = Surroundings {
            config_file: Some(file),
            ..Surroundings::default()
        };
        (home, surroundings)
    }

    const TWO: &str = "[a]\ntoken_id = 'ak-a'\ntoken_secret = 'as-a'\n\
                       [b]\ntoken_id = 'ak-b'\ntoken_secret = 'as-b'\nactive = true\n";

    #[test]
    fn the_environment_comes_first() {
        let (_home, mut surroundings) = with_file(TWO);
        surroundings.token_id = Some("ak-env".into());
        surroundings.token_secret = Some(Secret::new("as-env"));
        let (pair, source) = surroundings.token_pair().unwrap();
        assert_eq!((pair.id(), source), ("ak-env", Source::Environment));
    }

    #[test]
    fn halves_are_never_combined() {
        let (_home, mut surroundings) = with_file(TWO);
        surroundings.token_id = Some("ak-env".into());
        let error = surroundings.token_pair().unwrap_err();
        assert!(matches!(
            error,
            TokenError::Half {
                missing: "MODAL_TOKEN_SECRET",
                ..
            }
        ));
    }

    #[test]
    fn the_active_profile_or_the_named_one() {
        let (_home, mut surroundings) = with_file(TWO);
        assert_eq!(surroundings.token_pair().unwrap().0.id(), "ak-b");
        surroundings.profile = Some("a".into());
        assert_eq!(surroundings.token_pair().unwrap().0.id(), "ak-a");
        surroundings.profile = Some("c".into());
        assert!(
            surroundings
                .token_pair()
                .unwrap_err()
                .to_string()
                .contains("no profile `c`")
        );
    }

    #[test]
    fn files_that_make_no_sense_say_so() {
        for (text, words) in [
            ("", "no profile"),
            ("[a]\n[b]\n", "no profile is active"),
            ("[a]\nactive = true\n[b]\nactive = true\n", "more than one"),
            ("[a]\n", "no token_id"),
            ("[a", "TOML"),
        ] {
            let (_home, surroundings) = with_file(text);
            let error = surroundings.token_pair().unwrap_err().to_string();
            assert!(error.contains(words) || text == "[a", "{error}");
            assert!(error.contains(".modal.toml"), "{error}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let pair = TokenPair::new("ak", Secret::new("as-hidden")).unwrap();
        assert!(!format!("{pair:?}").contains("hidden"));
        assert!(TokenPair::new("ak\n", Secret::new("x")).is_err());
    }
}
