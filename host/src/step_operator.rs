//! Single steps for another orchestrator, through a plugin.

use crate::connection::{Connection, Opened};
use crate::contract::bindings::exports::zenml::flavor::step_operator::Context;
use crate::contract::{DockerBuild, StepStatus, StepSubmission};
use crate::error::Error;
use crate::host::Plugin;
use crate::run::StartError;

impl Plugin {
    /// Starts a step, and gives what is needed to find it again: one JSON object, as
    /// text. Dropping the future cuts the plugin off: whether a sandbox exists then is
    /// not known.
    ///
    /// # Errors
    ///
    /// When it is not started.
    pub async fn submit_step(
        &self,
        connection: Connection,
        submission: StepSubmission,
    ) -> Result<String, StartError> {
        let opened = connection.open(self.host())?;
        self.ask(opened, async move |accessor, plugin, opened| {
            plugin
                .zenml_flavor_step_operator()
                .call_submit(accessor, context(opened), submission)
                .await
        })
        .await
    }

    /// How a step stands; `metadata` is what [`Self::submit_step`] gave.
    ///
    /// # Errors
    ///
    /// When that cannot be told.
    pub async fn step_status(
        &self,
        connection: Connection,
        metadata: String,
    ) -> Result<StepStatus, StartError> {
        let opened = connection.open(self.host())?;
        self.ask(opened, async move |accessor, plugin, opened| {
            plugin
                .zenml_flavor_step_operator()
                .call_status(accessor, context(opened), metadata)
                .await
        })
        .await
    }

    /// Waits for the end of a step, for as long as it takes. Dropping the future gives
    /// up waiting and leaves the step alone.
    ///
    /// # Errors
    ///
    /// When its end cannot be told.
    pub async fn wait_for_step(
        &self,
        connection: Connection,
        metadata: String,
    ) -> Result<StepStatus, StartError> {
        let opened = connection.open(self.host())?;
        let status = self
            .ask_unlimited(opened, async move |accessor, plugin, opened| {
                plugin
                    .zenml_flavor_step_operator()
                    .call_wait(accessor, context(opened), metadata)
                    .await
            })
            .await?;
        match status.is_final() {
            true => Ok(status),
            false => Err(StartError::Run(Error::BrokenContract {
                what: format!("a step ended as `{}`", status.word()),
            })),
        }
    }

    /// Ends a step.
    ///
    /// # Errors
    ///
    /// When it may still run.
    pub async fn cancel_step(
        &self,
        connection: Connection,
        metadata: String,
    ) -> Result<(), StartError> {
        let opened = connection.open(self.host())?;
        self.ask(opened, async move |accessor, plugin, opened| {
            plugin
                .zenml_flavor_step_operator()
                .call_cancel(accessor, context(opened), metadata)
                .await
        })
        .await
    }

    /// The images that the steps of a pipeline need; `snapshot` is the compiled
    /// pipeline, as JSON text. Asks nobody.
    ///
    /// # Errors
    ///
    /// When it makes no sense.
    pub async fn docker_builds(&self, snapshot: String) -> Result<Vec<DockerBuild>, Error> {
        self.compute(async move |accessor, plugin| {
            plugin
                .zenml_flavor_step_operator()
                .call_docker_builds(accessor, snapshot)
                .await
        })
        .await
    }
}

fn context(opened: Opened) -> Context {
    Context {
        service: opened.service,
        config: opened.config,
        registry: opened.registry,
    }
}
