//! Settings of the orchestrator.

use super::fault::FieldFault;
use super::lax::{self, Mismatch};
use serde_json::{Map, Value};

/// Longest life of a sandbox at Modal, in seconds.
pub const LONGEST_TIMEOUT: u32 = 86_400;

/// What can be set per pipeline and per step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrchestratorSettings {
    /// GPU type, possibly with a count.
    pub gpu: Option<String>,
    /// Region, for plans that may choose.
    pub region: Option<String>,
    /// Cloud provider, for plans that may choose.
    pub cloud: Option<String>,
    /// Modal environment of the app.
    pub modal_environment: Option<String>,
    /// Seconds after which Modal ends a sandbox, 1 to [`LONGEST_TIMEOUT`].
    pub timeout: u32,
    /// Whether a submission waits for the end of the run.
    pub synchronous: bool,
}

impl OrchestratorSettings {
    /// Reads a settings document. Unknown keys are allowed, as in ZenML.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn parse(document: &str) -> Result<Self, Vec<FieldFault>> {
        let value: Value = serde_json::from_str(document)
            .map_err(|error| vec![FieldFault::new([], "json_invalid", error)])?;
        let Value::Object(fields) = value else {
            return Err(vec![FieldFault::new(
                [],
                "model_type",
                "Input should be a valid dictionary",
            )]);
        };
        let mut faults = Vec::new();
        let settings = Self {
            gpu: optional_text(&fields, "gpu", &mut faults),
            region: optional_text(&fields, "region", &mut faults),
            cloud: optional_text(&fields, "cloud", &mut faults),
            modal_environment: optional_text(&fields, "modal_environment", &mut faults),
            timeout: match fields.get("timeout") {
                None => LONGEST_TIMEOUT,
                Some(value) => keep(timeout(value), "timeout", &mut faults).unwrap_or_default(),
            },
            synchronous: match fields.get("synchronous") {
                None => true,
                Some(value) => {
                    keep(lax::boolean(value), "synchronous", &mut faults).unwrap_or_default()
                }
            },
        };
        match faults.is_empty() {
            true => Ok(settings),
            false => Err(faults),
        }
    }
}

fn timeout(value: &Value) -> Result<u32, Mismatch> {
    let seconds = lax::integer(value)?;
    if seconds < 1 {
        return Err(Mismatch {
            kind: "greater_than_equal",
            message: "Input should be greater than or equal to 1",
        });
    }
    u32::try_from(seconds)
        .ok()
        .filter(|seconds| *seconds <= LONGEST_TIMEOUT)
        .ok_or(Mismatch {
            kind: "less_than_equal",
            message: "Input should be less than or equal to 86400",
        })
}

fn optional_text(
    fields: &Map<String, Value>,
    key: &str,
    faults: &mut Vec<FieldFault>,
) -> Option<String> {
    match fields.get(key) {
        None | Some(Value::Null) => None,
        Some(value) => keep(lax::text(value), key, faults).map(ToOwned::to_owned),
    }
}

/// The value, or its fault on the list.
fn keep<T>(result: Result<T, Mismatch>, key: &str, faults: &mut Vec<FieldFault>) -> Option<T> {
    result
        .map_err(|mismatch| faults.push(FieldFault::new([key], mismatch.kind, mismatch.message)))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::OrchestratorSettings;

    #[test]
    fn defaults_are_zenmls() {
        let settings = OrchestratorSettings::parse("{}").unwrap();
        assert_eq!((settings.timeout, settings.synchronous), (86_400, true));
    }

    #[test]
    fn all_faults_come_at_once() {
        let faults = OrchestratorSettings::parse(r#"{"gpu": 1, "timeout": 0, "synchronous": 7}"#)
            .unwrap_err();
        let kinds: Vec<_> = faults.iter().map(|fault| fault.kind.as_str()).collect();
        assert_eq!(kinds, ["string_type", "greater_than_equal", "bool_parsing"]);
    }

    #[test]
    fn only_objects_are_settings() {
        assert_eq!(
            OrchestratorSettings::parse("[]").unwrap_err()[0].kind,
            "model_type"
        );
        assert_eq!(
            OrchestratorSettings::parse("{").unwrap_err()[0].kind,
            "json_invalid"
        );
    }
}
