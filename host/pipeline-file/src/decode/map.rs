//! Maps: those with known keys, and those whose keys are names.

use std::collections::HashMap;

use super::Decoder;
use super::place::Place;
use crate::node::{Node, Value};
use crate::problems::Found;

/// One entry of a map whose key is a text that stands there once.
#[derive(Debug)]
pub struct Keyed<'p> {
    pub(super) key: &'p str,
    /// Where the key stands.
    pub(super) at: usize,
    pub(super) node: &'p Node<'p>,
}

impl<'p> Keyed<'p> {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &'p str {
        self.key
    }

    /// The value, as a part of the map.
    #[must_use]
    pub fn value<'c>(&'c self, map: &'c Place<'c>) -> Place<'c> {
        map.under(self.key, self.node)
    }
}

/// A map's values by the keys that it may have.
#[derive(Debug)]
pub struct Fields<'p> {
    place: Place<'p>,
    given: Vec<Keyed<'p>>,
}

impl<'p> Fields<'p> {
    /// The value of a key, unless it is absent or `null`.
    ///
    /// `null` counts as absent: it is what YAML makes of a key with nothing, or
    /// with comments only, behind it.
    #[must_use]
    pub fn get(&self, key: &'static str) -> Option<Place<'_>> {
        self.get_or_null(key)
            .filter(|place| !matches!(place.node.value, Value::Null))
    }

    /// The value of a key, which may be `null`.
    #[must_use]
    pub fn get_or_null(&self, key: &'static str) -> Option<Place<'_>> {
        let keyed = self.given.iter().find(|keyed| keyed.key == key)?;
        Some(self.place.under(key, keyed.node))
    }

    /// The known keys that are there, in the order of the file.
    pub fn keys(&self) -> impl Iterator<Item = &'p str> {
        self.given.iter().map(|keyed| keyed.key)
    }
}

impl Decoder<'_> {
    /// The entries of a map: keys that are no texts, and all but the first of
    /// equal ones, are reported and left out.
    pub fn entries<'p>(&mut self, place: Place<'p>, what: &str) -> Option<Vec<Keyed<'p>>> {
        let Value::Map(entries) = &place.node.value else {
            let help = "write one `key: value` on each line, indented below the name";
            self.mismatch(place, &format!("a map of {what}"), help);
            return None;
        };
        let mut first: HashMap<&str, usize> = HashMap::with_capacity(entries.len());
        let mut kept = Vec::with_capacity(entries.len());
        for entry in entries {
            let Value::Text(key) = &entry.key.value else {
                self.odd_key(place, &entry.key);
                continue;
            };
            let at = entry.key.at();
            if let Some(earlier) = first.get(&**key) {
                self.problems.add(Found {
                    at: Some(at),
                    path: place.path.key(key).to_string(),
                    what: "the key stands here a second time".to_owned(),
                    first: Some(*earlier),
                    help: "keep one of the two, or rename one".to_owned(),
                });
                continue;
            }
            first.insert(key, at);
            kept.push(Keyed {
                key,
                at,
                node: &entry.value,
            });
        }
        Some(kept)
    }

    /// A map that may have these keys and no others.
    pub fn fields<'p>(
        &mut self,
        place: Place<'p>,
        what: &str,
        known: &[&'static str],
    ) -> Option<Fields<'p>> {
        let mut given = self.entries(place, what)?;
        given.retain(|keyed| {
            let is_known = known.contains(&keyed.key);
            if !is_known {
                self.unknown_key(place, keyed, known);
            }
            is_known
        });
        Some(Fields { place, given })
    }

    /// A key that has to be there.
    pub fn required<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &'static str,
        help: &str,
        decode: impl FnOnce(&mut Self, Place<'_>) -> Option<T>,
    ) -> Option<T> {
        if let Some(place) = fields.get(key) {
            return decode(self, place);
        }
        let (what, at) = match fields.get_or_null(key) {
            Some(null) => ("the key has no value", null.node.at()),
            None => ("the key is missing", fields.place.node.at()),
        };
        self.report_at(at, fields.place.path.key(key), what, help);
        None
    }

    fn odd_key(&mut self, place: Place<'_>, key: &Node<'_>) {
        let found = key.describe(self.source);
        let what = format!("a key is a text, and here is {found}");
        if key.is_bare_scalar() {
            let spelling = key.spelling(self.source);
            self.report_at(
                key.at(),
                place.path,
                what,
                format_args!("put it in quotes: \"{spelling}\""),
            );
        } else {
            self.report_at(
                key.at(),
                place.path,
                what,
                "write a plain name before the colon",
            );
        }
    }

    fn unknown_key(&mut self, place: Place<'_>, keyed: &Keyed<'_>, known: &[&'static str]) {
        let key = keyed.key.to_lowercase();
        let similarity = |other: &&&str| strsim::jaro_winkler(&key, other);
        let nearest = known
            .iter()
            .max_by(|one, other| similarity(one).total_cmp(&similarity(other)));
        let nearest = nearest.copied().unwrap_or_default();
        let all = known.join("`, `");
        self.report_at(
            keyed.at,
            place.path.key(keyed.key),
            "the key is unknown",
            format_args!("the nearest known key is `{nearest}`; all that are known here: `{all}`"),
        );
    }
}
