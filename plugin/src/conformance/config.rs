//! Cases about configurations and settings.

use super::Input;
use serde_json::Value;

pub(super) fn run(_operation: &str, _input: &Input<'_>) -> Option<Value> {
    None
}
