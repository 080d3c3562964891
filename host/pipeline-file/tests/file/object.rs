//! Documents whose keys are not known here.

use pipeline_file::object_from_reader;
use serde_json::{Value, json};

fn read(name: &str, document: &str) -> Result<Value, String> {
    object_from_reader(name, document.as_bytes())
        .map(Value::Object)
        .map_err(|error| error.to_string())
}

#[test]
fn both_formats_give_the_same_object() {
    let expected = json!({
        "gpu": "T4", "timeout": 60, "half": 0.5, "none": null, "map": {"A": ["1", true]},
    });
    let yaml = "gpu: T4\ntimeout: 60\nhalf: 0.5\nnone:\nmap: {A: ['1', true]}\n";
    assert_eq!(read("c.yaml", yaml), Ok(expected.clone()));
    assert_eq!(read("c.json", &expected.to_string()), Ok(expected));
    assert_eq!(read("c.yaml", "{}"), Ok(json!({})));
}

#[test]
fn what_is_no_object_is_told_with_its_place() {
    for (document, expected) in [
        ("- 1\n", "1:1"),
        (
            "a: 1\nb: {c: 1, c: 2}\n",
            "2:11: b.c: the key stands here a second time",
        ),
        ("a: .inf\n", "1:4: a: "),
        ("1: a\n", "1:1"),
        ("", "the file is empty"),
        ("a: [", ""),
    ] {
        let error = read("c.yaml", document).unwrap_err();
        assert!(error.contains(expected), "{document:?}: {error}");
    }
}

#[test]
fn what_is_too_deep_is_refused() {
    let deep = format!("a: {}1{}", "[".repeat(64), "]".repeat(64));
    assert!(read("c.yaml", &deep).is_err());
}
