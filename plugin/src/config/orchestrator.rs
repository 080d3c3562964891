//! Settings of the orchestrator.

use super::class::ORCHESTRATOR_SETTINGS;
use super::document::Document;
use super::fault::FieldFault;
use super::reference::KeptByHost;
use crate::resources::memory::Measure;
use serde_json::Value;

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
    /// Seconds after which Modal ends a sandbox, 1 to
    /// [`LONGEST_TIMEOUT`](super::LONGEST_TIMEOUT).
    pub timeout: u32,
    /// Whether a submission waits for the end of the run.
    pub synchronous: bool,
    /// In which unit memory goes to Modal.
    pub measure: Measure,
}

impl OrchestratorSettings {
    /// Reads a settings document. Unknown keys are allowed, as in ZenML.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn parse(document: &str) -> Result<Self, Vec<FieldFault>> {
        let document = ORCHESTRATOR_SETTINGS.parse(document, &KeptByHost)?;
        document.measure().map_err(|fault| vec![fault])?;
        Ok(Self::from(&document))
    }
}

impl From<&Document> for OrchestratorSettings {
    /// From a document of the orchestrator's settings or configuration.
    fn from(document: &Document) -> Self {
        let text = |name| document.text(name).map(ToOwned::to_owned);
        Self {
            gpu: text("gpu"),
            region: text("region"),
            cloud: text("cloud"),
            modal_environment: text("modal_environment"),
            timeout: document.timeout(),
            synchronous: document.values().get("synchronous") == Some(&Value::Bool(true)),
            measure: document.measure().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Measure, OrchestratorSettings};

    #[test]
    fn the_exact_measure_can_be_asked_for() {
        let parse = |document: &str| OrchestratorSettings::parse(document);
        let exact = parse(r#"{"exact_memory": true}"#).unwrap();
        assert_eq!(exact.measure, Measure::Exact);
        assert_eq!(parse("{}").unwrap().measure, Measure::AsZenml);
        let fault = &parse(r#"{"exact_memory": "perhaps"}"#).unwrap_err()[0];
        assert_eq!(fault.path, ["exact_memory"]);
    }

    #[test]
    fn defaults_are_zenmls() {
        let settings = OrchestratorSettings::parse("{}").unwrap();
        assert_eq!((settings.timeout, settings.synchronous), (86_400, true));
    }
}
