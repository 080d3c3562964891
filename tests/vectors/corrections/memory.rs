//! Rules about memory.

use super::{Difference, Rule};
use serde_json::{Value, json};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "memory-rounding",
        areas: &["memory"],
        inputs: "an amount of memory whose megabytes a floating-point number cannot hold exactly",
        real: "rounds to what a floating-point number holds, then rounds that up",
        here: "rounds the exact number up",
        why: "the figure can be too small by many megabytes, and is not what was written",
        differences: rounding,
    },
    Rule {
        id: "memory-too-large",
        areas: &["memory"],
        inputs: "more bytes of memory than 128 bits can count, with nothing else wrong",
        real: "OverflowError, or a ValueError about digits, whenever the amount is used; up to \
               some 300 digits a rounded number that no machine has",
        here: "one error about the field, when the settings are read",
        why: "the Python errors say nothing about the setting, and come after the run has begun",
        differences: too_large,
    },
];

/// Bytes of a unit, longer names first where one ends with another.
const UNITS: [(&str, u64); 11] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
    ("B", 1),
];

/// An amount that the original takes: decimal digits and the bytes of its unit.
fn amount(text: &str) -> Option<(&str, u64)> {
    let (digits, bytes) = UNITS
        .iter()
        .find_map(|(name, bytes)| Some((text.strip_suffix(name)?, *bytes)))?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some((digits, bytes))
}

/// The text of an input, spelled out.
fn text(value: &Value) -> Option<String> {
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    let repeated = value["repeat"][0].as_str()?;
    let times = usize::try_from(value["repeat"][1].as_u64()?).ok()?;
    let then = value["then"].as_str().unwrap_or_default();
    Some(format!("{}{then}", repeated.repeat(times)))
}

/// The exact number of bytes, when 128 bits can count it.
fn bytes(digits: &str, unit: u64) -> Option<u128> {
    digits.parse::<u128>().ok()?.checked_mul(unit.into())
}

/// The product of a decimal number of any length and a small one, in decimal.
fn product(digits: &str, factor: u64) -> String {
    let mut carry: u128 = 0;
    let mut reversed = Vec::new();
    for digit in digits.bytes().rev() {
        carry += u128::from(digit - b'0') * u128::from(factor);
        reversed.push(char::from(
            b'0' + u8::try_from(carry % 10).unwrap_or_default(),
        ));
        carry /= 10;
    }
    let rest = if carry > 0 {
        carry.to_string()
    } else {
        String::new()
    };
    rest + &reversed.into_iter().rev().collect::<String>()
}

/// What Python makes of one whole number divided by a unit's bytes: the nearest
/// floating-point number, if there is one. Reading a decimal rounds in the same
/// way, and dividing by a power of 2 does not round.
fn divided(bytes: &str, unit: u64) -> Option<f64> {
    let number = match unit.is_power_of_two() {
        true => {
            bytes.parse::<f64>().ok()? / 2_f64.powi(i32::try_from(unit.ilog2()).unwrap_or_default())
        }
        false => format!("{bytes}e-{}", unit.ilog10()).parse::<f64>().ok()?,
    };
    number.is_finite().then_some(number)
}

/// Megabytes as the original reckons them, before it rounds them up.
fn original(digits: &str, unit: u64) -> f64 {
    divided(&product(digits, unit), 1_000_000).unwrap_or(f64::INFINITY)
}

fn number(decimal: &str) -> Value {
    match decimal.parse::<i64>() {
        Ok(number) => number.into(),
        Err(_) => json!({"bigint": decimal}),
    }
}

