//! Settings of interactive sandboxes.

use super::document::Document;
use super::fields::{APP_NAME, IMAGE};
use crate::resources::memory::Measure;
use serde_json::Value;

/// What can be set per step, and the app that comes from the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSettings {
    /// GPU type, possibly with a count.
    pub gpu: Option<String>,
    /// Region, for plans that may choose.
    pub region: Option<String>,
    /// Cloud provider, for plans that may choose.
    pub cloud: Option<String>,
    /// Modal environment of the app.
    pub modal_environment: Option<String>,
    /// Seconds that the sandbox lives, 1 to
    /// [`LONGEST_TIMEOUT`](super::LONGEST_TIMEOUT).
    pub timeout: u32,
    /// Variables of the sandbox.
    pub environment: Vec<(String, String)>,
    /// Image to start from.
    pub image: String,
    /// CPU cores; not checked beyond being a whole number.
    pub cpu: Option<i64>,
    /// Memory with a unit; not checked.
    pub memory: Option<String>,
    /// In which unit memory goes to Modal.
    pub measure: Measure,
    /// Modal app; the default one for settings, which do not have it.
    pub app_name: String,
}

impl From<&Document> for SandboxSettings {
    /// From a document of the sandbox's settings or configuration.
    fn from(document: &Document) -> Self {
        let text = |name| document.text(name).map(ToOwned::to_owned);
        let environment = document.values().get("sandbox_environment");
        let pair =
            |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
        Self {
            gpu: text("gpu"),
            region: text("region"),
            cloud: text("cloud"),
            modal_environment: text("modal_environment"),
            timeout: document.timeout(),
            environment: environment
                .and_then(Value::as_object)
                .map(|entries| entries.iter().filter_map(pair).collect())
                .unwrap_or_default(),
            image: document.text_or_default(&IMAGE),
            cpu: document.values().get("cpu").and_then(Value::as_i64),
            memory: text("memory"),
            measure: document.measure().unwrap_or_default(),
            app_name: document.text_or_default(&APP_NAME),
        }
    }
}
