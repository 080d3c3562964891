//! YAML to nodes.
//!
//! YAML 1.2 with merge keys: `no`, `on` and `yes` are texts, `0o17` is a number,
//! `<<` merges. Duplicate keys come through, so that all of them can be told.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{
    DefaultMessageFormatter, DuplicateKeyPolicy, Error, Location, MessageFormatter,
    NonFiniteFloatPolicy, Options, Spanned,
};

use crate::limits;
use crate::node::{Entry, Node, Value, escaped};
use crate::problems::Found;

/// Reads the one document of a text.
pub(crate) fn parse(text: &str) -> Result<Node<'_>, Found> {
    serde_saphyr::from_str_with_options(text, options(text.len()))
        .map_err(|error| problem(text, error.without_snippet()))
}

fn options(bytes: usize) -> Options {
    let repeated = limits::repeated_events(bytes);
    serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: repeated,
            max_replay_stack_depth: limits::DEPTH,
        },
        budget: serde_saphyr::budget! {
            max_depth: limits::DEPTH,
            // For the scanner, which runs ahead of `max_depth` by up to 1,024
            // characters to find out whether a bracket opens a key.
            flow_nesting_limit: 2048,
            max_documents: 1,
            max_nodes: limits::NODES,
            // Collections have an end as well, and the document a frame.
            max_events: limits::NODES * 2,
            // Counts repeated texts too: one document's worth of them.
            max_total_scalar_bytes: limits::DOCUMENT_BYTES * 2,
            max_recorded_anchor_events: repeated,
            max_recorded_anchor_bytes: limits::DOCUMENT_BYTES,
            max_merge_keys: limits::STEPS,
            max_aliases: repeated,
            max_anchors: limits::STEPS,
            // What aliases cost is limited above; one anchor used by every step is
            // what they are for.
            enforce_alias_anchor_ratio: false,
        },
    }
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value<'de>>::deserialize(deserializer)?;
        // Where the value is written, not where an alias uses it: that is the
        // place to repair. Offsets are always there for text input.
        let at = spanned.defined.span().byte_offset().unwrap_or_default();
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        Ok(Self::new(at, spanned.value))
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value<'de>, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value<'de>, E> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "too large for every key, whatever its digits"
        )]
        let number = value as f64;
        Ok(i64::try_from(value).map_or(Value::Number(number), Value::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value<'de>, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(value)))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
            check_entries(items.len())?;
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value<'de>, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = access.next_entry()? {
            entries.push(Entry { key, value });
            check_entries(entries.len())?;
        }
        Ok(Value::Map(entries))
    }
}

/// Stops before a parser has kept millions of entries that nobody asked for.
pub(crate) fn check_entries<E: de::Error>(length: usize) -> Result<(), E> {
    if length > limits::STEPS {
        return Err(E::custom(TOO_MANY_ENTRIES));
    }
    Ok(())
}

pub(crate) const TOO_MANY_ENTRIES: &str = "more than 100000 entries in one map or list";

/// Says in a pipeline author's words what the parser stumbled over.
fn problem(text: &str, error: &Error) -> Found {
    let (what, help) = explain(error);
    Found {
        at: error.location().map(|location| offset(text, location)),
        path: String::new(),
        what,
        first: None,
        help: help.to_owned(),
    }
}

/// The byte offset of a location; the scanner's errors have lines and columns
/// only, both counted from 1, the latter in characters.
fn offset(text: &str, location: Location) -> usize {
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    if let Some(offset) = location.span().byte_offset() {
        return number(offset);
    }
    let lines_before = number(location.line()).saturating_sub(1);
    let mut lines = text.split_inclusive('\n');
    let line_start: usize = lines.by_ref().take(lines_before).map(str::len).sum();
    let before = lines.next().unwrap_or_default().chars();
    let before = before.take(number(location.column()).saturating_sub(1));
    line_start + before.map(char::len_utf8).sum::<usize>()
}

fn explain(error: &Error) -> (String, &'static str) {
    const SPLIT: &str = "split the pipeline, or generate smaller steps";
    let fixed = |what: &str, help| (what.to_owned(), help);
    match error {
        Error::AliasError { error, .. } => explain(error),
        Error::Budget { breach, .. } => match breach {
            BudgetBreach::Depth { .. } => too_deep(),
            BudgetBreach::Documents { .. } => several_documents(),
            BudgetBreach::RecordedAnchorEvents { .. }
            | BudgetBreach::RecordedAnchorBytes { .. }
            | BudgetBreach::Aliases { .. }
            | BudgetBreach::Anchors { .. }
            | BudgetBreach::MergeKeys { .. } => too_many_aliases(),
            _ => fixed(
                "the document holds more values than a pipeline can have",
                SPLIT,
            ),
        },
        Error::MultipleDocuments { .. } => several_documents(),
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::AliasExpansionLimitExceeded { .. } => too_many_aliases(),
        Error::RecursiveReferencesRequireWeakTypes { .. } => fixed(
            "the alias refers to what it stands in",
            "write the value out",
        ),
        Error::UnknownAnchor { .. } => fixed(
            "the alias refers to an anchor that is not defined above it",
            "define it with `&name` first, or quote a text that begins with `*`",
        ),
        Error::Message { msg, .. } if msg == TOO_MANY_ENTRIES => {
            (msg.clone(), "split the pipeline")
        }
        other => {
            let message = DefaultMessageFormatter.format_message(other);
            let what = format!("this is not valid YAML: {}", escaped(&message));
            (
                what,
                "check the indentation, the brackets and the quotes around here",
            )
        }
    }
}

pub(crate) fn too_deep() -> (String, &'static str) {
    let what = format!("maps and lists are nested more than {} deep", limits::DEPTH);
    (what, "write a pipeline file: its keys go four levels down")
}

fn several_documents() -> (String, &'static str) {
    (
        "the file holds more than one YAML document".to_owned(),
        "keep one pipeline in a file, and remove the `---` before the next",
    )
}

fn too_many_aliases() -> (String, &'static str) {
    (
        "aliases and merge keys repeat more than the document's size allows".to_owned(),
        "write the values out, or generate a JSON file",
    )
}