/// The amount of a case, when the rest of its settings is certainly right: what
/// else is wrong with settings is not for these rules.
fn memory(input: &Value) -> Option<String> {
    let settings = input["settings"].as_object()?;
    let is_right = |(name, value): (&String, &Value)| match name.as_str() {
        "cpu_count" | "autoscaling_target" => {
            value.is_null() || value.as_f64().is_some_and(|number| number > 0.0)
        }
        "gpu_count" => value.is_null() || value.is_u64(),
        "gpu_class" => value.is_null() || value.is_string(),
        "min_replicas" | "max_replicas" => value.is_null() || value.is_u64(),
        "max_concurrency" => value.is_null(),
        "reclaim_tolerance" => ["none", "coordinated", "any"]
            .iter()
            .any(|word| value == word),
        "autoscaling_metric" => value.is_null(),
        "resources" | "allocation_wait_timeout_seconds" | "initialization_lease_seconds" => false,
        // The amount itself, and what nobody looks at.
        _ => true,
    };
    let replicas = |name| settings.get(name).and_then(Value::as_u64);
    let replicas_fit = match (replicas("min_replicas"), replicas("max_replicas")) {
        // 0 as the most means without limit.
        (Some(least), Some(most)) => most == 0 || least <= most,
        _ => true,
    };
    text(settings.get("memory")?).filter(|_| replicas_fit && settings.iter().all(is_right))
}

fn rounding(input: &Value) -> Vec<Difference> {
    let Some(text) = memory(input).filter(|_| input["op"] == "resources") else {
        return Vec::new();
    };
    let Some((digits, unit)) = amount(&text) else {
        return Vec::new();
    };
    let Some(bytes) = bytes(digits, unit) else {
        return Vec::new();
    };
    let real = format!("{:.0}", original(digits, unit).ceil());
    let right = bytes.div_ceil(1_000_000).to_string();
    match real == right {
        true => Vec::new(),
        false => vec![Difference::at(
            "/ok/memory_mb",
            number(&real),
            number(&right),
        )],
    }
}

fn too_large(input: &Value) -> Vec<Difference> {
    let text = match input["op"].as_str() {
        Some("resources") => memory(input),
        Some("memory_in" | "quantity_and_unit") => text(&input["memory"]),
        _ => None,
    };
    let Some(text) = text else {
        return Vec::new();
    };
    let Some((digits, unit)) = amount(&text) else {
        return Vec::new();
    };
    if bytes(digits, unit).is_some() {
        return Vec::new();
    }
    let real = match input["op"].as_str() {
        _ if digits.len() > 4300 => too_many_digits(digits.len()),
        Some("quantity_and_unit") => {
            let quantity = digits.trim_start_matches('0');
            let name = text.get(digits.len()..).unwrap_or_default();
            json!({"ok": [number(quantity), name]})
        }
        Some("memory_in") => {
            let wanted = UNITS.iter().find(|(name, _)| input["unit"] == *name);
            let Some((_, wanted)) = wanted else {
                return Vec::new();
            };
            divided(&product(digits, unit), *wanted)
                .map_or_else(overflow, |number| json!({"ok": number}))
        }
        _ => divided(&product(digits, unit), 1_000_000).map_or_else(overflow, |megabytes| {
            json!({"ok": {
                "memory": text,
                "memory_mb": number(&format!("{:.0}", megabytes.ceil())),
                "cpu": input["settings"]["cpu_count"].as_f64(),
                "gpu_count": input["settings"]["gpu_count"],
                "empty": false,
            }})
        }),
    };
    let message = "this is more memory than can be asked for (the limit is 4294967295 MB)";
    let right = json!({"error": {
        "type": "ValidationError",
        "message": "1 validation error for ResourceSettings",
        "errors": [{"type": "memory_too_large", "loc": ["memory"], "msg": message}],
    }});
    Difference::whole(real, right)
}

fn too_many_digits(digits: usize) -> Value {
    let message = format!(
        "Exceeds the limit (4300 digits) for integer string conversion: value has {digits} digits; \
         use sys.set_int_max_str_digits() to increase the limit"
    );
    json!({"error": {"type": "ValueError", "message": message}})
}

fn overflow() -> Value {
    let message = "integer division result too large for a float";
    json!({"error": {"type": "OverflowError", "message": message}})
}
