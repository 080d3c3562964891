//! Results the way the recordings put them.

use serde_json::{Map, Value};

/// An object of these fields.
pub(crate) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let fields = fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    Value::Object(fields.collect())
}

/// A result.
pub(crate) fn ok(value: impl Into<Value>) -> Value {
    object([("ok", value.into())])
}

/// An error under the name that Python gives its type.
pub(crate) fn error(kind: &str, message: impl ToString) -> Value {
    object([(
        "error",
        object([
            ("type", kind.into()),
            ("message", message.to_string().into()),
        ]),
    )])
}

/// Adds what else was observed to a result; a list only when it holds anything.
#[must_use]
pub(crate) fn observed<T: Into<Value>>(answer: Value, name: &str, values: Vec<T>) -> Value {
    match (answer, values.is_empty()) {
        (Value::Object(mut fields), false) => {
            let values = values.into_iter().map(Into::into).collect();
            fields.insert(name.to_owned(), Value::Array(values));
            Value::Object(fields)
        }
        (answer, _) => answer,
    }
}

/// Texts and their values, as an object.
pub(crate) fn pairs<'a>(values: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let mut fields = Map::new();
    for (name, value) in values {
        fields.insert(name.to_owned(), value.into());
    }
    Value::Object(fields)
}
