//! Conversions as pydantic's lax mode makes them: what counts as a number, a
//! text or a truth value in a configuration.

use serde_json::Value;
use std::cmp::Ordering;
use std::fmt;

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
const FLOAT_TYPE: Mismatch = Mismatch {
    kind: "float_type",
    message: "Input should be a valid number",
};
const FLOAT_PARSING: Mismatch = Mismatch {
    kind: "float_parsing",
    message: "Input should be a valid number, unable to parse string as a number",
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

/// A whole number of any size, as Python has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Integer {
    /// One of 64 bits.
    Small(i64),
    /// A larger one.
    Large {
        /// Whether it is below zero.
        negative: bool,
        /// Decimal digits without leading zeros.
        digits: String,
    },
}

impl Integer {
    /// How it stands to a small number.
    pub fn compare(&self, other: i64) -> Ordering {
        match self {
            Self::Small(value) => value.cmp(&other),
            Self::Large { negative: true, .. } => Ordering::Less,
            Self::Large { .. } => Ordering::Greater,
        }
    }

    /// The number as 32 bits without a sign, when it fits.
    pub fn to_u32(&self) -> Option<u32> {
        match self {
            Self::Small(value) => u32::try_from(*value).ok(),
            Self::Large { .. } => None,
        }
    }

    /// Understands a sign and decimal digits.
    fn from_digits(negative: bool, digits: &str) -> Self {
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() {
            return Self::Small(0);
        }
        let sign = if negative { "-" } else { "" };
        match format!("{sign}{digits}").parse() {
            Ok(value) => Self::Small(value),
            Err(_) => Self::Large {
                negative,
                digits: digits.to_owned(),
            },
        }
    }
}

impl From<u32> for Integer {
    fn from(value: u32) -> Self {
        Self::Small(value.into())
    }
}

impl fmt::Display for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Small(value) => write!(f, "{value}"),
            Self::Large { negative, digits } => {
                write!(f, "{}{digits}", if *negative { "-" } else { "" })
            }
        }
    }
}

/// More digits than this are not taken for a number, by Python's own limit.
const MOST_DIGITS: usize = 4300;

/// A whole number: numbers without a fraction, truth values, and texts of
/// digits with single underscores between them, a sign in front, zeros behind a
/// point, and blanks around.
///
/// # Errors
///
/// For anything else.
pub fn integer(value: &Value) -> Result<Integer, Mismatch> {
    match value {
        Value::Bool(truth) => Ok(Integer::Small(i64::from(*truth))),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(integer), ..) => Ok(Integer::Small(integer)),
            (None, Some(integer), _) => Ok(Integer::from_digits(false, &integer.to_string())),
            (None, None, Some(float)) => integer_from_float(float),
            (None, None, None) => Err(INT_SIZE),
        },
        Value::String(text) => integer_from_text(text),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(INT_TYPE),
    }
}

fn integer_from_float(float: f64) -> Result<Integer, Mismatch> {
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
    Ok(Integer::Small(float as i64))
}

fn integer_from_text(text: &str) -> Result<Integer, Mismatch> {
    // Not Python's idea of white space: pydantic's core is written in Rust.
    let text = text.trim();
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => {
            whole
        }
        Some(_) => return Err(INT_PARSING),
        None => text,
    };
    let (negative, digits) = match whole.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, whole.strip_prefix('+').unwrap_or(whole)),
    };
    let is_well_formed = !digits.is_empty()
        && digits
            .split('_')
            .all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit()));
    if !is_well_formed {
        return Err(INT_PARSING);
    }
    let plain = digits.replace('_', "");
    if plain.len() > MOST_DIGITS {
        return Err(INT_SIZE);
    }
    Ok(Integer::from_digits(negative, &plain))
}

/// A number: numbers, truth values, and texts that spell one, infinite ones
/// included.
///
/// # Errors
///
/// For anything else.
pub fn float(value: &Value) -> Result<f64, Mismatch> {
    match value {
        Value::Bool(truth) => Ok(f64::from(u8::from(*truth))),
        Value::Number(number) => number.as_f64().ok_or(FLOAT_TYPE),
        Value::String(text) => float_from_text(text).ok_or(FLOAT_PARSING),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(FLOAT_TYPE),
    }
}

fn float_from_text(text: &str) -> Option<f64> {
    if let Ok(number) = text.trim().parse() {
        return Some(number);
    }
    // With underscores there may be no blanks.
    if text.starts_with('_') || text.ends_with('_') || text.contains("__") {
        return None;
    }
    text.replace('_', "").parse().ok()
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
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(0), _) => Ok(false),
            (Some(1), _) => Ok(true),
            (Some(_), _) => Err(BOOL_PARSING),
            (None, Some(0.0)) => Ok(false),
            (None, Some(1.0)) => Ok(true),
            // A whole number that is neither is one step nearer to being one.
            (None, Some(float)) if integer_from_float(float).is_ok() => Err(BOOL_PARSING),
            (None, _) => Err(BOOL_TYPE),
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
    use super::{Integer, boolean, float, integer};
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
            json!("3_600.0"),
            json!("+3600"),
        ] {
            assert_eq!(integer(&value), Ok(Integer::Small(3600)), "{value}");
        }
        assert_eq!(integer(&json!(true)), Ok(Integer::Small(1)));
        for (value, kind) in [
            (json!(3600.5), "int_from_float"),
            (json!("60.5"), "int_parsing"),
            (json!("6__0"), "int_parsing"),
            (json!("_60"), "int_parsing"),
            (json!("\u{1c}60"), "int_parsing"),
            (json!(""), "int_parsing"),
            (json!(null), "int_type"),
            (json!([1]), "int_type"),
            (json!(1e30), "int_parsing_size"),
            (json!("9".repeat(4301)), "int_parsing_size"),
        ] {
            assert_eq!(integer(&value).unwrap_err().kind, kind, "{value}");
        }
    }

    #[test]
    fn integers_have_no_largest() {
        let large = integer(&json!("-00012345678901234567890")).unwrap();
        assert_eq!(large.to_string(), "-12345678901234567890");
        assert!(large.compare(i64::MIN).is_lt());
        assert!(integer(&json!(u64::MAX)).unwrap().compare(i64::MAX).is_gt());
        assert_eq!(integer(&json!("-0")), Ok(Integer::Small(0)));
    }

    #[test]
    fn what_counts_as_a_number() {
        for (value, expected) in [
            (json!(2), 2.0),
            (json!(" 10.5 "), 10.5),
            (json!("1_0.5"), 10.5),
            (json!(true), 1.0),
            (json!(".5"), 0.5),
            (json!("INF"), f64::INFINITY),
        ] {
            assert_eq!(float(&value), Ok(expected), "{value}");
        }
        for value in [json!("1__0"), json!(" 1_0"), json!("many"), json!("0x1")] {
            assert_eq!(float(&value).unwrap_err().kind, "float_parsing", "{value}");
        }
        assert_eq!(float(&json!({})).unwrap_err().kind, "float_type");
    }

    #[test]
    fn what_counts_as_a_truth_value() {
        for value in [json!(true), json!(1), json!("YES"), json!("t"), json!(1.0)] {
            assert_eq!(boolean(&value), Ok(true), "{value}");
        }
        for (value, kind) in [
            (json!(2), "bool_parsing"),
            (json!("maybe"), "bool_parsing"),
            (json!(-1.0), "bool_parsing"),
            (json!(1.5), "bool_type"),
            (json!(1e30), "bool_type"),
            (json!(null), "bool_type"),
        ] {
            assert_eq!(boolean(&value).unwrap_err().kind, kind, "{value}");
        }
    }
}
