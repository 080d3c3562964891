//! Rules about what is submitted.

use super::{Difference, Rule};
use serde_json::{Value, json};

pub(super) const RULES: &[Rule] = &[Rule {
    id: "pipeline-without-steps",
    areas: &["submission"],
    inputs: "a pipeline without steps for which no image was built",
    real: "an error without words, StopIteration",
    here: "says which image is missing",
    why: "nobody can tell what to do about an error without words",
    differences: without_steps,
}];

fn is_controller(input: &Value) -> bool {
    matches!(
        input["op"].as_str(),
        Some("submit_static" | "submit_dynamic")
    )
}

fn without_steps(input: &Value) -> Vec<Difference> {
    let (true, Some(images), Some([])) = (
        is_controller(input),
        input["images"].as_object(),
        input["steps"].as_array().map(Vec::as_slice),
    ) else {
        return Vec::new();
    };
    let ends_before = input["schedule"] == true
        || images.contains_key("orchestrator")
        || (input["run_id"].is_string() && input["client_fail"]["update_run"].is_object());
    if ends_before {
        return Vec::new();
    }
    let mut keys: Vec<String> = images.keys().map(|key| format!("'{key}'")).collect();
    keys.sort();
    let available = match keys.is_empty() {
        true => "set()".to_owned(),
        false => format!("{{{}}}", keys.join(", ")),
    };
    let message =
        format!("Unable to find image for key orchestrator. Available keys: {available}.");
    vec![Difference::at(
        "/error",
        json!({"type": "StopIteration", "message": ""}),
        json!({"type": "KeyError", "message": message}),
    )]
}
