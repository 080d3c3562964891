//! The contract between host and plugin, generated from `wit/`. The types carry
//! the documentation of that package.

#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::todo,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    unused_qualifications,
    reason = "generated code"
)]
pub(crate) mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "flavor",
        exports: { default: async | store },
        additional_derives: [PartialEq],
    });
}

/// The world that a plugin offers, with its version.
pub const WORLD: &str = "zenml:flavor/flavor@0.1.0";

pub use bindings::exports::zenml::flavor::catalog::{
    ConnectorRequirements, Flavor, IntegrationFacts,
};
pub use bindings::exports::zenml::flavor::config::{Checked, DocumentKind};
pub use bindings::exports::zenml::flavor::orchestrator::{
    Context, Event, ExecutionMode, Output, OutputLost, Owned, Pipeline, Retry, RunFinished,
    RunRecord, StackComponent, Step, StepFinished, StepStarted, Submission, Submitted, Warning,
};
pub use bindings::exports::zenml::flavor::sandbox::{
    ActiveStep, Arguments, Collected, Command, Listed, SessionOptions, Snapshot, Terminal,
};
pub use bindings::exports::zenml::flavor::step_operator::{
    DockerBuild, Submission as StepSubmission,
};
pub use bindings::zenml::flavor::credentials::CredentialPair;
pub use bindings::zenml::flavor::run_store::{
    Attempt, Change, Claim, Created, Intent, Metadata, RunChange, StepChange,
};
pub use bindings::zenml::flavor::types::{
    Error, FieldError, FlavorKind, OutputStream, Refusal, RegistryCredentials, Resources,
    RunStatus, Service, ServiceError, StepStatus, StopMode, StoreError, TransportError,
};
