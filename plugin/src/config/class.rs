//! What ZenML's classes for configurations and settings are made of. One table
//! per class serves reading, writing and the JSON Schema.

use super::fields::{
    APP_NAME, CLOUD, CPU, ENVIRONMENT, GPU, IMAGE, MEMORY, MODAL_ENVIRONMENT, REGION,
    SANDBOX_TIMEOUT, SYNCHRONOUS, TIMEOUT, TOKEN_ID, TOKEN_SECRET,
};
use crate::catalog::Kind;
use serde_json::{Map, Value, json};

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// What it holds.
    pub holds: Holds,
    /// Whether it holds a secret, which should be a reference.
    pub sensitive: bool,
    /// For people.
    pub description: &'static str,
}

/// What a field holds, and what it holds when it is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// A text or `null`, which is the default.
    OptionalText,
    /// A text.
    Text {
        /// When absent.
        default: &'static str,
    },
    /// A whole number or `null`, which is the default.
    OptionalInteger,
    /// A whole number within bounds, both included.
    Bounded {
        /// When absent.
        default: u32,
        /// The smallest.
        least: u32,
        /// The largest.
        most: u32,
    },
    /// A truth value.
    Boolean {
        /// When absent.
        default: bool,
    },
    /// Texts by name; none when absent.
    TextMap,
}

/// One of ZenML's classes.
#[derive(Debug, PartialEq, Eq)]
pub struct Class {
    /// ZenML's name of it, which stands in errors.
    pub name: &'static str,
    /// For people.
    pub description: &'static str,
    /// Its fields, in ZenML's order.
    pub fields: &'static [Field],
    /// What it is stored with, or whether it is only given with a run.
    pub role: Role,
}

/// What a document of a class is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Stored with a stack component of this kind.
    Configuration(Kind),
    /// Given per pipeline or step.
    Settings,
    /// A part of other classes.
    Part,
}

/// The orchestrator's configuration.
pub static ORCHESTRATOR_CONFIG: Class = Class {
    name: "ModalOrchestratorConfig",
    description: "What is stored with a Modal orchestrator.",
    fields: &[
        GPU,
        REGION,
        CLOUD,
        MODAL_ENVIRONMENT,
        TIMEOUT,
        SYNCHRONOUS,
        TOKEN_ID,
        TOKEN_SECRET,
    ],
    role: Role::Configuration(Kind::Orchestrator),
};

/// The orchestrator's settings.
pub static ORCHESTRATOR_SETTINGS: Class = Class {
    name: "ModalOrchestratorSettings",
    description: "What a pipeline or step can ask of a Modal orchestrator.",
    fields: &[GPU, REGION, CLOUD, MODAL_ENVIRONMENT, TIMEOUT, SYNCHRONOUS],
    role: Role::Settings,
};

/// The step operator's configuration.
pub static STEP_OPERATOR_CONFIG: Class = Class {
    name: "ModalStepOperatorConfig",
    description: "What is stored with a Modal step operator.",
    fields: &[
        GPU,
        REGION,
        CLOUD,
        MODAL_ENVIRONMENT,
        TIMEOUT,
        TOKEN_ID,
        TOKEN_SECRET,
    ],
    role: Role::Configuration(Kind::StepOperator),
};

/// The step operator's settings.
pub static STEP_OPERATOR_SETTINGS: Class = Class {
    name: "ModalStepOperatorSettings",
    description: "What a step can ask of a Modal step operator.",
    fields: &[GPU, REGION, CLOUD, MODAL_ENVIRONMENT, TIMEOUT],
    role: Role::Settings,
};

/// The sandbox's configuration.
pub static SANDBOX_CONFIG: Class = Class {
    name: "ModalSandboxConfig",
    description: "What is stored with a Modal sandbox component.",
    fields: &[
        GPU,
        REGION,
        CLOUD,
        MODAL_ENVIRONMENT,
        SANDBOX_TIMEOUT,
        ENVIRONMENT,
        IMAGE,
        CPU,
        MEMORY,
        TOKEN_ID,
        TOKEN_SECRET,
        APP_NAME,
    ],
    role: Role::Configuration(Kind::Sandbox),
};

