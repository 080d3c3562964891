//! The settings that apply to a pipeline or step: what is stored with the
//! component below, what the run says on top.

use super::class::Class;
use super::document::{Document, DocumentError};
use super::reference::Secrets;
use crate::catalog::{Kind, NAME};
use serde_json::{Map, Value};

/// The settings of a run for one component.
///
/// `run_settings` has entries for many components. The one with this
/// component's own name counts; only without it the one for its flavor. A
/// `null` there overrides what is stored.
///
/// # Errors
///
/// When the result is not acceptable.
pub fn effective(
    kind: Kind,
    component: &str,
    config: &Document,
    run_settings: &Map<String, Value>,
    secrets: &dyn Secrets,
) -> Result<Document, DocumentError> {
    let kind_name = kind.zenml_type();
    let of_run = run_settings
        .get(&format!("{kind_name}:{component}"))
        .or_else(|| run_settings.get(&format!("{kind_name}.{NAME}")));
    let mut values = config.given_values();
    if let Some(Value::Object(of_run)) = of_run {
        for (key, value) in of_run {
            values.insert(key.clone(), value.clone());
        }
    }
    Class::settings(kind).read(values, secrets).result
}

/// Settings with those of one call on top: what is given there counts, also when
/// it is `null`.
///
/// # Errors
///
/// When the result is not acceptable.
pub fn overridden(
    kind: Kind,
    settings: &Document,
    by: &Document,
    secrets: &dyn Secrets,
) -> Result<Document, DocumentError> {
    let mut values = settings.given_values();
    values.extend(by.given_values());
    Class::settings(kind).read(values, secrets).result
}
