//! The names that a pipeline and its runs go by.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// The name of a step: 1 to 64 characters of `[A-Za-z0-9._-]`, the first neither
/// `.` nor `-`.
///
/// Names become parts of paths, of sandbox names and of arguments. The alphabet
/// leaves nothing to escape in any of them, and the first character keeps a name
/// from being a hidden file, a parent folder or an option.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepName(Box<str>);

impl StepName {
    /// Longest name, in characters.
    pub const MAX: usize = 64;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StepName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check(text, Self::MAX)?;
        Ok(Self(text.into()))
    }
}

/// The id of a run: 1 to 58 characters of `[A-Za-z0-9._-]`, the first neither
/// `.` nor `-`.
///
/// Six fewer than a step's name: the app of a run is called `zenml-` and its id,
/// and may have 64.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(Box<str>);

impl RunId {
    /// Longest id, in characters.
    pub const MAX: usize = 58;

    /// Makes an id of 128 bits, in the form of a UUID.
    ///
    /// Cannot fail, so that a caller needs nothing but a source of chance: its
    /// operating system's, or a simulation's seed.
    ///
    /// ```
    /// let id = pipeline_file::RunId::from_bits(0x2a);
    /// assert_eq!(id.as_str(), "00000000-0000-0000-0000-00000000002a");
    /// ```
    #[must_use]
    pub fn from_bits(bits: u128) -> Self {
        let group = |shift: u32, digits: u32| (bits >> shift) & ((1_u128 << (4 * digits)) - 1);
        let text = format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            group(96, 8),
            group(80, 4),
            group(64, 4),
            group(48, 4),
            group(0, 12),
        );
        Self(text.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check(text, Self::MAX)?;
        Ok(Self(text.into()))
    }
}

/// Why a text is no [`StepName`] or [`RunId`].
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No characters at all.
    #[error("it is empty")]
    Empty,
    /// More characters than allowed.
    #[error("it has {length} characters, and may have {max}")]
    TooLong {
        /// How many it has.
        length: usize,
        /// How many it may have.
        max: usize,
    },
    /// `.` or `-` in front.
    #[error("it begins with `{0}`")]
    First(char),
    /// A character outside of the alphabet.
    #[error("it contains {0:?}, and may contain A-Z, a-z, 0-9, `.`, `_` and `-`")]
    Character(char),
}

fn check(text: &str, max: usize) -> Result<(), NameError> {
    let known = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match text.chars().next() {
        None => return Err(NameError::Empty),
        Some(first @ ('.' | '-')) => return Err(NameError::First(first)),
        Some(_) => {}
    }
    if let Some(odd) = text.chars().find(|c| !known(c)) {
        return Err(NameError::Character(odd));
    }
    // ASCII only from here on: bytes are characters.
    let length = text.len();
    if length > max {
        return Err(NameError::TooLong { length, max });
    }
    Ok(())
}

macro_rules! as_text {
    ($($name:ident),+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    )+};
}

as_text!(StepName, RunId);
