//! Names, tags and keys that clients choose, parsed.

use std::{collections::BTreeMap, fmt};

use modal_proto::client as pb;
use tonic::{Status, metadata::MetadataMap};

use crate::limits;

/// The name of an app, environment, secret or sandbox: 1 to 64 letters, digits,
/// `-`, `_` or `.`, as the official clients check it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(String);

impl Name {
    /// `what` says whose name it is, for the message.
    pub(crate) fn parse(what: &str, text: &str) -> Result<Self, Status> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if text.is_empty() || text.len() > limits::NAME || !text.chars().all(allowed) {
            return Err(Status::invalid_argument(format!(
                "invalid {what} name {text:?}: it must be 1 to {} letters, digits, '-', '_' or '.'",
                limits::NAME
            )));
        }
        Ok(Self(text.to_owned()))
    }

    /// The environment a request names; the empty text is the default one.
    pub(crate) fn environment(text: &str) -> Result<Self, Status> {
        if text.is_empty() {
            return Ok(Self("main".to_owned()));
        }
        Self::parse("environment", text)
    }

    /// A name that was parsed before it was written down.
    pub(crate) fn recorded(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// The tags of a sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tags(BTreeMap<String, String>);

impl From<Tags> for BTreeMap<String, String> {
    fn from(tags: Tags) -> Self {
        tags.0
    }
}

impl Tags {
    /// From the wire; a tag named twice has its last value.
    pub(crate) fn parse(tags: Vec<pb::SandboxTag>) -> Result<Self, Status> {
        if tags.iter().any(|tag| tag.tag_name.is_empty()) {
            return Err(Status::invalid_argument("a tag has an empty name"));
        }
        Ok(Self::recorded(tags))
    }

    /// Tags that were parsed before they were written down.
    pub(crate) fn recorded(tags: Vec<pb::SandboxTag>) -> Self {
        Self(
            tags.into_iter()
                .map(|tag| (tag.tag_name, tag.tag_value))
                .collect(),
        )
    }

    pub(crate) fn to_wire(&self) -> Vec<pb::SandboxTag> {
        self.0
            .iter()
            .map(|(name, value)| pb::SandboxTag {
                tag_name: name.clone(),
                tag_value: value.clone(),
            })
            .collect()
    }

    pub(crate) fn contains_all(&self, wanted: &Self) -> bool {
        wanted
            .0
            .iter()
            .all(|(name, value)| self.0.get(name) == Some(value))
    }

    pub(crate) fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

/// The value of the header `x-idempotency-key`: the same for every attempt of
/// one logical call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IdempotencyKey(String);

impl IdempotencyKey {
    const HEADER: &str = "x-idempotency-key";

    pub(crate) fn parse(metadata: &MetadataMap) -> Result<Option<Self>, Status> {
        let Some(value) = metadata.get(Self::HEADER) else {
            return Ok(None);
        };
        match value.to_str() {
            Ok(text) if !text.is_empty() && text.len() <= limits::IDEMPOTENCY_KEY => {
                Ok(Some(Self(text.to_owned())))
            }
            _ => Err(Status::invalid_argument(format!(
                "{} must be 1 to {} printable ASCII characters",
                Self::HEADER,
                limits::IDEMPOTENCY_KEY
            ))),
        }
    }

    /// A key that was parsed before it was written down.
    pub(crate) fn recorded(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_official_clients_allow() {
        for good in ["a", "zenml-run_1.2", &"x".repeat(64)] {
            assert_eq!(Name::parse("app", good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a/b", "ä", "a\n", &"x".repeat(65)] {
            let status = Name::parse("app", bad).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            assert!(status.message().contains("app name"), "{status}");
        }
        assert_eq!(Name::environment("").unwrap().as_str(), "main");
    }

    #[test]
    fn tags_match_by_containing() {
        let tags = |pairs: &[(&str, &str)]| {
            Tags::parse(
                pairs
                    .iter()
                    .map(|(name, value)| pb::SandboxTag {
                        tag_name: (*name).to_owned(),
                        tag_value: (*value).to_owned(),
                    })
                    .collect(),
            )
        };
        let all = tags(&[("a", "1"), ("b", "2")]).unwrap();
        assert!(all.contains_all(&tags(&[]).unwrap()));
        assert!(all.contains_all(&tags(&[("b", "2")]).unwrap()));
        assert!(!all.contains_all(&tags(&[("b", "1")]).unwrap()));
        assert!(!all.contains_all(&tags(&[("b", "2"), ("c", "")]).unwrap()));
        assert!(tags(&[("", "1")]).is_err());
    }

    #[test]
    fn idempotency_keys_are_bounded() {
        let parse = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert(IdempotencyKey::HEADER, text.parse().unwrap());
            IdempotencyKey::parse(&metadata)
        };
        assert_eq!(parse("k").unwrap().unwrap().as_str(), "k");
        assert!(parse("").is_err());
        assert!(parse(&"k".repeat(257)).is_err());
        assert_eq!(IdempotencyKey::parse(&MetadataMap::new()).unwrap(), None);
    }
}
