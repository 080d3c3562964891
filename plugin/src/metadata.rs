//! What is known about a run or a step, as ZenML keeps it: one value per key.

use serde_json::{Map, Value};

/// Values by key.
pub type Metadata = Map<String, Value>;

/// One value as a text, the way Python's `str` writes it; none when there is
/// none or it is null.
pub fn text(metadata: &Metadata, key: &str) -> Option<String> {
    match metadata.get(key)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(true) => Some("True".to_owned()),
        Value::Bool(false) => Some("False".to_owned()),
        value => Some(value.to_string()),
    }
}

/// Like [`text`], but an empty text is none either: it names nothing.
pub fn name(metadata: &Metadata, key: &str) -> Option<String> {
    text(metadata, key).filter(|text| !text.is_empty())
}

/// The values whose keys begin with a prefix, by what follows it. Null and empty
/// texts are left out.
pub fn names_below(metadata: &Metadata, prefix: &str) -> Vec<(String, String)> {
    metadata
        .keys()
        .filter_map(|key| Some((key.strip_prefix(prefix)?.to_owned(), name(metadata, key)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Metadata, name, names_below, text};
    use serde_json::json;

    #[test]
    fn values_are_read_as_python_prints_them() {
        let metadata: Metadata = serde_json::from_value(
            json!({"n": 7, "t": true, "z": null, "e": "", "p_a": "x", "p_b": ""}),
        )
        .unwrap();
        assert_eq!(text(&metadata, "n").as_deref(), Some("7"));
        assert_eq!(text(&metadata, "t").as_deref(), Some("True"));
        assert_eq!(text(&metadata, "z"), None);
        assert_eq!(text(&metadata, "e").as_deref(), Some(""));
        assert_eq!(name(&metadata, "e"), None);
        assert_eq!(
            names_below(&metadata, "p_"),
            [("a".to_owned(), "x".to_owned())]
        );
    }
}
