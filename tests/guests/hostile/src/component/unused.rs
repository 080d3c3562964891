//! Exports that a world has to have.

use super::bindings::exports::zenml::flavor::{catalog, config, orchestrator, step_operator};
use super::bindings::zenml::flavor::types::{Error, FlavorKind, RunStatus, StepStatus, StopMode};
use super::{Hostile, mode, unsupported};
use wit_bindgen::StreamReader;

impl catalog::Guest for Hostile {
    async fn flavors() -> Result<Vec<catalog::Flavor>, Error> {
        mode::flavors().await
    }

    async fn integration() -> catalog::IntegrationFacts {
        catalog::IntegrationFacts {
            name: String::new(),
            requirements: Vec::new(),
            uninstall_requirements: Vec::new(),
            system_packages: Vec::new(),
            flavor_classes: Vec::new(),
        }
    }

    async fn registration(_: FlavorKind, _: Option<String>, _: bool) -> Result<String, Error> {
        unsupported()
    }
}

impl config::Guest for Hostile {
    async fn validate(
        _: FlavorKind,
        _: config::DocumentKind,
        _: String,
    ) -> Result<config::Checked, Error> {
        unsupported()
    }
}

impl orchestrator::Guest for Hostile {
    async fn check(
        context: orchestrator::Context,
        pipeline: orchestrator::Pipeline,
    ) -> Result<Vec<String>, Error> {
        super::check(context, pipeline).await
    }

    async fn run(
        context: orchestrator::Context,
        pipeline: orchestrator::Pipeline,
    ) -> Result<StreamReader<orchestrator::Event>, Error> {
        super::run(context, pipeline).await
    }

    async fn submit(
        _: orchestrator::Context,
        _: orchestrator::Submission,
    ) -> Result<orchestrator::Submitted, Error> {
        unsupported()
    }

    async fn fetch_status(
        _: orchestrator::Context,
        _: orchestrator::RunRecord,
        _: bool,
    ) -> Result<(RunStatus, Vec<(String, StepStatus)>), Error> {
        unsupported()
    }

    async fn stop(
        _: orchestrator::Context,
        _: orchestrator::RunRecord,
        _: StopMode,
    ) -> Result<(), Error> {
        unsupported()
    }

    async fn step_status_of(_: orchestrator::Context, _: String) -> Result<StepStatus, Error> {
        unsupported()
    }

    async fn stop_step(_: orchestrator::Context, _: String) -> Result<(), Error> {
        unsupported()
    }

    async fn list_owned(
        _: orchestrator::Context,
        _: Option<String>,
    ) -> Result<Vec<orchestrator::Owned>, Error> {
        unsupported()
    }

    async fn end_sandbox(_: orchestrator::Context, _: String) -> Result<(), Error> {
        unsupported()
    }

    async fn validate_stack(_: Vec<orchestrator::StackComponent>) -> Result<(), Error> {
        unsupported()
    }
}

impl step_operator::Guest for Hostile {
    async fn submit(
        _: step_operator::Context,
        _: step_operator::Submission,
    ) -> Result<String, Error> {
        unsupported()
    }

    async fn status(_: step_operator::Context, _: String) -> Result<StepStatus, Error> {
        unsupported()
    }

    async fn wait(_: step_operator::Context, metadata: String) -> Result<StepStatus, Error> {
        match metadata.as_str() {
            "spin" => super::computing::spin(),
            "running" => Ok(StepStatus::Running),
            _ => Ok(StepStatus::Completed),
        }
    }

    async fn cancel(_: step_operator::Context, _: String) -> Result<(), Error> {
        unsupported()
    }

    async fn docker_builds(_: String) -> Result<Vec<step_operator::DockerBuild>, Error> {
        unsupported()
    }
}
