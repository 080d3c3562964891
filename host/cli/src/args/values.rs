//! Values that mean something on the command line.

use pipeline_file::{EnvKey, EnvValue};
use std::path::PathBuf;
use std::str::FromStr;

/// `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self {
                key: key.to_owned(),
                value: value.to_owned(),
            }),
            _ => Err("write KEY=VALUE".to_owned()),
        }
    }
}

impl Pair {
    /// As a tag.
    pub(crate) fn into_tag(self) -> (String, String) {
        (self.key, self.value)
    }
}

/// `KEY=VALUE` of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    key: EnvKey,
    value: EnvValue,
}

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Pair { key, value } = text.parse()?;
        Ok(Self {
            key: key.parse().map_err(|error| format!("{error}"))?,
            value: value.parse().map_err(|error| format!("{error}"))?,
        })
    }
}

/// The variables; of those with the same key the last one.
pub(crate) fn environment(variables: &[Variable]) -> Vec<(String, String)> {
    let pair = |variable: &Variable| {
        let key = variable.key.as_str().to_owned();
        (key, variable.value.as_str().to_owned())
    };
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (key, value) in variables.iter().map(pair) {
        pairs.retain(|(known, _)| *known != key);
        pairs.push((key, value));
    }
    pairs
}

/// One side of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A file on this machine.
    Local(PathBuf),
    /// Standard input or output.
    Stream,
    /// A file in a sandbox.
    Sandbox {
        /// Id or name.
        sandbox: String,
        /// Absolute.
        path: String,
    },
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (sandbox, path) = match text.split_once(':') {
            // A path may contain colons, but what is in front of the first one of a
            // sandbox is its id.
            Some((sandbox, path)) if !sandbox.is_empty() && !sandbox.contains('/') => {
                (sandbox, path)
            }
            _ if text == "-" => return Ok(Self::Stream),
            _ if text.is_empty() => return Err("the path is empty".to_owned()),
            _ => return Ok(Self::Local(text.into())),
        };
        match path.starts_with('/') {
            true => Ok(Self::Sandbox {
                sandbox: sandbox.to_owned(),
                path: path.to_owned(),
            }),
            false => Err(format!(
                "write an absolute path: {sandbox}:/…; for a file on this machine with a colon \
                 in its name, ./{text}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Pair, Place, Variable, environment};

    #[test]
    fn places_are_told_apart() {
        let sandbox = |sandbox: &str, path: &str| Place::Sandbox {
            sandbox: sandbox.into(),
            path: path.into(),
        };
        for (text, expected) in [
            ("a/b", Ok(Place::Local("a/b".into()))),
            ("-", Ok(Place::Stream)),
            ("./-", Ok(Place::Local("./-".into()))),
            ("./a:b", Ok(Place::Local("./a:b".into()))),
            (":/x", Ok(Place::Local(":/x".into()))),
            ("/tmp/a:/b", Ok(Place::Local("/tmp/a:/b".into()))),
            ("sb-1:/a:b", Ok(sandbox("sb-1", "/a:b"))),
            ("name:/", Ok(sandbox("name", "/"))),
        ] {
            assert_eq!(text.parse::<Place>(), expected, "{text}");
        }
        for text in ["", "sb-1:a", "sb-1:"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn values_may_hold_anything_and_keys_may_not() {
        let pair: Pair = "a=b=c".parse().unwrap();
        assert_eq!(pair.into_tag(), ("a".into(), "b=c".into()));
        for text in ["", "a", "=a"] {
            assert!(text.parse::<Pair>().is_err(), "{text}");
        }
        for text in ["1=a", "a b=c", "a=b\0c"] {
            assert!(text.parse::<Variable>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_last_variable_of_a_key_counts() {
        let variables = ["A=1", "B=2", "A="].map(|text| text.parse().unwrap());
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(environment(&variables), [pair("B", "2"), pair("A", "")]);
    }
}
