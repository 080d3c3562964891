//! Cases about stacks.

use super::Input;
use super::encode::{error, ok};
use crate::registry;
use crate::validator::{
    Checked, StackComponent, StackFault, validate_execution_mode, validate_stack,
};
use serde_json::Value;

pub(super) fn run(operation: &str, input: &Input<'_>) -> Option<Value> {
    match operation {
        "validate" => validate(input),
        "execution_mode" => {
            let dynamic = input.field("dynamic") == true;
            Some(
                match validate_execution_mode(input.text("mode")?, dynamic) {
                    Ok(()) => ok(Value::Null),
                    Err(unknown) => error("ValueError", unknown),
                },
            )
        }
        "image_in_registry" => Some(ok(registry::holds(
            input.text("uri")?,
            input.text("image")?,
        ))),
        _ => None,
    }
}

fn validate(input: &Input<'_>) -> Option<Value> {
    let checked = match input.text("component")? {
        "orchestrator" => Checked::Orchestrator,
        "step_operator" => Checked::StepOperator,
        _ => return None,
    };
    let stack = input.text("stack").unwrap_or("my-stack");
    Some(match validate_stack(checked, &components(input)?) {
        Ok(()) => ok("valid"),
        Err(fault) => error("StackValidationError", framed(&fault, stack)),
    })
}

/// Says for which stack a fault was found, in ZenML's words.
fn framed(fault: &StackFault, stack: &str) -> String {
    match fault {
        StackFault::Missing(kinds) => {
            let kinds: Vec<String> = kinds
                .iter()
                .map(|kind| format!("<StackComponentType.{}: '{kind}'>", kind.to_uppercase()))
                .collect();
            let kinds = kinds.join(", ");
            format!("Missing stack components {{{kinds}}} for stack: {stack}")
        }
        fault => {
            format!("Custom validation function failed to validate stack '{stack}': {fault}")
        }
    }
}

/// The components in the order in which a stack holds them.
fn components(input: &Input<'_>) -> Option<Vec<StackComponent>> {
    let plain = |kind: &str, name: &str| StackComponent {
        name: name.to_owned(),
        kind: kind.to_owned(),
        is_local: false,
        local_path: None,
        uri: None,
    };
    let mut components = vec![StackComponent {
        local_path: input.text("orchestrator_path").map(ToOwned::to_owned),
        ..plain("orchestrator", "runner")
    }];
    components.push(component("artifact_store", input.field("artifact_store"))?);
    if let Some(registry) = input.given("registry").filter(|given| given.is_object()) {
        components.push(component("container_registry", registry)?);
    }
    if input.field("image_builder") != false {
        components.push(plain("image_builder", "builder"));
    }
    for other in input.field("others").as_array().into_iter().flatten() {
        components.push(component(other.get("type")?.as_str()?, other)?);
    }
    Some(components)
}

fn component(kind: &str, component: &Value) -> Option<StackComponent> {
    let path = component.get("local_path").and_then(Value::as_str);
    Some(StackComponent::configured(
        component.get("name")?.as_str()?.to_owned(),
        kind.to_owned(),
        component.get("is_local").and_then(Value::as_bool) == Some(true),
        path.map(ToOwned::to_owned),
        component,
    ))
}
