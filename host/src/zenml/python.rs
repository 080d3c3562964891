//! Values as Python prints them. ZenML's cache keys depend on it.

use serde_json::{Number, Value};

/// What `str` makes of a value.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => representation(other),
    }
}

/// What `repr` makes of a value.
fn representation(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => self::number(number),
        Value::String(text) => quoted(text),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(representation).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields: Vec<String> = fields
                .map(|(name, value)| format!("{}: {}", quoted(name), representation(value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}

fn number(number: &Number) -> String {
    match number.as_f64() {
        Some(real) if number.is_f64() => self::real(real),
        _ => number.to_string(),
    }
}

/// The shortest digits that are read back as the same number, with an exponent
/// below 1e-4 and from 1e16.
fn real(number: f64) -> String {
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        // Rust's own text has no exponent there, and a fraction always.
        _ => format!("{number:?}"),
    }
}

/// A text in quotes.
fn quoted(text: &str) -> String {
    let quote = match text.contains('\'') && !text.contains('"') {
        true => '"',
        false => '\'',
    };
    let mut quoted = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\\' => quoted.push_str("\\\\"),
            c if c == quote => quoted.extend(['\\', c]),
            c if is_printable(c) => quoted.push(c),
            c => quoted.push_str(&escaped(u32::from(c))),
        }
    }
    quoted.push(quote);
    quoted
}

fn escaped(code: u32) -> String {
    match code {
        ..=0xff => format!("\\x{code:02x}"),
        0x100..=0xffff => format!("\\u{code:04x}"),
        _ => format!("\\U{code:08x}"),
    }
}

/// Whether Python shows a character as it is. Rust's own escaping follows the same
/// categories of Unicode; behind a letter it leaves accents alone, as Python does.
fn is_printable(c: char) -> bool {
    matches!(c, '\'' | '"') || String::from_iter(['a', c]).escape_debug().nth(1) == Some(c)
}

#[cfg(test)]
mod tests {
    use super::text;
    use serde_json::{Value, json};

    #[test]
    fn values_look_as_python_prints_them() {
        for (value, expected) in [
            (json!(null), "None"),
            (json!(true), "True"),
            (json!(-7), "-7"),
            (
                json!(18_446_744_073_709_551_615_u64),
                "18446744073709551615",
            ),
            (json!("it's"), "it's"),
            (
                json!(["it's", "a\nb", "é\u{301}\u{ad}"]),
                "[\"it's\", 'a\\nb', 'é\u{301}\\xad']",
            ),
            (
                json!({"a": {"b": []}, "c": false}),
                "{'a': {'b': []}, 'c': False}",
            ),
        ] {
            assert_eq!(text(&value), expected);
        }
    }

    #[test]
    fn numbers_have_the_shortest_digits() {
        for (number, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (123_456.75, "123456.75"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (-1.25e300, "-1.25e+300"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(text(&Value::from(number)), expected);
        }
    }
}
