//! Export `catalog`.

use super::Plugin;
use super::bindings::exports::zenml::flavor::catalog::{Flavor, Guest};
use super::bindings::zenml::flavor::types::{Error, FlavorKind};
use crate::catalog::{self, FLAVORS};

impl Guest for Plugin {
    async fn flavors() -> Result<Vec<Flavor>, Error> {
        let flavor = |flavor: &catalog::Flavor| Flavor {
            kind: match flavor.kind {
                catalog::Kind::Orchestrator => FlavorKind::Orchestrator,
                catalog::Kind::StepOperator => FlavorKind::StepOperator,
                catalog::Kind::Sandbox => FlavorKind::Sandbox,
            },
            name: catalog::NAME.to_owned(),
            display_name: catalog::DISPLAY_NAME.to_owned(),
            docs_url: flavor.docs_url(),
            sdk_docs_url: flavor.sdk_docs_url(),
            logo_url: flavor.logo_url(),
            config_schema: "{}".to_owned(),
            connector: None,
        };
        Ok(FLAVORS.iter().map(flavor).collect())
    }

    async fn requirements() -> Vec<String> {
        catalog::REQUIREMENTS
            .iter()
            .map(ToString::to_string)
            .collect()
    }
}
