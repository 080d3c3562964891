//! Results the way the recordings put them.

use crate::config::FieldFault;
use serde_json::{Map, Number, Value};

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

/// An error of pydantic: every fault of a document of a class, in order.
pub(crate) fn invalid(class: &str, faults: &[FieldFault]) -> Value {
    let described = |fault: &FieldFault| {
        object([
            ("type", fault.kind.as_str().into()),
            ("loc", fault.path.clone().into()),
            ("msg", fault.message.as_str().into()),
        ])
    };
    let plural = if faults.len() == 1 { "" } else { "s" };
    let message = format!("{} validation error{plural} for {class}", faults.len());
    object([(
        "error",
        object([
            ("type", "ValidationError".into()),
            ("message", message.into()),
            (
                "errors",
                faults.iter().map(described).collect::<Vec<_>>().into(),
            ),
        ]),
    )])
}

/// A number, also one that JSON cannot hold.
pub(crate) fn number(value: f64) -> Value {
    let name = match value {
        value if value.is_nan() => "nan",
        f64::INFINITY => "inf",
        f64::NEG_INFINITY => "-inf",
        value => return Number::from_f64(value).map_or(Value::Null, Value::Number),
    };
    object([("float", name.into())])
}

/// A whole number from its decimal digits, also one that JSON cannot hold.
pub(crate) fn integer(digits: &str) -> Value {
    match digits.parse::<i64>() {
        Ok(value) => value.into(),
        Err(_) => object([("bigint", digits.into())]),
    }
}

/// A value of an input. Numbers that JSON cannot hold become the texts that
/// spell them, which mean the same wherever such a number is taken.
pub(crate) fn decoded(value: &Value) -> Value {
    let Value::Object(fields) = value else {
        return value.clone();
    };
    if let (Some(Value::String(text)), 1) = (
        fields
            .get("bigint")
            .or(fields.get("float"))
            .or(fields.get("enum")),
        fields.len(),
    ) {
        return text.as_str().into();
    }
    if let Some(Value::Array(repeat)) = fields.get("repeat")
        && let [Value::String(text), times] = repeat.as_slice()
    {
        let times = times.as_u64().and_then(|times| usize::try_from(times).ok());
        let then = fields.get("then").and_then(Value::as_str);
        return format!(
            "{}{}",
            text.repeat(times.unwrap_or_default()),
            then.unwrap_or_default()
        )
        .into();
    }
    value.clone()
}

/// The fields of an object in an input, decoded; none for anything else.
pub(crate) fn fields(value: &Value) -> Map<String, Value> {
    let decode = |(name, value): (&String, &Value)| (name.clone(), decoded(value));
    let fields = value.as_object();
    fields
        .map(|fields| fields.iter().map(decode).collect())
        .unwrap_or_default()
}
