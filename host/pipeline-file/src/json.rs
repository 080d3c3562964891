//! JSON to nodes.
//!
//! serde_json tells no places but that of a syntax error. So a document is read
//! one level at a time, every value first as its raw text: where that lies in the
//! document is the value's place.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits;
use crate::node::{Entry, Node, Value, escaped};
use crate::problems::Found;
use crate::yaml::{TOO_MANY_ENTRIES, check_entries, too_deep};

/// Whether the text is one JSON object or array, as far as syntax goes.
pub(crate) fn is_document(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<&RawValue>(text).is_ok()
}

/// Reads the one document of a text.
pub(crate) fn parse(text: &str) -> Result<Node<'_>, Found> {
    let root: &RawValue = serde_json::from_str(text).map_err(|error| Found {
        at: Some(offset(text, &error)),
        path: String::new(),
        what: format!("this is not valid JSON: {}", message(&error)),
        first: None,
        help: "check the commas, the brackets and the quotes around here".to_owned(),
    })?;
    let mut reader = Reader { text, nodes: 0 };
    reader.node(root, 1)
}

/// Turns raw values into nodes.
struct Reader<'s> {
    text: &'s str,
    nodes: usize,
}

impl<'s> Reader<'s> {
    fn node(&mut self, raw: &'s RawValue, depth: usize) -> Result<Node<'s>, Found> {
        let at = self.offset(raw);
        self.nodes += 1;
        if self.nodes > limits::NODES {
            let what = "the document holds more values than a pipeline can have";
            return Err(fault(at, what.to_owned(), "split the pipeline"));
        }
        let value = match raw.get().as_bytes().first() {
            Some(b'{' | b'[') if depth > limits::DEPTH => {
                let (what, help) = too_deep();
                return Err(fault(at, what, help));
            }
            Some(b'{') => {
                let Pairs(pairs) = self.read(raw, at)?;
                let entries = pairs.into_iter().map(|(key, value)| {
                    Ok(Entry {
                        key: self.node(key, depth)?,
                        value: self.node(value, depth + 1)?,
                    })
                });
                Value::Map(entries.collect::<Result<_, Found>>()?)
            }
            Some(b'[') => {
                let Items(items) = self.read(raw, at)?;
                let items = items.into_iter().map(|item| self.node(item, depth + 1));
                Value::List(items.collect::<Result<_, Found>>()?)
            }
            Some(b'"') => {
                let Text(text) = self.read(raw, at)?;
                Value::Text(text)
            }
            Some(b'n') => Value::Null,
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            _ => number(raw.get()),
        };
        Ok(Node::new(at, value))
    }

    /// Reads one level of a value whose syntax is known to be right.
    fn read<T: Deserialize<'s>>(&self, raw: &'s RawValue, at: usize) -> Result<T, Found> {
        serde_json::from_str(raw.get()).map_err(|error| {
            let message = message(&error);
            if message == TOO_MANY_ENTRIES {
                return fault(at, message, "split the pipeline");
            }
            // Half of a surrogate pair is the one thing that syntax lets pass.
            fault(
                at,
                message,
                "write the character itself, or its whole escape",
            )
        })
    }

    /// Where a raw value lies in the text it borrows from.
    fn offset(&self, raw: &RawValue) -> usize {
        let start = self.text.as_ptr().addr();
        raw.get().as_ptr().addr().saturating_sub(start)
    }
}

fn number(digits: &str) -> Value<'static> {
    // Rust reads every JSON number; what exceeds a float becomes infinite, and is
    // refused where a finite number is asked for.
    digits.parse().map_or_else(
        |_| Value::Number(digits.parse().unwrap_or(f64::NAN)),
        Value::Integer,
    )
}

fn fault(at: usize, what: String, help: &str) -> Found {
    Found {
        at: Some(at),
        path: String::new(),
        what,
        first: None,
        help: help.to_owned(),
    }
}

/// An error's message without the place that serde_json adds at its end.
fn message(error: &serde_json::Error) -> String {
    let full = error.to_string();
    let message = full
        .rsplit_once(" at line ")
        .map_or(&*full, |(message, _)| message);
    escaped(message).to_string()
}

/// The byte offset of an error; serde_json counts columns in bytes, from 1.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let lines = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1));
    let line_start: usize = lines.map(str::len).sum();
    line_start + error.column().saturating_sub(1)
}

/// The entries of an object, duplicates and all.
struct Pairs<'s>(Vec<(&'s RawValue, &'s RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Pairs<'de>, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = access.next_entry()? {
            pairs.push(pair);
            check_entries(pairs.len())?;
        }
        Ok(Pairs(pairs))
    }
}

/// The elements of an array.
struct Items<'s>(Vec<&'s RawValue>);

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

struct ItemsVisitor;

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Items<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Items<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
            check_entries(items.len())?;
        }
        Ok(Items(items))
    }
}

/// A text, borrowed where it has no escapes.
struct Text<'s>(Cow<'s, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }
}
