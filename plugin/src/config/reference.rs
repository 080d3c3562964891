//! References to secrets, `{{name.key}}`, and the store that they point into.

use crate::text::strip;
use std::collections::BTreeSet;
use std::fmt;

/// A reference to one value of one secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretReference {
    /// The secret.
    pub name: String,
    /// Which of its values.
    pub key: String,
}

impl SecretReference {
    /// Understands a reference: braces without anything around them, blanks at
    /// most next to them, and a name and a key without blanks. The name ends at
    /// the first dot. Anything else is an ordinary text.
    pub fn parse(text: &str) -> Option<Self> {
        let inner = text.strip_prefix("{{")?.strip_suffix("}}")?;
        let body = strip(inner);
        if body
            .chars()
            .any(|c| strip(c.encode_utf8(&mut [0; 4])).is_empty())
        {
            return None;
        }
        // One sign at least in front of a dot and one behind it.
        let behind_first = body.char_indices().nth(1).map(|(start, _)| start)?;
        let (_, behind) = body.split_at_checked(behind_first)?;
        let (_, key) = behind.split_once('.')?;
        if key.is_empty() {
            return None;
        }
        let (name, key) = body.split_once('.')?;
        Some(Self {
            name: name.to_owned(),
            key: key.to_owned(),
        })
    }
}

/// Where references are resolved.
pub trait Secrets {
    /// Looks up what a reference points to.
    fn look_up(&self, reference: &SecretReference) -> LookUp;
}

/// What a look-up finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookUp {
    /// The value.
    Value(String),
    /// The value exists but is not shown.
    Concealed,
    /// There is no such secret.
    NoSecret,
    /// The secret has other keys.
    NoKey {
        /// Those that it has.
        available: BTreeSet<String>,
    },
}

/// The store as a plugin sees it: the host resolves references itself, and a
/// plugin takes every one of them for good.
#[derive(Debug, Clone, Copy)]
pub struct KeptByHost;

impl Secrets for KeptByHost {
    fn look_up(&self, _: &SecretReference) -> LookUp {
        LookUp::Concealed
    }
}

/// A reference that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretError {
    /// The field that holds it.
    pub field: String,
    /// The reference.
    pub reference: SecretReference,
    /// The keys that the secret has; none when there is no such secret.
    pub available: Option<BTreeSet<String>>,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            reference: SecretReference { name, key },
            available,
        } = self;
        write!(
            f,
            "Failed to resolve secret reference for attribute {field}: "
        )?;
        let Some(available) = available else {
            return write!(f, "The secret {name} does not exist.");
        };
        write!(
            f,
            "The secret {name} does not contain a value for key {key}. Available keys: "
        )?;
        if available.is_empty() {
            return f.write_str("set().");
        }
        let keys: Vec<String> = available.iter().map(|key| format!("'{key}'")).collect();
        write!(f, "{{{}}}.", keys.join(", "))
    }
}

impl std::error::Error for SecretError {}

/// A text of a field, or what its reference points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// The text.
    Text(String),
    /// There is one, which is not shown.
    Concealed,
}

/// Resolves a text that may be a reference, `passes` times: a value that looks
/// like a reference itself is one again in the next pass.
///
/// # Errors
///
/// For a reference that leads nowhere.
pub fn resolve(
    field: &str,
    text: &str,
    passes: u8,
    secrets: &dyn Secrets,
) -> Result<Resolved, SecretError> {
    let mut text = text.to_owned();
    for _ in 0..passes {
        let Some(reference) = SecretReference::parse(&text) else {
            break;
        };
        let available = match secrets.look_up(&reference) {
            LookUp::Value(value) => {
                text = value;
                continue;
            }
            LookUp::Concealed => return Ok(Resolved::Concealed),
            LookUp::NoSecret => None,
            LookUp::NoKey { available } => Some(available),
        };
        return Err(SecretError {
            field: field.to_owned(),
            reference,
            available,
        });
    }
    Ok(Resolved::Text(text))
}

/// Checks the name of a stack component.
///
/// # Errors
///
/// When it is a reference.
pub fn component_name(name: &str) -> Result<&str, NameError> {
    match SecretReference::parse(name) {
        None => Ok(name),
        Some(_) => Err(NameError),
    }
}

/// A stack component's name is a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Passing the `name` attribute of a stack component as a secret reference is not allowed.")]
pub struct NameError;

#[cfg(test)]
mod tests {
    use super::SecretReference;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Option<(String, String)> {
        SecretReference::parse(text).map(|reference| (reference.name, reference.key))
    }

    #[test]
    fn a_name_ends_at_the_first_dot() {
        for (text, name, key) in [
            ("{{a.b}}", "a", "b"),
            ("{{ a.b.c\t}}", "a", "b.c"),
            ("{{a..b}}", "a", ".b"),
            ("{{.a.b}}", "", "a.b"),
            ("{{...}}", "", ".."),
            ("{{{a.b}}}", "{a", "b}"),
            ("{{\u{1c}a.b\u{a0}}}", "a", "b"),
        ] {
            let expected = Some((name.to_owned(), key.to_owned()));
            assert_eq!(parsed(text), expected, "{text:?}");
        }
    }

    #[test]
    fn other_texts_are_no_references() {
        for text in [
            "",
            "{{}}",
            "{{.}}",
            "{{..}}",
            "{{a.}}",
            "{{ .a }}",
            "{{a .b}}",
            "{{a. b}}",
            "{{a.b}",
            "{{a.b}} ",
            "x{{a.b}}",
            "{{a.b}} {{c.d}}",
        ] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(name in "[^.\\s\\x1c-\\x1f]{1,9}", key in "[^\\s\\x1c-\\x1f]{1,9}") {
            prop_assert_eq!(parsed(&format!("{{{{{name}.{key}}}}}")), Some((name, key)));
        }

        #[test]
        fn any_text_is_answered(text in "\\PC{0,40}") {
            let _ = parsed(&text);
        }
    }
}
