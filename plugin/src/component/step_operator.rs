//! Export `step-operator`.

use super::bindings::exports::zenml::flavor::step_operator::{
    Context, DockerBuild, Guest, Submission,
};
use super::bindings::zenml::flavor::types::{Error, StepStatus};
use super::{Plugin, unsupported};

const WHAT: &str = "the step operator";

impl Guest for Plugin {
    async fn submit(_: Context, _: Submission) -> Result<String, Error> {
        unsupported(WHAT)
    }

    async fn status(_: Context, _: String) -> Result<StepStatus, Error> {
        unsupported(WHAT)
    }

    async fn wait(_: Context, _: String) -> Result<StepStatus, Error> {
        unsupported(WHAT)
    }

    async fn cancel(_: Context, _: String) -> Result<(), Error> {
        unsupported(WHAT)
    }

    async fn docker_builds(_: String) -> Result<Vec<DockerBuild>, Error> {
        unsupported(WHAT)
    }
}
