//! Export `config`.

use super::bindings::exports::zenml::flavor::config::{Checked, DocumentKind, Guest};
use super::bindings::zenml::flavor::types::{Error, FlavorKind};
use super::{Plugin, invalid};
use crate::config::Class;
use crate::config::document::object;
use crate::config::reference::KeptByHost;
use crate::resources::settings::ResourceSettings;
use serde_json::Value;

impl Guest for Plugin {
    async fn validate(
        flavor: FlavorKind,
        kind: DocumentKind,
        document: String,
    ) -> Result<Checked, Error> {
        let values = object(&document).map_err(invalid)?;
        let class = match kind {
            DocumentKind::Configuration => Class::configuration(flavor.into()),
            DocumentKind::Settings => Class::settings(flavor.into()),
            DocumentKind::Resources => {
                let settings = ResourceSettings::read(values).map_err(invalid)?;
                return Ok(Checked {
                    document: Value::Object(settings.document().clone()).to_string(),
                    warnings: Vec::new(),
                    properties: Vec::new(),
                });
            }
        };
        let checked = class.read(values, &KeptByHost);
        let document = checked
            .result
            .map_err(|error| invalid(error.into_faults()))?;
        document.measure().map_err(|fault| invalid(vec![fault]))?;
        let properties = document.properties().into_iter();
        Ok(Checked {
            properties: properties
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            document: Value::Object(document.into_values()).to_string(),
            warnings: checked.warnings,
        })
    }
}
