//! Cases about memory and the other resources.

use super::Input;
use super::encode::{decoded, error, fields, integer, invalid, number, object, ok};
use crate::resources::memory::{UNITS, Unit};
use crate::resources::settings::{self, ResourceSettings};
use serde_json::{Map, Value};

pub(super) fn run(operation: &str, input: &Input<'_>) -> Option<Value> {
    match operation {
        "resources" => Some(
            match ResourceSettings::read(fields(input.field("settings"))) {
                Ok(settings) => ok(described(&settings)),
                Err(faults) => invalid(settings::CLASS, &faults),
            },
        ),
        "byte_units" => {
            let bytes = |unit: &Unit| (unit.name().to_owned(), unit.bytes().into());
            Some(ok(Value::Object(UNITS.iter().map(bytes).collect())))
        }
        "memory_in" => Some(with_memory(input, |settings| {
            let Some((_, memory)) = &settings.memory else {
                return ok(Value::Null);
            };
            match Unit::named(input.text("unit").unwrap_or_default()) {
                Ok(unit) => ok(number(memory.in_unit(unit))),
                Err(unknown) => error("ValueError", unknown),
            }
        })),
        "quantity_and_unit" => Some(with_memory(input, |settings| match &settings.memory {
            None => ok(Value::Null),
            Some((_, memory)) => {
                let unit = memory.unit().name();
                ok(Value::from(vec![
                    integer(&memory.quantity().to_string()),
                    unit.into(),
                ]))
            }
        })),
        _ => None,
    }
}

fn with_memory(input: &Input<'_>, answer: impl FnOnce(&ResourceSettings) -> Value) -> Value {
    let document: Map<String, Value> = [("memory".to_owned(), decoded(input.field("memory")))]
        .into_iter()
        .collect();
    match ResourceSettings::read(document) {
        Ok(settings) => answer(&settings),
        Err(faults) => invalid(settings::CLASS, &faults),
    }
}

fn described(settings: &ResourceSettings) -> Value {
    let memory = settings.memory.as_ref();
    let megabytes = memory.map(|(_, memory)| integer(&memory.megabytes().to_string()));
    let gpu_count = settings.gpu_count.as_ref();
    object([
        ("memory", memory.map(|(text, _)| text.as_str()).into()),
        ("memory_mb", megabytes.unwrap_or_default()),
        ("cpu", settings.cpu_count.map(number).unwrap_or_default()),
        (
            "gpu_count",
            gpu_count
                .map(|count| integer(&count.to_string()))
                .unwrap_or_default(),
        ),
        ("empty", settings.is_empty.into()),
    ])
}
