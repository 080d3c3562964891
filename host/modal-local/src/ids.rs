//! Ids, in the shapes that clients tell apart.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::{
    clock::Timestamp,
    executor::Hash,
    random::{Random, letter},
};

/// Letters and digits after the prefix of most ids. A sandbox id of exactly
/// this length belongs to the older of the two backends.
const LETTERS: usize = 22;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $name(String);

        impl $name {
            /// An id from outside. Ids are only ever looked up, so that any
            /// text will do.
            pub(crate) fn from_text(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            pub(crate) fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

id!(
    /// `ap-` and 22 letters or digits.
    AppId
);
id!(
    /// `en-` and 22 letters or digits.
    EnvironmentId
);
id!(
    /// `st-` and 22 letters or digits.
    SecretId
);
id!(
    /// `im-` and 22 letters or digits, derived from what the image is.
    ImageId
);
id!(
    /// `sb-` and 22 letters or digits (V1), or a ULID (V2).
    SandboxId
);
id!(
    /// `ta-` and 22 letters or digits (V1), or a ULID and `V` (V2).
    TaskId
);

/// Which of Modal's two families of sandbox RPCs a sandbox belongs to. Clients
/// decide by the shape of the id alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Backend {
    /// Sandboxes with a GPU, and all of older clients.
    V1,
    /// All others.
    V2,
}

impl AppId {
    pub(crate) fn fresh(random: &Random) -> Self {
        Self(format!("ap-{}", random.alphanumeric(LETTERS)))
    }

    /// Whether a text in the place of an app's name is really an id.
    pub(crate) fn matches(text: &str) -> bool {
        text.strip_prefix("ap-").is_some_and(is_letters)
    }
}

impl EnvironmentId {
    pub(crate) fn fresh(random: &Random) -> Self {
        Self(format!("en-{}", random.alphanumeric(LETTERS)))
    }
}

impl SecretId {
    pub(crate) fn fresh(random: &Random) -> Self {
        Self(format!("st-{}", random.alphanumeric(LETTERS)))
    }
}

impl ImageId {
    /// The id of the image with this definition: the same definition always
    /// gets the same id.
    pub(crate) fn of_content(content: &[u8]) -> Self {
        let mut letters = String::with_capacity(LETTERS);
        let mut block: [u8; 32] = Sha256::digest(content).into();
        while letters.len() < LETTERS {
            letters.extend(
                block
                    .iter()
                    .filter_map(|byte| letter(*byte))
                    .take(LETTERS - letters.len()),
            );
            block = Sha256::digest(block).into();
        }
        Self(format!("im-{letters}"))
    }
}

impl ImageId {
    /// The id of the image that is a snapshot.
    pub(crate) fn of_snapshot(hash: Hash) -> Self {
        Self::of_content(&[b"snapshot ", hash.as_bytes()].concat())
    }
}

impl SandboxId {
    pub(crate) fn fresh(backend: Backend, random: &Random, now: Timestamp) -> Self {
        Self(match backend {
            Backend::V1 => format!("sb-{}", random.alphanumeric(LETTERS)),
            Backend::V2 => format!("sb-{}", ulid(random, now)),
        })
    }

    pub(crate) fn backend(&self) -> Backend {
        if self.0.strip_prefix("sb-").is_some_and(is_letters) {
            Backend::V1
        } else {
            Backend::V2
        }
    }
}

impl TaskId {
    pub(crate) fn fresh(backend: Backend, random: &Random, now: Timestamp) -> Self {
        Self(match backend {
            // A trailing V would mark it as a task of the other backend.
            Backend::V1 => format!("ta-{}0", random.alphanumeric(LETTERS - 1)),
            Backend::V2 => format!("ta-{}V", ulid(random, now)),
        })
    }
}

fn is_letters(text: &str) -> bool {
    text.len() == LETTERS && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// 26 characters: 48 bits of milliseconds and 80 random bits, so that ids sort
/// by time.
fn ulid(random: &Random, now: Timestamp) -> String {
    let mut random_bits = [0; 16];
    random_bits[6..].copy_from_slice(&random.bytes::<10>());
    let value = (u128::from(now.millis()) << 80) | u128::from_be_bytes(random_bits);
    (0..26)
        .rev()
        .map(|place| {
            let digit = (value >> (place * 5)) & 31;
            const DIGITS: [char; 32] = [
                '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
                'G', 'H', 'J', 'K', 'M', 'N', 'P', 'Q', 'R', 'S', 'T', 'V', 'W', 'X', 'Y', 'Z',
            ];
            usize::try_from(digit)
                .ok()
                .and_then(|digit| DIGITS.get(digit))
                .copied()
                .unwrap_or('0')
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_can_tell_the_backends_apart() {
        let random = Random::seeded([1; 32]);
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        for _ in 0..1_000 {
            let v1 = SandboxId::fresh(Backend::V1, &random, now);
            let v2 = SandboxId::fresh(Backend::V2, &random, now);
            assert_eq!(v1.backend(), Backend::V1);
            assert_eq!(v2.backend(), Backend::V2);
            assert_eq!((v1.as_str().len(), v2.as_str().len()), (25, 29));
            assert!(
                !TaskId::fresh(Backend::V1, &random, now)
                    .as_str()
                    .ends_with('V')
            );
            assert!(
                TaskId::fresh(Backend::V2, &random, now)
                    .as_str()
                    .ends_with('V')
            );
        }
    }

    #[test]
    fn v2_ids_sort_by_time() {
        let random = Random::seeded([2; 32]);
        let at = |millis: i64| {
            SandboxId::fresh(Backend::V2, &random, Timestamp::from_micros(millis * 1_000))
        };
        assert!(at(1_700_000_000_000) < at(1_700_000_000_001));
        assert!(at(1_700_000_000_001).as_str().starts_with("sb-01HF7YAT01"));
    }

    #[test]
    fn an_image_is_its_content() {
        let id = ImageId::of_content(b"FROM a");
        assert_eq!(id, ImageId::of_content(b"FROM a"));
        assert_ne!(id, ImageId::of_content(b"FROM b"));
        assert_eq!(id.as_str().len(), 25);
    }

    #[test]
    fn an_app_id_is_not_a_name() {
        assert!(AppId::matches(
            AppId::fresh(&Random::seeded([3; 32])).as_str()
        ));
        assert!(!AppId::matches("ap-short"));
        assert!(!AppId::matches("zenml-run"));
    }
}
