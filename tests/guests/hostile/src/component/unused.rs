//! Exports that a world has to have.

use super::bindings::exports::zenml::flavor::{
    catalog, config, orchestrator, sandbox, step_operator,
};
use super::bindings::zenml::flavor::types::{
    Error, FlavorKind, OutputStream, RunStatus, StepStatus, StopMode,
};
use super::{Hostile, mode};
use wit_bindgen::{FutureReader, StreamReader};

fn unsupported<T>() -> Result<T, Error> {
    Err(Error::Unsupported("this plugin only attacks".to_owned()))
}

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

    async fn wait(_: step_operator::Context, _: String) -> Result<StepStatus, Error> {
        unsupported()
    }

    async fn cancel(_: step_operator::Context, _: String) -> Result<(), Error> {
        unsupported()
    }

    async fn docker_builds(_: String) -> Result<Vec<step_operator::DockerBuild>, Error> {
        unsupported()
    }
}

/// There are none.
pub(super) enum Nothing {}

impl sandbox::Guest for Hostile {
    type Session = Nothing;
    type Process = Nothing;

    async fn list(
        _: sandbox::Context,
        _: Vec<(String, String)>,
        _: bool,
    ) -> Result<Vec<sandbox::Listed>, Error> {
        unsupported()
    }
}

impl sandbox::GuestSession for Nothing {
    async fn create(
        _: sandbox::Context,
        _: sandbox::SessionOptions,
    ) -> Result<sandbox::Session, Error> {
        unsupported()
    }

    async fn attach(_: sandbox::Context, _: String) -> Result<sandbox::Session, Error> {
        unsupported()
    }

    async fn attach_named(_: sandbox::Context, _: String) -> Result<sandbox::Session, Error> {
        unsupported()
    }

    async fn restore(
        _: sandbox::Context,
        _: sandbox::Snapshot,
        _: sandbox::SessionOptions,
    ) -> Result<sandbox::Session, Error> {
        unsupported()
    }

    fn id(&self) -> String {
        match *self {}
    }

    fn dashboard_url(&self) -> String {
        match *self {}
    }

    fn metadata(&self) -> String {
        match *self {}
    }

    async fn exec(&self, _: sandbox::Command) -> Result<sandbox::Process, Error> {
        match *self {}
    }

    async fn upload(&self, _: String, _: StreamReader<u8>) -> Result<u64, Error> {
        match *self {}
    }

    async fn download(
        &self,
        _: String,
    ) -> Result<(StreamReader<u8>, FutureReader<Result<(), Error>>), Error> {
        match *self {}
    }

    async fn snapshot(&self) -> Result<sandbox::Snapshot, Error> {
        match *self {}
    }

    async fn set_tags(&self, _: Vec<(String, String)>) -> Result<(), Error> {
        match *self {}
    }

    async fn tags(&self) -> Result<Vec<(String, String)>, Error> {
        match *self {}
    }

    async fn close(&self) {
        match *self {}
    }

    async fn destroy(&self) -> Result<(), Error> {
        match *self {}
    }

    async fn leave(&self) -> Result<(), Error> {
        match *self {}
    }
}

impl sandbox::GuestProcess for Nothing {
    async fn output(
        &self,
        _: OutputStream,
    ) -> Result<(StreamReader<u8>, FutureReader<Result<(), Error>>), Error> {
        match *self {}
    }

    async fn lines(
        &self,
        _: OutputStream,
    ) -> Result<(StreamReader<String>, FutureReader<Result<(), Error>>), Error> {
        match *self {}
    }

    async fn input(&self, _: StreamReader<u8>) -> Result<(), Error> {
        match *self {}
    }

    async fn wait(&self, _: Option<f64>) -> Result<i32, Error> {
        match *self {}
    }

    async fn exit_code(&self) -> Result<Option<i32>, Error> {
        match *self {}
    }

    async fn collect(&self, _: Option<u64>) -> Result<sandbox::Collected, Error> {
        match *self {}
    }

    async fn kill(&self) -> Result<(), Error> {
        match *self {}
    }
}
