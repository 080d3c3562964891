//! Small texts of a grant that cannot hold anything odd once they exist.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// An opaque label: the name of a credential, or of a lane.
///
/// 1–64 characters of `[A-Za-z0-9._-]`. What a label stands for is the host's
/// business; the policy only hands it on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(Arc<str>);

impl Label {
    /// The label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty() || text.len() > MAX_LABEL || !text.chars().all(known) {
            return Err(NameError::new(
                "label",
                text,
                "write 1 to 64 characters of A-Z, a-z, 0-9, `.`, `_` and `-`",
            ));
        }
        Ok(Self(text.into()))
    }
}

/// A gRPC service with its package, such as `example.v1.Jobs`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(Arc<str>);

impl ServiceName {
    /// The full name, as it stands in a request's path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_PROTOBUF_NAME || !text.split('.').all(is_identifier) {
            return Err(NameError::new(
                "gRPC service",
                text,
                "write the package and the service, such as `example.v1.Jobs`",
            ));
        }
        Ok(Self(text.into()))
    }
}

/// A method of a gRPC service, such as `Create`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MethodName(Arc<str>);

impl MethodName {
    /// The method without its service, as it stands in a request's path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MethodName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_PROTOBUF_NAME || !is_identifier(text) {
            return Err(NameError::new(
                "gRPC method",
                text,
                "write the method alone, such as `Create`",
            ));
        }
        Ok(Self(text.into()))
    }
}

/// The beginning of the paths that an HTTP grant allows, such as `/api/v1`.
///
/// Matches whole segments: `/api/v1` covers `/api/v1` and `/api/v1/runs`, not
/// `/api/v10`. `/` covers every path. A slash at the end is dropped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPrefix(Arc<str>);

impl PathPrefix {
    /// The prefix, beginning with `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The prefix of every path, `/`.
    #[must_use]
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Whether a path lies below this prefix.
    ///
    /// The path must be one that a [`Target`](crate::Target) holds: in other
    /// paths dot segments could lead out of the prefix again.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        let prefix = self.0.strip_suffix('/').unwrap_or(&self.0);
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for PathPrefix {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let trimmed = text
            .strip_suffix('/')
            .filter(|rest| !rest.is_empty() && !rest.ends_with('/'));
        let prefix = trimmed.unwrap_or(text);
        // Percent signs are left out: a prefix that a server decodes to another
        // one would not match what a person reads.
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,=:@/".contains(c);
        let segments = prefix
            .strip_prefix('/')
            .filter(|_| prefix.chars().all(plain));
        let good = match segments {
            Some("") => true,
            Some(segments) => segments
                .split('/')
                .all(|segment| !matches!(segment, "" | "." | "..")),
            None => false,
        };
        if !good || prefix.len() > MAX_PREFIX {
            return Err(NameError::new(
                "path prefix",
                text,
                "write `/` and plain segments, such as `/api/v1`",
            ));
        }
        Ok(Self(prefix.into()))
    }
}

/// A text that is not what a grant needs at this place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{excerpt}` is not a {what}; {help}")]
pub struct NameError {
    what: &'static str,
    excerpt: String,
    help: &'static str,
}

impl NameError {
    pub(crate) fn new(what: &'static str, text: &str, help: &'static str) -> Self {
        Self {
            what,
            excerpt: excerpt(text),
            help,
        }
    }
}

/// The beginning of a text that nobody vouches for, fit to stand in a message.
pub(crate) fn excerpt(text: &str) -> String {
    const SHOWN: usize = 120;
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// Longer than any label a person would read in a list of grants.
const MAX_LABEL: usize = 64;

/// Protobuf sets no limit; real names stay far below.
const MAX_PROTOBUF_NAME: usize = 256;

const MAX_PREFIX: usize = 1024;

/// Identifiers of the protobuf language: a letter, then letters, digits, `_`.
fn is_identifier(text: &str) -> bool {
    let mut characters = text.chars();
    let first = characters.next();
    first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

macro_rules! text_conversions {
    ($($name:ident),+) => {$(
        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )+};
}

text_conversions!(Label, ServiceName, MethodName, PathPrefix);
