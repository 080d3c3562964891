//! The life of one sandbox: from the intent to the end.

use super::controller::{Shared, Workspace};
use super::events::{Event, RunError};
use super::plan::PlannedStep;
use super::store::{Change, RunStore, StepStatus};
use crate::limits;
use crate::modal::CallError;
use crate::modal::image::ImageError;
use crate::modal::output::{self, OutputStream};
use crate::modal::recovery::CreateError;
use crate::modal::result::Ending;
use crate::modal::sandbox::{SandboxHandle, SandboxSpec};
use crate::names::{self, tag};
use crate::platform::Platform;
use std::rc::Rc;
use tokio::sync::watch;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Whether the step did what it should.
    pub success: bool,
    /// When it ended with one.
    pub exit_code: Option<i32>,
    /// Why it is no success.
    pub reason: Option<String>,
    /// Set when every other step would fail for the same reason.
    pub fatal: Option<RunError>,
}

impl Report {
    fn failed(reason: impl ToString) -> Self {
        Self {
            success: false,
            exit_code: None,
            reason: Some(reason.to_string()),
            fatal: None,
        }
    }

    fn fatal(error: impl Into<RunError>) -> Self {
        let error = error.into();
        Self {
            fatal: Some(error.clone()),
            ..Self::failed(error)
        }
    }

    fn call_failed(what: &str, error: CallError) -> Self {
        match error.is_fatal() {
            true => Self::fatal(error),
            false => Self::failed(format!("{what}: {error}")),
        }
    }

    fn ended(ending: &Ending) -> Self {
        Self {
            success: ending.is_success(),
            exit_code: Some(ending.return_code()),
            reason: ending.reason(),
            fatal: None,
        }
    }
}

/// Tells an attempt to end.
pub type Cut = watch::Receiver<bool>;

/// One attempt at a step.
pub struct Attempt<P, S> {
    /// What all attempts of a run share.
    pub shared: Rc<Shared<P, S>>,
    /// The app that the sandbox goes into.
    pub workspace: Rc<Workspace<P>>,
    /// The step.
    pub step: Rc<PlannedStep>,
    /// Counted from 0.
    pub number: u32,
    /// When it is to end early.
    pub cut: Cut,
}

impl<P: Platform, S: RunStore> Attempt<P, S> {
    /// Lives it. Whatever happens, no sandbox of it runs on afterwards, as far
    /// as Modal can be reached.
    pub async fn live(mut self) -> Report {
        let sandbox = match self.start().await {
            Ok(sandbox) => sandbox,
            Err(report) => return report,
        };
        self.follow_outputs(&sandbox);
        let ending = tokio::select! {
            biased;
            ending = self.shared.watch.ending(&sandbox) => ending,
            () = is_cut(&mut self.cut) => {
                self.terminate(&sandbox).await;
                return Report::failed("ended on request");
            }
        };
        match ending {
            Ok(ending) => Report::ended(&ending),
            Err(error) => {
                self.terminate(&sandbox).await;
                Report::call_failed("given up, its sandbox does not answer for itself", error)
            }
        }
    }

    /// Until the sandbox exists and is recorded.
    async fn start(&mut self) -> Result<SandboxHandle, Report> {
        let shared = Rc::clone(&self.shared);
        let workspace = Rc::clone(&self.workspace);
        let image = workspace
            .images
            .from_registry(&self.step.image, self.step.login.as_ref());
        // Nothing of this step exists yet, so a cut needs no clearing up.
        let image_id = tokio::select! {
            biased;
            () = is_cut(&mut self.cut) => return Err(Report::failed("ended on request")),
            image = image => image.map_err(image_failed)?,
        };
        let _starting = tokio::select! {
            biased;
            () = is_cut(&mut self.cut) => return Err(Report::failed("ended on request")),
            place = shared.starting.acquire() => place.ok(),
        };
        let key = shared.client.new_idempotency_key();
        let intent = Change::Intent {
            step: self.step.name.to_string(),
            attempt: self.number,
            idempotency_key: key.clone(),
        };
        shared.journal.record(intent).await.map_err(Report::fatal)?;
        let spec = self.spec(workspace.app_id.clone(), image_id);
        // From here on a sandbox may exist whatever happens to the answer, so a
        // cut has to wait for it.
        let sandbox = shared
            .client
            .create_sandbox(&spec, &key)
            .await
            .map_err(create_failed)?;
        self.announce(&sandbox);
        Ok(sandbox)
    }

