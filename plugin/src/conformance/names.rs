//! Cases about names, metadata and commands.

use super::Input;
use serde_json::Value;

pub(super) fn run(_operation: &str, _input: &Input<'_>) -> Option<Value> {
    None
}
