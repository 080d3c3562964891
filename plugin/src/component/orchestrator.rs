//! Export `orchestrator`.

use super::bindings::exports::zenml::flavor::orchestrator as wit;
use super::bindings::exports::zenml::flavor::orchestrator::{Context, Guest};
use super::bindings::wit_stream;
use super::bindings::zenml::flavor::log::{Level, emit};
use super::bindings::zenml::flavor::types::{
    Error, OutputStream as WitOutputStream, RunStatus, StepStatus, StopMode,
};
use super::store::ImportedStore;
use super::submission::client;
use super::{Plugin, invalid, owned, submitted};
use crate::dag::machine::ExecutionMode;
use crate::limits;
use crate::modal::image::RegistryLogin;
use crate::modal::output::OutputStream;
use crate::run::controller::Controller;
use crate::run::events::{Event, EventQueue, EventSink};
use crate::run::plan::{Pipeline, Plan, RegistryCredentials, Step};
use wit_bindgen::{StreamReader, StreamWriter};

impl Guest for Plugin {
    async fn check(context: Context, pipeline: wit::Pipeline) -> Result<Vec<String>, Error> {
        let plan = plan(&context, pipeline)?;
        let warning = |(step, text): (std::rc::Rc<str>, String)| format!("{step}: {text}");
        Ok(plan.warnings.into_iter().map(warning).collect())
    }

    async fn run(
        context: Context,
        pipeline: wit::Pipeline,
    ) -> Result<StreamReader<wit::Event>, Error> {
        report_panics();
        let plan = plan(&context, pipeline)?;
        let client = client(&context.service)?;
        let (sink, queue) = EventSink::new(context.outputs);
        let controller = Controller::prepare(plan, client, ImportedStore, sink).await?;
        let (writer, reader) = wit_stream::new();
        wit_bindgen::spawn_local(pass_on(queue, writer));
        wit_bindgen::spawn_local(async move {
            controller.drive().await;
        });
        Ok(reader)
    }

    async fn submit(
        context: Context,
        submission: wit::Submission,
    ) -> Result<wit::Submitted, Error> {
        submitted::submit(context, submission).await
    }

    async fn fetch_status(
        context: Context,
        run: wit::RunRecord,
        include_steps: bool,
    ) -> Result<(RunStatus, Vec<(String, StepStatus)>), Error> {
        submitted::fetch_status(context, run, include_steps).await
    }

    async fn stop(context: Context, run: wit::RunRecord, mode: StopMode) -> Result<(), Error> {
        submitted::stop(context, run, mode).await
    }

    async fn step_status_of(context: Context, metadata: String) -> Result<StepStatus, Error> {
        submitted::step_status_of(context, metadata).await
    }

    async fn stop_step(context: Context, metadata: String) -> Result<(), Error> {
        submitted::stop_step(context, metadata).await
    }

    async fn list_owned(
        context: Context,
        environment: Option<String>,
    ) -> Result<Vec<wit::Owned>, Error> {
        owned::list(context, environment).await
    }

    async fn end_sandbox(context: Context, sandbox: String) -> Result<(), Error> {
        owned::end(context, sandbox).await
    }

    async fn validate_stack(components: Vec<wit::StackComponent>) -> Result<(), Error> {
        submitted::check_stack(components)
    }
}

/// A panic ends the instance; the host's log should say where it came from.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| emit(Level::Error, &panic.to_string())));
}

/// Hands events to the host until there are no more.
async fn pass_on(mut queue: EventQueue, mut writer: StreamWriter<wit::Event>) {
    loop {
        let events = queue.take(limits::EVENTS_AT_ONCE).await;
        if events.is_empty() {
            return;
        }
        // What comes back was not read: nobody listens any more. The run goes
        // on, so its events have to be taken nevertheless.
        let events = events.into_iter().map(wit::Event::from).collect();
        let _ = writer.write_all(events).await;
    }
}

fn plan(context: &Context, pipeline: wit::Pipeline) -> Result<Plan, Error> {
    let registry = context
        .registry
        .as_ref()
        .map(|credentials| RegistryCredentials {
            registry: credentials.registry.clone(),
            login: RegistryLogin {
                username: credentials.username.clone(),
                password: credentials.password.clone(),
            },
        });
    Plan::new(pipeline.into(), registry.as_ref()).map_err(invalid)
}

impl From<wit::Pipeline> for Pipeline {
    fn from(pipeline: wit::Pipeline) -> Self {
        Self {
            run_id: pipeline.run_id,
            mode: match pipeline.execution_mode {
                wit::ExecutionMode::FailFast => ExecutionMode::FailFast,
                wit::ExecutionMode::StopOnFailure => ExecutionMode::StopOnFailure,
                wit::ExecutionMode::ContinueOnFailure => ExecutionMode::ContinueOnFailure,
            },
            max_parallelism: pipeline.max_parallelism,
            steps: pipeline.steps.into_iter().map(Step::from).collect(),
        }
    }
}

impl From<wit::Step> for Step {
    fn from(step: wit::Step) -> Self {
        Self {
            name: step.name,
            command: step.command,
            after: step.after,
            image: step.image,
            settings: step.settings,
            cpu_count: step.resources.cpu_count,
            gpu_count: step.resources.gpu_count,
            memory: step.resources.memory,
            environment: step.environment,
            max_retries: step.retry.max_retries,
            delay: step.retry.delay,
            backoff: step.retry.backoff,
        }
    }
}

impl From<OutputStream> for WitOutputStream {
    fn from(stream: OutputStream) -> Self {
        match stream {
            OutputStream::Stdout => Self::Stdout,
            OutputStream::Stderr => Self::Stderr,
        }
    }
}

impl From<Event> for wit::Event {
    fn from(event: Event) -> Self {
        match event {
            Event::StepStarted {
                step,
                attempt,
                sandbox,
            } => Self::StepStarted(wit::StepStarted {
                step: step.to_string(),
                attempt,
                sandbox,
            }),
            Event::Output {
                step,
                attempt,
                stream,
                data,
            } => Self::Output(wit::Output {
                step: step.to_string(),
                attempt,
                stream: stream.into(),
                data,
            }),
            Event::OutputLost {
                step,
                attempt,
                stream,
                bytes,
            } => Self::OutputLost(wit::OutputLost {
                step: step.to_string(),
                attempt,
                stream: stream.into(),
                bytes,
            }),
            Event::StepFinished(finished) => Self::StepFinished(wit::StepFinished {
                step: finished.step.to_string(),
                attempt: finished.attempt,
                status: finished.status.into(),
                exit_code: finished.exit_code,
                reason: finished.reason,
                retry_in: finished.retry_in,
            }),
            Event::Warning { step, message } => Self::Warning(wit::Warning {
                step: step.map(|step| step.to_string()),
                message,
            }),
            Event::RunFinished { end, error, steps } => Self::RunFinished(wit::RunFinished {
                status: end.into(),
                error: error.map(Error::from),
                steps: steps
                    .into_iter()
                    .map(|(step, status)| (step, status.into()))
                    .collect(),
            }),
        }
    }
}