    fn spec(&self, app_id: String, image_id: String) -> SandboxSpec {
        let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        SandboxSpec {
            app_id,
            image_id,
            name: Some(names::sandbox_name(&self.step.name, self.number)),
            tags: vec![
                tag(tag::RUN, &self.shared.run_id),
                tag(tag::STEP, &self.step.name),
                tag(tag::ATTEMPT, &self.number.to_string()),
                tag(tag::EPOCH, &self.shared.epoch.to_string()),
            ],
            ..self.step.template.clone()
        }
    }

    fn announce(&self, sandbox: &SandboxHandle) {
        let step = &self.step.name;
        let journal = &self.shared.journal;
        journal.note(Change::Created {
            step: step.to_string(),
            attempt: self.number,
            sandbox: sandbox.id.clone(),
        });
        journal.note(Change::Step {
            step: step.to_string(),
            attempt: self.number,
            status: StepStatus::Running,
            exit_code: None,
            reason: None,
        });
        let environment = self.step.modal_environment.as_deref();
        journal.note(Change::Metadata {
            step: Some(step.to_string()),
            values: names::step_sandbox_metadata(&sandbox.id, environment),
        });
        let on_run = [(names::step_sandbox_key(step), sandbox.id.clone().into())];
        journal.note(Change::Metadata {
            step: None,
            values: on_run.into_iter().collect(),
        });
        self.shared.events.send(Event::StepStarted {
            step: Rc::clone(step),
            attempt: self.number,
            sandbox: sandbox.id.clone(),
        });
    }

    /// Reads both outputs in the background: the end of the step does not wait
    /// for them, the end of the run does.
    fn follow_outputs(&self, sandbox: &SandboxHandle) {
        if !self.shared.events.wants_output() {
            return;
        }
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let shared = Rc::clone(&self.shared);
            let sandbox = sandbox.clone();
            let sink = shared
                .events
                .step_output(&self.step.name, self.number, stream);
            self.shared.in_background(async move {
                let _place = shared.outputs.acquire().await.ok();
                output::follow(&shared.client, &sandbox, stream, &sink).await;
            });
        }
    }

    async fn terminate(&self, sandbox: &SandboxHandle) {
        let patience = limits::TERMINATE_PATIENCE;
        let client = &self.shared.client;
        let ended = client
            .within(
                patience,
                "SandboxTerminate",
                client.terminate_sandbox(sandbox, patience),
            )
            .await;
        if let Err(error) = ended {
            self.shared.events.send(Event::Warning {
                step: Some(Rc::clone(&self.step.name)),
                message: format!(
                    "sandbox {} could not be ended and may still run: {error}",
                    sandbox.id
                ),
            });
        }
    }
}

fn create_failed(failure: CreateError) -> Report {
    let fatal = failure.error().is_fatal();
    Report {
        fatal: fatal.then(|| failure.error().clone().into()),
        ..Report::failed(format!("its sandbox could not be created: {failure}"))
    }
}

fn image_failed(error: ImageError) -> Report {
    match error {
        ImageError::Call(error) => Report::call_failed("its image is not available", error),
        error => Report::failed(error),
    }
}

/// Returns when the attempt is to end; never, when nobody can say so any more.
async fn is_cut(cut: &mut Cut) {
    if cut.wait_for(|cut| *cut).await.is_err() {
        std::future::pending::<()>().await;
    }
}
