//! Files of recorded cases.

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// One file.
#[derive(Debug)]
pub(crate) struct Area {
    /// Its name without the ending.
    pub(crate) name: String,
    pub(crate) cases: Vec<Case>,
}

/// One recorded case.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) input: Value,
    pub(crate) expected: Value,
}

/// Reads every JSON file of a directory, in the order of their names.
pub(crate) fn read_directory(directory: &Path) -> anyhow::Result<Vec<Area>> {
    let place = || format!("the recorded cases in {}", directory.display());
    let mut areas = Vec::new();
    for entry in fs::read_dir(directory).with_context(place)? {
        let path = entry.with_context(place)?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            areas.push(read_file(&path).with_context(|| path.display().to_string())?);
        }
    }
    ensure!(!areas.is_empty(), "{} holds no cases", directory.display());
    areas.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(areas)
}

fn read_file(path: &Path) -> anyhow::Result<Area> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let Value::Array(values) = serde_json::from_slice(&fs::read(path)?)? else {
        bail!("not a list of cases");
    };
    let cases: Vec<Case> = values
        .into_iter()
        .map(read_case)
        .collect::<Result<_, _>>()?;
    let ids: BTreeSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    ensure!(ids.len() == cases.len(), "two cases have the same id");
    Ok(Area {
        name: name.into_owned(),
        cases,
    })
}

fn read_case(value: Value) -> anyhow::Result<Case> {
    let Value::Object(mut fields) = value else {
        bail!("a case is an object");
    };
    let mut take = |name: &str| {
        fields
            .remove(name)
            .with_context(|| format!("a case without `{name}`"))
    };
    let (id, input, expected) = (take("id")?, take("input")?, take("expect")?);
    let Value::String(id) = id else {
        bail!("the id {id} is not a text");
    };
    ensure!(
        input["op"].is_string(),
        "{id}: the input names no operation"
    );
    ensure!(expected.is_object(), "{id}: `expect` is not an object");
    if let Some((name, _)) = fields.into_iter().next() {
        bail!("{id}: `{name}` is not known");
    }
    Ok(Case {
        id,
        input,
        expected,
    })
}

/// A result without what is not worth comparing: the words of descriptions in a
/// schema, of which the recordings hold a checksum, how often a secret was looked
/// up, and whether a whole number of 64 bits was written as a text.
pub(crate) fn normalised(result: Value) -> Value {
    match result {
        Value::Array(values) => values.into_iter().map(normalised).collect(),
        Value::Object(fields) => {
            let mut fields: serde_json::Map<String, Value> = fields
                .into_iter()
                .map(|(name, value)| (name, normalised(value)))
                .collect();
            if let Some(Value::Array(names)) = fields.get_mut("secrets_asked") {
                let mut seen = BTreeSet::new();
                names.retain(|name| seen.insert(name.to_string()));
            }
            if let Some(description) = fields.get_mut("description") {
                let is_there = match &*description {
                    Value::String(text) => !text.is_empty(),
                    checksum => checksum["chars"].as_u64().is_some_and(|chars| chars > 0),
                };
                if is_there {
                    *description = "there".into();
                }
            }
            let digits = fields.get("bigint").and_then(Value::as_str);
            let number = digits.and_then(|digits| {
                let small = digits.parse::<i64>().map(Value::from);
                small
                    .or_else(|_| digits.parse::<u64>().map(Value::from))
                    .ok()
            });
            number.unwrap_or(Value::Object(fields))
        }
        value => value,
    }
}

/// Says where two values differ, one line for each place.
pub(crate) fn differences(place: &str, expected: &Value, answer: &Value, lines: &mut Vec<String>) {
    match (expected, answer) {
        (Value::Object(one), Value::Object(other)) => {
            let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for name in names {
                let place = format!("{place}/{name}");
                match (one.get(name), other.get(name)) {
                    (Some(one), Some(other)) => differences(&place, one, other, lines),
                    (Some(one), None) => {
                        lines.push(format!("{place}: expected {one}, nothing came"))
                    }
                    (None, Some(other)) => lines.push(format!("{place}: {other} was not expected")),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                differences(&format!("{place}/{index}"), one, other, lines);
            }
        }
        (one, other) if one == other => {}
        (one, other) => lines.push(format!("{place}: expected {one}, got {other}")),
    }
}
