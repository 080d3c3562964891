//! Rules about GPUs.

use super::{Difference, Rule};
use serde_json::{Value, json};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "gpu-own-count",
        areas: &["gpu"],
        inputs: "a GPU type that carries a count of its own (`A100:2`), with a count of the \
                 resources above 0 or without one",
        real: "appends the second count to the first (A100:2:2), and leaves blanks within the \
               type as they are",
        here: "uses the count once when both agree, refuses two different ones and what is no \
               count, and takes blanks around the colon away",
        why: "Modal refuses a type with two counts or blanks in it, after the image was built and \
              the run was started",
        differences: own_count,
    },
    Rule {
        id: "gpu-count-too-large",
        areas: &["gpu"],
        inputs: "a GPU type and a count above 4294967295",
        real: "passes the number on",
        here: "says that it is more than can be asked for",
        why: "Modal's request holds 32 bits; the SDK fails with an error about numbers there",
        differences: count_too_large,
    },
];

/// Operations that end in an argument.
const OPERATIONS: [&str; 2] = ["gpu_argument", "gpu_argument_custom"];

/// What Python's `str.strip` takes away.
fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

/// The type that is set, if the operation is one of those and it is not blank.
fn kind(input: &Value) -> Option<&str> {
    let operation = input["op"].as_str()?;
    let kind = strip(input["gpu"].as_str()?);
    (OPERATIONS.contains(&operation) && !kind.is_empty()).then_some(kind)
}

/// The count of the resources, as digits, when it is one above 0.
fn count(input: &Value) -> Option<Option<String>> {
    let digits = match &input["gpu_count"] {
        Value::Null => return Some(None),
        Value::Bool(truth) => u8::from(*truth).to_string(),
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (Some(number), _) => number.to_string(),
            (None, Some(number)) if number.fract() == 0.0 => format!("{number:.0}"),
            _ => return None,
        },
        Value::String(text) => {
            let text = text.trim().trim_start_matches('+').replace('_', "");
            let text = match text.split_once('.') {
                Some((whole, zeros)) if zeros.bytes().all(|byte| byte == b'0') => whole.to_owned(),
                Some(_) => return None,
                None => text,
            };
            text.trim_start_matches('0').to_owned()
        }
        Value::Object(large) => large.get("bigint")?.as_str()?.to_owned(),
        Value::Array(_) => return None,
    };
    let is_positive =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.bytes().any(|byte| byte != b'0');
    is_positive.then_some(Some(digits))
}

/// What the original answers.
fn joined(kind: &str, count: Option<&String>) -> Value {
    let argument = match count {
        Some(count) => format!("{kind}:{count}"),
        None => kind.to_owned(),
    };
    json!({"ok": argument})
}

fn failure(message: String) -> Value {
    json!({"error": {"type": "StackComponentInterfaceError", "message": message}})
}

fn own_count(input: &Value) -> Vec<Difference> {
    let (Some(kind), Some(count)) = (kind(input), count(input)) else {
        return Vec::new();
    };
    let Some((base, own)) = kind.split_once(':') else {
        return Vec::new();
    };
    if count.as_ref().is_some_and(|count| is_too_large(count)) {
        return Vec::new();
    }
    let real = joined(kind, count.as_ref());
    let right = match (strip(own).parse::<u32>(), &count) {
        (Err(_) | Ok(0), _) => failure(format!(
            "GPU type '{kind}' ends in something that is not a positive number. Write the type \
             alone ('A100') or with a count ('A100:2')."
        )),
        (Ok(own), Some(count)) if own.to_string() != *count => failure(format!(
            "GPU type '{kind}' and gpu_count={count} ask for different numbers of GPUs. Leave one \
             of the two out."
        )),
        (Ok(own), _) => json!({"ok": format!("{}:{own}", strip(base))}),
    };
    match real == right {
        true => Vec::new(),
        false => Difference::whole(real, right),
    }
}

fn is_too_large(count: &str) -> bool {
    count.parse::<u32>().is_err()
}

fn count_too_large(input: &Value) -> Vec<Difference> {
    let (Some(kind), Some(Some(count))) = (kind(input), count(input)) else {
        return Vec::new();
    };
    if !is_too_large(&count) {
        return Vec::new();
    }
    let right = failure(format!(
        "gpu_count={count} is more than can be asked for (the limit is 4294967295)."
    ));
    Difference::whole(joined(kind, Some(&count)), right)
}
