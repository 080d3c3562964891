//! Runs and steps that live without this host: controllers in sandboxes of their own,
//! and sandboxes that nobody looks after.

use crate::connection::{Connection, Opened};
use crate::contract::{
    Context, Owned, RunRecord, RunStatus, StackComponent, StepStatus, StopMode, Submission,
    Submitted,
};
use crate::error::Error;
use crate::host::Plugin;
use crate::run::StartError;

impl Plugin {
    /// Creates one sandbox that runs the controller of a pipeline, or an isolated step.
    /// Dropping the future cuts the plugin off: whether a sandbox exists then is not
    /// known.
    ///
    /// # Errors
    ///
    /// When there is no sandbox.
    pub async fn submit(
        &self,
        connection: Connection,
        submission: Submission,
    ) -> Result<Submitted, StartError> {
        let opened = connection.open(self.host())?;
        self.ask(opened, async move |accessor, plugin, opened| {
            plugin
                .zenml_flavor_orchestrator()
                .call_submit(accessor, context(opened), submission)
                .await
        })
        .await
    }

    /// Asks the service how a submitted run and, if wanted, its steps stand.
    ///
    /// # Errors
    ///
    /// When that cannot be told.
    pub async fn fetch_status(
        &self,
        connection: Connection,
        run: RunRecord,
        include_steps: bool,
    ) -> Result<(RunStatus, Vec<(String, StepStatus)>), StartError> {
        let opened = connection.open(self.host())?;
        self.ask(opened, async move |accessor, plugin, opened| {
            plugin
                .zenml_flavor_orchestrator()
                .call_fetch_status(accessor, context(opened), run, include_steps)
                .await
        })
        .await
    }

    /// Ends the sandboxes of a submitted run.
    ///
    /// # Errors
    ///
    /// When some may still live.
    pub async fn stop_submitted(
        &self,
        connection: Connection,
        run: RunRecord,
        mode: StopMode,
    ) -> Result<(), StartError> {
        let opened = connection.open(self.host())?;
        self.ask(opened, async move |accessor, plugin, opened| {
            plugin
                .zenml_flavor_orchestrator()
                .call_stop(accessor, context(opened), run, mode)
                .await
        })
        .await
    }

    /// How an isolated step stands; `metadata` is that of [`Self::submit`].
    ///
    /// # Errors
    ///
    /// When that cannot be told.
    pub async fn isolated_step_status(
        &self,
        connection: Connection,
        metadata: String,
    ) -> Result<StepStatus, StartError> {
        let opened = connection.open(self.host())?;
        self.ask(opened, async move |accessor, plugin, opened| {
            plugin
                .zenml_flavor_orchestrator()
                .call_step_status_of(accessor, context(opened), metadata)
                .await
        })
        .await
    }

    /// Ends an isolated step.
    ///
    /// # Errors
    ///
    /// When it may still run.
    pub async fn stop_isolated_step(
        &self,
        connection: Connection,
        metadata: String,
    ) -> Result<(), StartError> {
        let opened = connection.open(self.host())?;
        self.ask(opened, async move |accessor, plugin, opened| {
            plugin
                .zenml_flavor_orchestrator()
                .call_stop_step(accessor, context(opened), metadata)
                .await
        })
        .await
    }

    /// The sandboxes that run and whose tags name a run, whoever's they are, newest
    /// first: all of them, or an error. `environment`: a part of the service's account,
    /// its default without one.
    ///
    /// # Errors
    ///
    /// When they cannot be told, or not all of them.
    pub async fn list_owned(
        &self,
        connection: Connection,
        environment: Option<String>,
    ) -> Result<Vec<Owned>, StartError> {
        let opened = connection.open(self.host())?;
        self.ask(opened, async move |accessor, plugin, opened| {
            plugin
                .zenml_flavor_orchestrator()
                .call_list_owned(accessor, context(opened), environment)
                .await
        })
        .await
    }

    /// Ends a sandbox, whatever it is. One that has ended is no failure.
    ///
    /// # Errors
    ///
    /// When it may still run.
    pub async fn end_sandbox(
        &self,
        connection: Connection,
        sandbox: String,
    ) -> Result<(), StartError> {
        let opened = connection.open(self.host())?;
        self.ask(opened, async move |accessor, plugin, opened| {
            plugin
                .zenml_flavor_orchestrator()
                .call_end_sandbox(accessor, context(opened), sandbox)
                .await
        })
        .await
    }

    /// Says whether a stack can work with the plugin's orchestrator. Asks nobody.
    ///
    /// # Errors
    ///
    /// When it cannot, saying why.
    pub async fn validate_stack(&self, components: Vec<StackComponent>) -> Result<(), Error> {
        self.compute(async move |accessor, plugin| {
            plugin
                .zenml_flavor_orchestrator()
                .call_validate_stack(accessor, components)
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
        outputs: false,
    }
}
