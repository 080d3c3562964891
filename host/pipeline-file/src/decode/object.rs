//! Nodes to a JSON object, for documents whose keys are not known here.

use super::Decoder;
use super::place::Place;
use crate::node::{Node, Value};
use crate::problems::Problems;
use serde_json::{Map, Number, Value as Json};

/// Converts a document; `None` exactly when there are problems.
pub(crate) fn object(
    root: &Node<'_>,
    source: &str,
    problems: &mut Problems,
) -> Option<Map<String, Json>> {
    let mut decoder = Decoder { source, problems };
    let object = decoder.map(Place::root(root));
    object.filter(|_| decoder.problems.is_empty())
}

impl Decoder<'_> {
    /// A map whose keys are not known here.
    pub fn map(&mut self, place: Place<'_>) -> Option<Map<String, Json>> {
        let entries = self.entries(place, "keys and values")?;
        let mut object = Map::with_capacity(entries.len());
        for keyed in entries {
            let value = self.any(place.under(keyed.key, keyed.node));
            object.insert(keyed.key.to_owned(), value?);
        }
        Some(object)
    }

    /// Any value. How deep it goes is limited where the document is read.
    fn any(&mut self, place: Place<'_>) -> Option<Json> {
        Some(match &place.node.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Integer(value) => Json::from(*value),
            Value::Number(value) => match Number::from_f64(*value) {
                Some(number) => Json::Number(number),
                None => {
                    let help = "write a finite number, or quotes around it if it is a text";
                    self.mismatch(place, "a number that JSON can hold", help);
                    return None;
                }
            },
            Value::Text(text) => Json::from(text.as_ref()),
            Value::List(items) => {
                let items = items.iter().enumerate();
                let values: Option<Vec<Json>> = items
                    .map(|(index, item)| self.any(place.item(index, item)))
                    .collect();
                Json::Array(values?)
            }
            Value::Map(_) => Json::Object(self.map(place)?),
        })
    }
}
