//! Resource settings as ZenML has them: one document for CPU, GPU and memory,
//! and for what other services read from it.

use super::memory::{Memory, MemoryError};
use crate::config::FieldFault;
use crate::config::lax::{self, Integer, Mismatch};
use serde_json::{Map, Value};

/// What a step asks of the machine it runs on.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceSettings {
    /// Cores; above 0, possibly without limit.
    pub cpu_count: Option<f64>,
    /// GPUs; 0 or more.
    pub gpu_count: Option<Integer>,
    /// Memory, as it was written and understood.
    pub memory: Option<(String, Memory)>,
    /// Whether nothing was set that an orchestrator reads.
    pub is_empty: bool,
    /// The whole document, converted.
    document: Map<String, Value>,
}

/// ZenML's name of the class, which stands in errors.
pub const CLASS: &str = "ResourceSettings";

/// Fields that only pools of resources read. They leave settings empty.
const OF_POOLS: [&str; 5] = [
    "resources",
    "reclaim_tolerance",
    "gpu_class",
    "allocation_wait_timeout_seconds",
    "initialization_lease_seconds",
];

/// What can be set, in the order in which faults are told.
const RULES: [(&str, Rule); 13] = [
    ("cpu_count", Rule::PositiveNumber),
    ("gpu_count", Rule::Integer { least: 0 }),
    ("gpu_class", Rule::Text),
    ("memory", Rule::Memory),
    ("reclaim_tolerance", Rule::OneOf(RECLAIM)),
    ("allocation_wait_timeout_seconds", Rule::Seconds),
    ("initialization_lease_seconds", Rule::Seconds),
    ("min_replicas", Rule::Integer { least: 0 }),
    ("max_replicas", Rule::Integer { least: 0 }),
    ("autoscaling_metric", Rule::OneOf(METRIC)),
    ("autoscaling_target", Rule::PositiveNumber),
    ("max_concurrency", Rule::Integer { least: 1 }),
    // Any of several shapes; nothing here reads it.
    ("resources", Rule::Anything),
];

/// What a field takes besides `null`.
#[derive(Debug, Clone, Copy)]
enum Rule {
    Anything,
    Text,
    Memory,
    PositiveNumber,
    Integer {
        least: i64,
    },
    /// A whole number above 0, and no `null`.
    Seconds,
    OneOf(Choice),
}

/// A few words of which one is taken.
#[derive(Debug, Clone, Copy)]
struct Choice {
    words: &'static [&'static str],
    mismatch: Mismatch,
    takes_null: bool,
}

const RECLAIM: Choice = Choice {
    words: &["none", "coordinated", "any"],
    mismatch: Mismatch {
        kind: "enum",
        message: "Input should be 'none', 'coordinated' or 'any'",
    },
    takes_null: false,
};
const METRIC: Choice = Choice {
    words: &["cpu", "memory", "concurrency", "rps"],
    mismatch: Mismatch {
        kind: "literal_error",
        message: "Input should be 'cpu', 'memory', 'concurrency' or 'rps'",
    },
    takes_null: true,
};
const NOT_POSITIVE: Mismatch = Mismatch {
    kind: "greater_than",
    message: "Input should be greater than 0",
};
const NEGATIVE: Mismatch = Mismatch {
    kind: "greater_than_equal",
    message: "Input should be greater than or equal to 0",
};

impl ResourceSettings {
    /// Reads a document. Unknown keys are allowed and left out.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn read(mut document: Map<String, Value>) -> Result<Self, Vec<FieldFault>> {
        take_old_names(&mut document);
        document.retain(|name, _| RULES.iter().any(|(known, _)| known == name));
        let mut faults = Vec::new();
        for (name, rule) in RULES {
            let Some(value) = document.get_mut(name) else {
                continue;
            };
            match rule.convert(value) {
                Ok(converted) => *value = converted,
                Err((kind, message)) => faults.push(FieldFault::new([name], kind, message)),
            }
        }
        if faults.is_empty() {
            faults.extend(replicas(&document));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let integer = |name| {
            document
                .get(name)
                .and_then(|value| lax::integer(value).ok())
        };
        let memory = match document.get("memory").and_then(Value::as_str) {
            None => None,
            Some(text) => {
                let memory = Memory::parse(text);
                let fault = |error: MemoryError| FieldFault::new(["memory"], error.kind(), error);
                Some((text.to_owned(), memory.map_err(|error| vec![fault(error)])?))
            }
        };
        let counts = |(name, value): (&String, &Value)| {
            !value.is_null() && !OF_POOLS.contains(&name.as_str())
        };
        Ok(Self {
            cpu_count: document
                .get("cpu_count")
                .and_then(|value| lax::float(value).ok()),
            gpu_count: integer("gpu_count"),
            memory,
            is_empty: !document.iter().any(counts),
            document,
        })
    }

    /// The whole document with its values converted.
    pub fn document(&self) -> &Map<String, Value> {
        &self.document
    }
}

impl Rule {
    fn convert(self, value: &Value) -> Result<Value, (&'static str, String)> {
        let mismatch = |mismatch: Mismatch| (mismatch.kind, mismatch.message.to_owned());
        let takes_null = match self {
            Self::Seconds => false,
            Self::OneOf(choice) => choice.takes_null,
            _ => true,
        };
        if value.is_null() && takes_null {
            return Ok(Value::Null);
        }
        match self {
            Self::Anything => Ok(value.clone()),
            Self::Text => lax::text(value).map(Value::from).map_err(mismatch),
            Self::Memory => memory(value),
            Self::PositiveNumber => positive(value).map_err(mismatch),
            Self::Integer { least } => at_least(value, least).map_err(mismatch),
            Self::Seconds => at_least(value, 1).map_err(mismatch),
            Self::OneOf(choice) => match value.as_str() {
                Some(word) if choice.words.contains(&word) => Ok(word.into()),
                _ => Err(mismatch(choice.mismatch)),
            },
        }
    }
}

