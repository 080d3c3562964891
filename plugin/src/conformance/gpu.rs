//! Cases about GPUs.

use super::Input;
use super::encode::{error, ok};
use serde_json::Value;

pub(super) fn run(operation: &str, input: &Input<'_>) -> Option<Value> {
    match operation {
        "normalize_optional" => Some(ok(crate::text::non_blank(input.text("value")))),
        _ => None,
    }
}
