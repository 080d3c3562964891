//! Settings of the step operator.

use super::document::Document;

/// What can be set per step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepOperatorSettings {
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
}

impl From<&Document> for StepOperatorSettings {
    /// From a document of the step operator's settings or configuration.
    fn from(document: &Document) -> Self {
        let text = |name| document.text(name).map(ToOwned::to_owned);
        Self {
            gpu: text("gpu"),
            region: text("region"),
            cloud: text("cloud"),
            modal_environment: text("modal_environment"),
            timeout: document.timeout(),
        }
    }
}
