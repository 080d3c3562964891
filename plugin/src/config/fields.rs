//! The fields that the classes share.

use super::class::{Field, Holds};

/// Longest life of a sandbox at Modal, in seconds.
pub const LONGEST_TIMEOUT: u32 = 86_400;

/// How long an interactive sandbox lives when nothing is said, in seconds.
const SANDBOX_LIFE: u32 = 3600;

/// An optional text without secrets.
const fn optional(name: &'static str, description: &'static str) -> Field {
    Field {
        name,
        holds: Holds::OptionalText,
        sensitive: false,
        description,
    }
}

/// One half of the token pair.
const fn token(name: &'static str, description: &'static str) -> Field {
    Field {
        name,
        holds: Holds::OptionalText,
        sensitive: true,
        description,
    }
}

const fn timeout(default: u32, description: &'static str) -> Field {
    Field {
        name: "timeout",
        holds: Holds::Bounded {
            default,
            least: 1,
            most: LONGEST_TIMEOUT,
        },
        sensitive: false,
        description,
    }
}

pub(super) const GPU: Field = optional(
    "gpu",
    "GPU type, such as T4 or A100. How many comes from gpu_count of the resources. Without it, \
     steps run on CPUs.",
);
pub(super) const REGION: Field = optional(
    "region",
    "Region, such as us-east-1. Modal chooses one when none is given. Needs a Modal plan that \
     may choose.",
);
pub(super) const CLOUD: Field = optional(
    "cloud",
    "Cloud provider, such as aws or gcp. Modal chooses one when none is given. Needs a Modal plan \
     that may choose.",
);
pub(super) const MODAL_ENVIRONMENT: Field = optional(
    "modal_environment",
    "Modal environment that the app belongs to, such as main. Modal takes its default one when \
     none is given.",
);
pub(super) const TIMEOUT: Field = timeout(
    LONGEST_TIMEOUT,
    "Seconds after which Modal ends the sandbox, 1 to 86400.",
);
pub(super) const SANDBOX_TIMEOUT: Field = timeout(
    SANDBOX_LIFE,
    "Seconds that the sandbox lives, 1 to 86400. Closing a session does not end it: only \
     destroying it does, or this time.",
);
pub(super) const SYNCHRONOUS: Field = Field {
    name: "synchronous",
    holds: Holds::Boolean { default: true },
    sensitive: false,
    description: "Whether a submission waits for the end of the run.",
};
pub(super) const TOKEN_ID: Field = token(
    "token_id",
    "Id of the Modal token, ak-…, together with token_secret. Without the pair, credentials come \
     from the environment or from ~/.modal.toml.",
);
pub(super) const TOKEN_SECRET: Field = token(
    "token_secret",
    "Secret of the Modal token, as-…, together with token_id. Without the pair, credentials come \
     from the environment or from ~/.modal.toml.",
);
pub(super) const ENVIRONMENT: Field = Field {
    name: "sandbox_environment",
    holds: Holds::TextMap,
    sensitive: false,
    description: "Environment variables of the sandbox.",
};
pub(super) const IMAGE: Field = Field {
    name: "image",
    holds: Holds::Text {
        default: "python:3.11-slim",
    },
    sensitive: false,
    description: "Image that the sandbox starts from.",
};
pub(super) const CPU: Field = Field {
    name: "cpu",
    holds: Holds::OptionalInteger,
    sensitive: false,
    description: "CPU cores of the sandbox. Modal decides when it is absent.",
};
pub(super) const MEMORY: Field = optional(
    "memory",
    "Memory of the sandbox with a unit, such as 512MB. Modal decides when it is absent.",
);
pub(super) const APP_NAME: Field = Field {
    name: "app_name",
    holds: Holds::Text {
        default: "zenml-sandbox",
    },
    sensitive: false,
    description: "Modal app of the sandboxes, created when it does not exist.",
};
