//! Cases about GPUs.

use super::Input;
use super::encode::{decoded, error, invalid, object, observed, ok};
use crate::config::reference::KeptByHost;
use crate::config::{Class, class};
use crate::resources::gpu::{self, Choice, Wording, choose_of};
use crate::resources::settings::{self, ResourceSettings};
use serde_json::{Map, Value};

pub(super) fn run(operation: &str, input: &Input<'_>) -> Option<Value> {
    match operation {
        "gpu_argument" => argument(input),
        "gpu_argument_custom" => {
            let wording = Wording {
                field: input.text("field")?,
                example: input.text("example")?,
            };
            Some(argument_with(input, &class::SETTINGS_PART, wording))
        }
        "gpu_texts" => Some(ok(object([
            ("orchestrator", texts(gpu::ORCHESTRATOR)),
            ("default", texts(gpu::STEP_OPERATOR)),
        ]))),
        "normalize_optional" => Some(ok(crate::text::non_blank(input.text("value")))),
        _ => None,
    }
}

fn argument(input: &Input<'_>) -> Option<Value> {
    let (class, wording) = match input.text("component")? {
        "orchestrator" => (&class::ORCHESTRATOR_SETTINGS, gpu::ORCHESTRATOR),
        "step_operator" => (&class::STEP_OPERATOR_SETTINGS, gpu::STEP_OPERATOR),
        "sandbox" => (&class::SANDBOX_SETTINGS, gpu::STEP_OPERATOR),
        _ => return None,
    };
    Some(argument_with(input, class, wording))
}

fn argument_with(input: &Input<'_>, class: &'static Class, wording: Wording<'_>) -> Value {
    let field = |name: &str, key: &str| {
        let value = input
            .given(name)
            .map(|value| (key.to_owned(), decoded(value)));
        value.into_iter().collect::<Map<_, _>>()
    };
    let document = match class.read(field("gpu", "gpu"), &KeptByHost).result {
        Ok(document) => document,
        Err(error) => return invalid(class.name, &error.into_faults()),
    };
    let resources = match ResourceSettings::read(field("gpu_count", "gpu_count")) {
        Ok(resources) => resources,
        Err(faults) => return invalid(settings::CLASS, &faults),
    };
    match choose_of(document.text("gpu"), resources.gpu_count.as_ref(), wording) {
        Err(fault) => error("StackComponentInterfaceError", fault),
        Ok(choice) => {
            let argument = match &choice {
                Choice::Gpu(gpu) => Some(gpu.argument()),
                Choice::Cpu | Choice::CpuDespite { .. } => None,
            };
            observed(
                ok(argument),
                "warnings",
                choice.warning().into_iter().collect(),
            )
        }
    }
}

fn texts(wording: Wording<'_>) -> Value {
    object([
        ("field", wording.field.into()),
        ("example", wording.example.into()),
    ])
}
