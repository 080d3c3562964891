//! Values of a pipeline file that cannot be wrong once they exist.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// Environment variables in the order of the file, each key once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(Vec<(EnvKey, EnvValue)>);

impl Environment {
    /// The variables in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&EnvKey, &EnvValue)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&EnvValue> {
        self.iter()
            .find(|(own, _)| own.as_str() == key)
            .map(|(_, value)| value)
    }

    /// Whether there are no variables.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The size of keys and values together, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.iter()
            .map(|(key, value)| key.as_str().len() + value.as_str().len())
            .sum()
    }

    /// These variables over those of `base`, key by key: first what `base` alone
    /// has, in its order, then these.
    #[must_use]
    pub fn over(&self, base: &Self) -> Self {
        let own: HashSet<&EnvKey> = self.iter().map(|(key, _)| key).collect();
        let inherited = base.0.iter().filter(|(key, _)| !own.contains(key));
        Self(inherited.chain(&self.0).cloned().collect())
    }
}

impl FromIterator<(EnvKey, EnvValue)> for Environment {
    /// Collects variables; of a key that comes twice the last value counts.
    fn from_iter<I: IntoIterator<Item = (EnvKey, EnvValue)>>(variables: I) -> Self {
        let all: Vec<_> = variables.into_iter().collect();
        let mut seen = HashSet::new();
        let mut kept: Vec<_> = all
            .into_iter()
            .rev()
            .filter(|(key, _)| seen.insert(key.clone()))
            .collect();
        kept.reverse();
        Self(kept)
    }
}

impl Serialize for Environment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.iter() {
            map.serialize_entry(key.as_str(), value.as_str())?;
        }
        map.end()
    }
}

/// The name of an environment variable: `[A-Za-z_][A-Za-z0-9_]*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvKey(Box<str>);

impl FromStr for EnvKey {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let known = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if text.is_empty()
            || text.starts_with(|c: char| c.is_ascii_digit())
            || !text.chars().all(known)
        {
            return Err(ValueError::EnvKey);
        }
        Ok(Self(text.into()))
    }
}

/// The value of an environment variable: any text without NUL.
///
/// May be a secret: `Debug` shows its length alone, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvValue(Box<str>);

impl FromStr for EnvValue {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.contains('\0') {
            return Err(ValueError::Nul);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Debug for EnvValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnvValue({} bytes)", self.0.len())
    }
}

/// A path below the pipeline file's folder, in normal form: segments with single
/// slashes between, none of them empty, `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelativePath(Box<str>);

impl FromStr for RelativePath {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.contains('\0') {
            return Err(ValueError::Nul);
        }
        if text.starts_with('/') {
            return Err(ValueError::Absolute);
        }
        let segments: Vec<&str> = text
            .split('/')
            .filter(|segment| !matches!(*segment, "" | "."))
            .collect();
        // Even where `a/../b` stays below the folder: with links it need not.
        if segments.contains(&"..") {
            return Err(ValueError::Parent);
        }
        if segments.is_empty() {
            return Err(ValueError::NoPath);
        }
        Ok(Self(segments.join("/").into()))
    }
}

/// An amount of memory: digits and a unit, such as `512MiB`.
///
/// Units are B, KB, KiB, MB, MiB, GB, GiB, TB, TiB, PB and PiB. What an amount
/// comes to on the platform is the plugin's to say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MemorySize(Box<str>);

impl MemorySize {
    /// The units, in the order of their size.
    pub const UNITS: [&str; 11] = [
        "B", "KB", "KiB", "MB", "MiB", "GB", "GiB", "TB", "TiB", "PB", "PiB",
    ];
}

impl FromStr for MemorySize {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
        if unit.len() == text.len() || !Self::UNITS.contains(&unit) {
            return Err(ValueError::Memory);
        }
        Ok(Self(text.into()))
    }
}

/// A number of processors: finite and above zero, fractions allowed.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
pub struct CpuCount(f64);

impl CpuCount {
    /// The number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for CpuCount {
    type Error = ValueError;

    fn try_from(number: f64) -> Result<Self, ValueError> {
        if number.is_finite() && number > 0.0 {
            Ok(Self(number))
        } else {
            Err(ValueError::CpuCount)
        }
    }
}

/// Why a text or number is not a value of its kind.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// No [`EnvKey`].
    #[error("a variable's name has letters, digits and `_`, and does not begin with a digit")]
    EnvKey,
    /// A NUL, which no program can be handed in a text.
    #[error("it contains a NUL character")]
    Nul,
    /// A path that begins with `/`.
    #[error("the path is absolute")]
    Absolute,
    /// A path with a `..` segment.
    #[error("the path has a `..` segment")]
    Parent,
    /// A path without any segment.
    #[error("the path names no file")]
    NoPath,
    /// No [`MemorySize`].
    #[error("digits come first, and then a unit")]
    Memory,
    /// No [`CpuCount`].
    #[error("it is not above zero and finite")]
    CpuCount,
}

macro_rules! as_text {
    ($($name:ident),+) => {$(
        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    )+};
}

as_text!(EnvKey, EnvValue, RelativePath, MemorySize);

macro_rules! as_display {
    ($($name:ident),+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

as_display!(EnvKey, RelativePath, MemorySize);
