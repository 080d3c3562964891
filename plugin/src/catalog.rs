//! The three flavors as ZenML's integration registers them.

use crate::config::Class;
use serde_json::{Map, Value, json};

/// Technical name of all three, and of the integration.
pub const NAME: &str = "modal";
/// Name for people of all three.
pub const DISPLAY_NAME: &str = "Modal";
/// What the original integration installs beside itself, and what it takes away
/// again when it is uninstalled.
pub const REQUIREMENTS: [&str; 1] = ["modal>=1.4,<2"];

/// The ZenML version whose documentation the URLs lead to.
const ZENML_VERSION: &str = "0.98.0";

/// What a flavor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Runs whole pipelines.
    Orchestrator,
    /// Runs single steps.
    StepOperator,
    /// Opens interactive sessions.
    Sandbox,
}

impl Kind {
    /// ZenML's name of the type.
    pub fn zenml_type(self) -> &'static str {
        match self {
            Self::Orchestrator => "orchestrator",
            Self::StepOperator => "step_operator",
            Self::Sandbox => "sandbox",
        }
    }

    /// ZenML's plural of it, as URLs have it.
    fn plural(self) -> &'static str {
        match self {
            Self::Orchestrator => "orchestrators",
            Self::StepOperator => "step-operators",
            Self::Sandbox => "sandboxes",
        }
    }
}

/// One of the flavors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flavor {
    /// What it is for.
    pub kind: Kind,
    /// ZenML's name of the component's class; the other classes are named after
    /// it.
    implementation: &'static str,
}

/// All of them, in the order of registration.
pub const FLAVORS: [Flavor; 3] = [
    Flavor {
        kind: Kind::StepOperator,
        implementation: "ModalStepOperator",
    },
    Flavor {
        kind: Kind::Orchestrator,
        implementation: "ModalOrchestrator",
    },
    Flavor {
        kind: Kind::Sandbox,
        implementation: "ModalSandbox",
    },
];

impl Flavor {
    /// Documentation for users.
    pub fn docs_url(&self) -> String {
        let component = self.kind.plural();
        format!("https://docs.zenml.io/stack-components/{component}/{NAME}")
    }

    /// Documentation of the configuration class.
    pub fn sdk_docs_url(&self) -> String {
        format!(
            "https://sdkdocs.zenml.io/{ZENML_VERSION}/integration_code_docs/integrations-{NAME}\
             #zenml.integrations.{NAME}.flavors.{}",
            self.config_class().name
        )
    }

    /// A picture for dashboards.
    pub fn logo_url(&self) -> String {
        format!(
            "https://public-flavor-logos.s3.eu-central-1.amazonaws.com/{}/modal.png",
            self.kind.zenml_type()
        )
    }

    /// ZenML's name of the flavor's own class.
    pub fn class(&self) -> String {
        format!("{}Flavor", self.implementation)
    }

    /// What is stored with a component of it.
    pub fn config_class(&self) -> &'static Class {
        Class::configuration(self.kind)
    }

    /// What can be set per pipeline and step.
    pub fn settings_class(&self) -> &'static Class {
        Class::settings(self.kind)
    }

    /// The document that registers the flavor with a ZenML server. `integration`
    /// is the integration that it comes from, none for one's own.
    pub fn registration(&self, integration: Option<&str>, is_custom: bool) -> Value {
        let kind = self.kind.zenml_type();
        json!({
            "name": NAME,
            "display_name": DISPLAY_NAME,
            "type": kind,
            "config_schema": self.config_class().schema(),
            "connector_type": null,
            "connector_resource_type": null,
            "connector_resource_id_attr": null,
            "source": format!(
                "zenml.integrations.{NAME}.flavors.modal_{kind}_flavor.{}",
                self.class()
            ),
            "integration": integration,
            "logo_url": self.logo_url(),
            "docs_url": self.docs_url(),
            "sdk_docs_url": self.sdk_docs_url(),
            "is_custom": is_custom,
        })
    }

    /// What ZenML asks a component about itself.
    pub fn facts(&self) -> Map<String, Value> {
        let mut facts = object(json!({
            "config_class": self.config_class().name,
            "implementation_class": self.implementation,
            "settings_class": self.settings_class().name,
            "requirements": REQUIREMENTS,
            "apt_packages": [],
            "local_path": null,
            "log_file": null,
            "post_registration_message": null,
            "has_validator": self.kind != Kind::Sandbox,
        }));
        if self.kind != Kind::Sandbox {
            facts.insert("supports_resource_pool_allocation".to_owned(), false.into());
        }
        if self.kind == Kind::Orchestrator {
            facts.append(&mut object(json!({
                "supported_execution_modes":
                    ["fail_fast", "stop_on_failure", "continue_on_failure"],
                "supports_dynamic_pipelines": true,
                "can_run_isolated_steps": true,
                "can_stop_isolated_steps": true,
                "run_init_cleanup_at_step_level": true,
            })));
        }
        facts
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::FLAVORS;

    #[test]
    fn urls_are_those_that_zenml_generates() {
        let [step_operator, orchestrator, sandbox] = &FLAVORS;
        assert_eq!(
            step_operator.docs_url(),
            "https://docs.zenml.io/stack-components/step-operators/modal"
        );
        assert_eq!(
            sandbox.sdk_docs_url(),
            "https://sdkdocs.zenml.io/0.98.0/integration_code_docs/integrations-modal\
             #zenml.integrations.modal.flavors.ModalSandboxConfig"
        );
        assert!(orchestrator.logo_url().ends_with("/orchestrator/modal.png"));
    }
}
