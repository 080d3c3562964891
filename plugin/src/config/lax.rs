//! Conversions as pydantic's lax mode makes them: what counts as a number, a
//! text or a truth value in a configuration.

use crate::text::strip;
use serde_json::Value;

/// Why a value is not of a type: pydantic's kind and words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch {
    /// Pydantic's word for it.
    pub kind: &'static str,
    /// Pydantic's sentence about it.
    pub message: &'static str,
}

const INT_TYPE: Mismatch = Mismatch {
    kind: "int_type",
    message: "Input should be a valid integer",
};
const INT_PARSING: Mismatch = Mismatch {
    kind: "int_parsing",
    message: "Input should be a valid integer, unable to parse string as an integer",
};
const INT_FROM_FLOAT: Mismatch = Mismatch {
    kind: "int_from_float",
    message: "Input should be a valid integer, got a number with a fractional part",
};
const INT_SIZE: Mismatch = Mismatch {
    kind: "int_parsing_size",
    message: "Unable to parse input string as an integer, exceeded maximum size",
};
const STRING_TYPE: Mismatch = Mismatch {
    kind: "string_type",
    message: "Input should be a valid string",
};
const BOOL_TYPE: Mismatch = Mismatch {
    kind: "bool_type",
    message: "Input should be a valid boolean",
};
const BOOL_PARSING: Mismatch = Mismatch {
    kind: "bool_parsing",
    message: "Input should be a valid boolean, unable to interpret input",
};

/// A whole number: numbers without a fraction, truth values, and texts of
/// digits with single underscores between them, a sign in front, zeros behind a
/// point, and blanks around.
///
/// # Errors
///
/// For anything else.
pub fn integer(value: &Value) -> Result<i64, Mismatch> {
    match value {
        Value::Bool(truth) => Ok(i64::from(*truth)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Ok(integer),
            (None, Some(float)) => integer_from_float(float),
            (None, None) => Err(INT_SIZE),
        },
        Value::String(text) => integer_from_text(text),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(INT_TYPE),
    }
}

fn integer_from_float(float: f64) -> Result<i64, Mismatch> {
    if float.fract() != 0.0 {
        return Err(INT_FROM_FLOAT);
    }
    // 2^63 is exact as a float; its neighbours below are too.
    if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&float) {
        return Err(INT_SIZE);
    }
    #[allow(
        clippy::cast_possible_truncation,
        reason = "whole and within range, both checked above"
    )]
    Ok(float as i64)
}

fn integer_from_text(text: &str) -> Result<i64, Mismatch> {
    let text = strip(text);
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => {
            whole
        }
        Some(_) => return Err(INT_PARSING),
        None => text,
    };
    let (sign, digits) = match whole.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", whole.strip_prefix('+').unwrap_or(whole)),
    };
    let is_well_formed = !digits.is_empty()
        && digits
            .split('_')
            .all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit()));
    if !is_well_formed {
        return Err(INT_PARSING);
    }
    let plain = digits.replace('_', "");
    format!("{sign}{plain}").parse().map_err(|_| INT_SIZE)
}

/// A text. Nothing else is taken for one.
///
/// # Errors
///
/// For anything else.
pub fn text(value: &Value) -> Result<&str, Mismatch> {
    value.as_str().ok_or(STRING_TYPE)
}

/// A truth value: `true`, 1, `yes` and the like.
///
/// # Errors
///
/// For anything else.
pub fn boolean(value: &Value) -> Result<bool, Mismatch> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        Value::Number(number) => match number.as_f64() {
            Some(0.0) => Ok(false),
            Some(1.0) => Ok(true),
            _ => Err(BOOL_PARSING),
        },
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "0" | "off" | "f" | "false" | "n" | "no" => Ok(false),
            "1" | "on" | "t" | "true" | "y" | "yes" => Ok(true),
            _ => Err(BOOL_PARSING),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => Err(BOOL_TYPE),
    }
}

#[cfg(test)]
mod tests {
    use super::{boolean, integer};
    use serde_json::json;

    #[test]
    fn what_counts_as_an_integer() {
        for value in [
            json!(3600),
            json!("3600"),
            json!(" 3600 "),
            json!("3_600"),
            json!(3600.0),
            json!("3600.0"),
            json!("+3600"),
        ] {
            assert_eq!(integer(&value), Ok(3600), "{value}");
        }
        assert_eq!(integer(&json!(true)), Ok(1));
        for (value, kind) in [
            (json!(3600.5), "int_from_float"),
            (json!("60.5"), "int_parsing"),
            (json!("6__0"), "int_parsing"),
            (json!("_60"), "int_parsing"),
            (json!(""), "int_parsing"),
            (json!(null), "int_type"),
            (json!([1]), "int_type"),
            (json!(1e30), "int_parsing_size"),
        ] {
            assert_eq!(integer(&value).unwrap_err().kind, kind, "{value}");
        }
    }

    #[test]
    fn what_counts_as_a_truth_value() {
        for value in [json!(true), json!(1), json!("YES"), json!("t"), json!(1.0)] {
            assert_eq!(boolean(&value), Ok(true), "{value}");
        }
        for (value, kind) in [
            (json!(2), "bool_parsing"),
            (json!("maybe"), "bool_parsing"),
            (json!(null), "bool_type"),
        ] {
            assert_eq!(boolean(&value).unwrap_err().kind, kind, "{value}");
        }
    }
}