/// The sandbox's settings.
pub static SANDBOX_SETTINGS: Class = Class {
    name: "ModalSandboxSettings",
    description: "What a step can ask of a Modal sandbox.",
    fields: &[
        GPU,
        REGION,
        CLOUD,
        MODAL_ENVIRONMENT,
        SANDBOX_TIMEOUT,
        ENVIRONMENT,
        IMAGE,
        CPU,
        MEMORY,
    ],
    role: Role::Settings,
};

/// What the settings of orchestrator and step operator have in common.
pub static SETTINGS_PART: Class = Class {
    name: "ModalSettingsMixin",
    description: "What is asked of Modal for a sandbox.",
    fields: &[GPU, REGION, CLOUD, MODAL_ENVIRONMENT, TIMEOUT],
    role: Role::Part,
};

/// What the configurations have in common.
pub static CREDENTIALS_PART: Class = Class {
    name: "ModalCredentialsMixin",
    description: "A token pair for Modal's API.",
    fields: &[TOKEN_ID, TOKEN_SECRET],
    role: Role::Part,
};

/// All of them.
pub static CLASSES: [&Class; 8] = [
    &ORCHESTRATOR_CONFIG,
    &ORCHESTRATOR_SETTINGS,
    &STEP_OPERATOR_CONFIG,
    &STEP_OPERATOR_SETTINGS,
    &SANDBOX_CONFIG,
    &SANDBOX_SETTINGS,
    &SETTINGS_PART,
    &CREDENTIALS_PART,
];

impl Class {
    /// The configuration class of a flavor.
    pub fn configuration(kind: Kind) -> &'static Self {
        match kind {
            Kind::Orchestrator => &ORCHESTRATOR_CONFIG,
            Kind::StepOperator => &STEP_OPERATOR_CONFIG,
            Kind::Sandbox => &SANDBOX_CONFIG,
        }
    }

    /// The settings class of a flavor.
    pub fn settings(kind: Kind) -> &'static Self {
        match kind {
            Kind::Orchestrator => &ORCHESTRATOR_SETTINGS,
            Kind::StepOperator => &STEP_OPERATOR_SETTINGS,
            Kind::Sandbox => &SANDBOX_SETTINGS,
        }
    }

    /// A field by its key.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Whether it has the token pair, and so the rule about it.
    pub(super) fn has_token_pair(&self) -> bool {
        self.field(TOKEN_ID.name).is_some()
    }

    /// How often a value that looks like a reference is resolved: two base
    /// classes of a configuration do it, one of anything else.
    pub(super) fn reference_passes(&self) -> u8 {
        match self.role {
            Role::Configuration(_) => 2,
            Role::Settings | Role::Part => 1,
        }
    }

    /// The JSON Schema of its documents.
    pub fn schema(&self) -> Value {
        let mut properties = Map::new();
        for field in self.fields {
            properties.insert(field.name.to_owned(), field.schema());
        }
        json!({
            "additionalProperties": true,
            "description": self.description,
            "properties": properties,
            "title": self.name,
            "type": "object",
        })
    }
}

impl Field {
    /// What it holds when it is absent.
    pub(super) fn default(&self) -> Value {
        match self.holds {
            Holds::OptionalText | Holds::OptionalInteger => Value::Null,
            Holds::Text { default } => default.into(),
            Holds::Bounded { default, .. } => default.into(),
            Holds::Boolean { default } => default.into(),
            Holds::TextMap => Value::Object(Map::new()),
        }
    }

    fn schema(&self) -> Value {
        let mut schema = match self.holds {
            Holds::OptionalText => json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
            Holds::OptionalInteger => json!({"anyOf": [{"type": "integer"}, {"type": "null"}]}),
            Holds::Text { .. } => json!({"type": "string"}),
            Holds::Bounded { least, most, .. } => {
                json!({"maximum": most, "minimum": least, "type": "integer"})
            }
            Holds::Boolean { .. } => json!({"type": "boolean"}),
            Holds::TextMap => {
                json!({"additionalProperties": {"type": "string"}, "type": "object"})
            }
        };
        if let Value::Object(fields) = &mut schema {
            if self.holds != Holds::TextMap {
                fields.insert("default".to_owned(), self.default());
            }
            fields.insert("description".to_owned(), self.description.into());
            if self.sensitive {
                fields.insert("sensitive".to_owned(), true.into());
            }
            fields.insert("title".to_owned(), title(self.name).into());
        }
        schema
    }
}

/// Pydantic's title of a field: its words with capitals.
fn title(name: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    let words: Vec<String> = name.split('_').map(capital).collect();
    words.join(" ")
}
