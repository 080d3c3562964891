//! A document as both formats deliver it, before it means anything.

use std::borrow::Cow;
use std::fmt;

/// A value and where it stands.
#[derive(Debug)]
pub(crate) struct Node<'s> {
    /// Byte offset in the text. Four bytes, since there are millions of nodes and
    /// [`DOCUMENT_BYTES`](crate::limits::DOCUMENT_BYTES) fits.
    at: u32,
    pub(crate) value: Value<'s>,
}

/// A key and its value. Keys are any nodes here, so that one that is no text can
/// be told with its place.
#[derive(Debug)]
pub(crate) struct Entry<'s> {
    pub(crate) key: Node<'s>,
    pub(crate) value: Node<'s>,
}

#[derive(Debug)]
pub(crate) enum Value<'s> {
    Null,
    Bool(bool),
    Integer(i64),
    /// Everything with a fraction or exponent, or outside of 64 bits.
    Number(f64),
    Text(Cow<'s, str>),
    List(Vec<Node<'s>>),
    Map(Vec<Entry<'s>>),
}

impl<'s> Node<'s> {
    pub(crate) fn new(at: usize, value: Value<'s>) -> Self {
        Self {
            at: u32::try_from(at).unwrap_or(u32::MAX),
            value,
        }
    }

    pub(crate) fn at(&self) -> usize {
        usize::try_from(self.at).unwrap_or(usize::MAX)
    }

    /// What stands here, for a message; `source` gives a number's own spelling.
    pub(crate) fn describe(&self, source: &str) -> String {
        match &self.value {
            Value::Null => "nothing (null)".to_owned(),
            Value::Bool(value) => format!("the boolean `{value}`"),
            Value::Integer(_) | Value::Number(_) => {
                format!("the number `{}`", excerpt(self.spelling(source)))
            }
            Value::Text(text) if text.is_empty() => "an empty text".to_owned(),
            Value::Text(text) => format!("the text `{}`", excerpt(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }

    /// What stands here, without its content.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing (null)",
            Value::Bool(_) => "a boolean",
            Value::Integer(_) | Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// Whether quotes would make this the text it looks like.
    pub(crate) fn is_bare_scalar(&self) -> bool {
        matches!(
            self.value,
            Value::Bool(_) | Value::Integer(_) | Value::Number(_)
        )
    }

    /// A scalar as it is spelt in the document: `0o17` and `1.10` say more than
    /// 15 and 1.1.
    pub(crate) fn spelling<'t>(&self, source: &'t str) -> &'t str {
        let rest = source.get(self.at()..).unwrap_or_default();
        let ends = |c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}' | ':');
        rest.split(ends).next().unwrap_or_default()
    }
}

/// The beginning of a text of the document, fit to stand in a message.
pub(crate) fn excerpt(text: &str) -> Excerpt<'_> {
    Excerpt { text, shown: 60 }
}

/// A parser's message, which may quote the document.
pub(crate) fn escaped(message: &str) -> Excerpt<'_> {
    Excerpt {
        text: message,
        shown: 300,
    }
}

/// So many characters of a text, without those that could move a cursor.
pub(crate) struct Excerpt<'t> {
    text: &'t str,
    shown: usize,
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.text.chars().take(self.shown) {
            match c {
                // Harmless, and easier to read as they are.
                '"' | '\'' | '\\' => write!(f, "{c}")?,
                c => write!(f, "{}", c.escape_debug())?,
            }
        }
        if self.text.chars().nth(self.shown).is_some() {
            f.write_str("…")?;
        }
        Ok(())
    }
}
