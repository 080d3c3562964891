//! The three flavors as ZenML's integration registers them.

/// Technical name of all three.
pub const NAME: &str = "modal";
/// Name for people of all three.
pub const DISPLAY_NAME: &str = "Modal";
/// What the original integration installs beside itself.
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
    /// ZenML's name of its configuration class.
    config_class: &'static str,
}

/// All of them, in the order of registration.
pub const FLAVORS: [Flavor; 3] = [
    Flavor {
        kind: Kind::StepOperator,
        config_class: "ModalStepOperatorConfig",
    },
    Flavor {
        kind: Kind::Orchestrator,
        config_class: "ModalOrchestratorConfig",
    },
    Flavor {
        kind: Kind::Sandbox,
        config_class: "ModalSandboxConfig",
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
            self.config_class
        )
    }

    /// A picture for dashboards.
    pub fn logo_url(&self) -> String {
        format!(
            "https://public-flavor-logos.s3.eu-central-1.amazonaws.com/{}/modal.png",
            self.kind.zenml_type()
        )
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