/// Whether a text is an amount of memory; how much is looked at when all else is
/// right.
fn memory(value: &Value) -> Result<Value, (&'static str, String)> {
    let text = lax::text(value).map_err(|mismatch| (mismatch.kind, mismatch.message.to_owned()))?;
    match Memory::parse(text) {
        Err(error @ MemoryError::Pattern) => Err((error.kind(), error.to_string())),
        Ok(_) | Err(MemoryError::TooMuch) => Ok(text.into()),
    }
}

/// Older names of fields: their values move to the new ones, unless these are
/// set.
fn take_old_names(document: &mut Map<String, Value>) {
    let is_unset =
        |document: &Map<String, Value>, name| document.get(name).is_none_or(Value::is_null);
    let preemptible = document.shift_remove("preemptible");
    if let Some(Value::Bool(preemptible)) = preemptible
        && is_unset(document, "reclaim_tolerance")
    {
        let tolerance = if preemptible { "coordinated" } else { "none" };
        document.insert("reclaim_tolerance".to_owned(), tolerance.into());
    }
    let pools = document.shift_remove("pool_resources");
    if let Some(pools) = pools.filter(|pools| !pools.is_null())
        && is_unset(document, "resources")
    {
        document.insert("resources".to_owned(), pools);
    }
}

fn positive(value: &Value) -> Result<Value, Mismatch> {
    let number = lax::float(value)?;
    if number.is_nan() || number <= 0.0 {
        return Err(NOT_POSITIVE);
    }
    // JSON has no infinite numbers: those stay the text that spelled them.
    Ok(serde_json::Number::from_f64(number).map_or_else(|| value.clone(), Value::Number))
}

fn at_least(value: &Value, least: i64) -> Result<Value, Mismatch> {
    let number = lax::integer(value)?;
    if number.compare(least).is_lt() {
        return Err(if least > 0 { NOT_POSITIVE } else { NEGATIVE });
    }
    Ok(match number {
        Integer::Small(value) => value.into(),
        Integer::Large { .. } => number.to_string().into(),
    })
}

/// The rule about two fields together. 0 as the most means without limit.
fn replicas(document: &Map<String, Value>) -> Option<FieldFault> {
    let number = |name| lax::integer(document.get(name)?).ok();
    let (least, most) = (number("min_replicas")?, number("max_replicas")?);
    let is_above = match (&least, &most) {
        (_, Integer::Small(0)) => false,
        (least, Integer::Small(most)) => least.compare(*most).is_gt(),
        (Integer::Small(_), Integer::Large { .. }) => false,
        (Integer::Large { digits: least, .. }, Integer::Large { digits: most, .. }) => {
            (least.len(), least) > (most.len(), most)
        }
    };
    is_above.then(|| {
        let message = format!(
            "Value error, min_replicas ({least}) cannot be greater than max_replicas ({most})"
        );
        FieldFault::new([], "value_error", message)
    })
}

impl MemoryError {
    /// The stable word for it.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Pattern => "string_pattern_mismatch",
            Self::TooMuch => "memory_too_large",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ResourceSettings;
    use serde_json::{Value, json};

    fn read(document: Value) -> Result<ResourceSettings, Vec<String>> {
        let Value::Object(document) = document else {
            panic!("no object");
        };
        ResourceSettings::read(document)
            .map_err(|faults| faults.into_iter().map(|fault| fault.kind).collect())
    }

    #[test]
    fn faults_come_in_the_order_of_the_class() {
        let document =
            json!({"memory": "x", "gpu_count": -1, "cpu_count": 0, "max_concurrency": 0});
        let expected = [
            "greater_than",
            "greater_than_equal",
            "string_pattern_mismatch",
            "greater_than",
        ];
        assert_eq!(read(document).unwrap_err(), expected);
    }

    #[test]
    fn what_pools_read_leaves_settings_empty() {
        let pools = json!({
            "gpu_class": "h100", "pool_resources": {"tpu": 2}, "preemptible": true, "other": 1,
        });
        let settings = read(pools).unwrap();
        assert!(settings.is_empty);
        let expected = json!({
            "gpu_class": "h100", "reclaim_tolerance": "coordinated", "resources": {"tpu": 2},
        });
        assert_eq!(Value::Object(settings.document().clone()), expected);
        assert_eq!(
            read(json!({"reclaim_tolerance": null})).unwrap_err(),
            ["enum"]
        );
        assert!(!read(json!({"cpu_count": "2"})).unwrap().is_empty);
    }

    #[test]
    fn too_much_memory_is_told_when_all_else_is_right() {
        let memory = format!("{}MB", "9".repeat(99));
        let document = json!({"memory": memory, "cpu_count": 0});
        assert_eq!(read(document).unwrap_err(), ["greater_than"]);
        assert_eq!(
            read(json!({"memory": memory})).unwrap_err(),
            ["memory_too_large"]
        );
    }

    #[test]
    fn the_least_must_not_be_above_the_most() {
        let document = |most: u32| json!({"min_replicas": 3, "max_replicas": most});
        assert_eq!(read(document(2)).unwrap_err(), ["value_error"]);
        assert!(read(document(0)).is_ok());
    }
}
