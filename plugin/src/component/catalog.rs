//! Export `catalog`.

use super::Plugin;
use super::bindings::exports::zenml::flavor::catalog::{Flavor, Guest, IntegrationFacts};
use super::bindings::zenml::flavor::types::{Error, FlavorKind};
use crate::catalog::{self, FLAVORS, Kind};

impl Guest for Plugin {
    async fn flavors() -> Result<Vec<Flavor>, Error> {
        let flavor = |flavor: &catalog::Flavor| Flavor {
            kind: flavor.kind.into(),
            name: catalog::NAME.to_owned(),
            display_name: catalog::DISPLAY_NAME.to_owned(),
            docs_url: flavor.docs_url(),
            sdk_docs_url: flavor.sdk_docs_url(),
            logo_url: flavor.logo_url(),
            config_schema: flavor.config_class().schema().to_string(),
            settings_schema: flavor.settings_class().schema().to_string(),
            facts: serde_json::Value::Object(flavor.facts()).to_string(),
            connector: None,
        };
        Ok(FLAVORS.iter().map(flavor).collect())
    }

    async fn integration() -> IntegrationFacts {
        let requirements = || catalog::REQUIREMENTS.map(ToOwned::to_owned).to_vec();
        IntegrationFacts {
            name: catalog::NAME.to_owned(),
            requirements: requirements(),
            uninstall_requirements: requirements(),
            system_packages: Vec::new(),
            flavor_classes: FLAVORS.iter().map(catalog::Flavor::class).collect(),
        }
    }

    async fn registration(
        kind: FlavorKind,
        integration: Option<String>,
        is_custom: bool,
    ) -> Result<String, Error> {
        let kind = Kind::from(kind);
        let flavor = FLAVORS.iter().find(|flavor| flavor.kind == kind);
        let document = flavor.map(|flavor| flavor.registration(integration.as_deref(), is_custom));
        document
            .map(|document| document.to_string())
            .ok_or_else(|| Error::NotFound("no flavor of this kind".to_owned()))
    }
}

impl From<FlavorKind> for Kind {
    fn from(kind: FlavorKind) -> Self {
        match kind {
            FlavorKind::Orchestrator => Self::Orchestrator,
            FlavorKind::StepOperator => Self::StepOperator,
            FlavorKind::Sandbox => Self::Sandbox,
        }
    }
}

impl From<Kind> for FlavorKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Orchestrator => Self::Orchestrator,
            Kind::StepOperator => Self::StepOperator,
            Kind::Sandbox => Self::Sandbox,
        }
    }
}
