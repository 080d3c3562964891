//! The life of one sandbox: from the intent to the end.

use super::controller::{Shared, Workspace};
use super::events::{Event, RunError};
use super::plan::PlannedStep;
use super::publication;
use super::runner::{Cut, is_cut};
use super::store::{Change, Failure, RunStore, StepStatus, Trace};
use super::watch::Mark;
use crate::dag::machine::AttemptEnd;
use crate::limits;
use crate::modal::CallError;
use crate::modal::call::ThrottleListener;
use crate::modal::image::ImageError;
use crate::modal::output::{self, OutputStream};
use crate::modal::recovery::CreateError;
use crate::modal::result::Ending;
use crate::modal::sandbox::{SandboxHandle, SandboxSpec};
use crate::names::{self, tag};
use crate::platform::{Platform, TransportFault};
use std::rc::Rc;
use tokio::sync::{Semaphore, watch};
use tonic::Code;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What it means for the run.
    pub end: AttemptEnd,
    /// When it ended with one.
    pub exit_code: Option<i32>,
    /// Why it is no success.
    pub reason: Option<String>,
    /// Set when every other step would fail for the same reason.
    pub fatal: Option<RunError>,
    /// Set when its sandbox was to be ended and may still run: why.
    pub surviving: Option<CallError>,
}

impl Report {
    pub(super) fn failed(reason: impl ToString) -> Self {
        Self {
            end: AttemptEnd::Failed,
            exit_code: None,
            reason: Some(reason.to_string()),
            fatal: None,
            surviving: None,
        }
    }

    /// A failure after which a sandbox may still run.
    pub(super) fn in_doubt(reason: impl ToString) -> Self {
        Self {
            end: AttemptEnd::InDoubt,
            ..Self::failed(reason)
        }
    }

    pub(super) fn fatal(error: impl Into<RunError>) -> Self {
        let error = error.into();
        Self {
            fatal: Some(error.clone()),
            ..Self::failed(error)
        }
    }

    pub(super) fn call_failed(what: &str, error: CallError) -> Self {
        match error.is_fatal() {
            true => Self::fatal(error),
            false => Self::failed(format!("{what}: {error}")),
        }
    }

    fn ended(ending: &Ending) -> Self {
        Self {
            end: match ending.is_success() {
                true => AttemptEnd::Completed,
                false => AttemptEnd::Failed,
            },
            exit_code: Some(ending.return_code()),
            reason: ending.reason(),
            fatal: None,
            surviving: None,
        }
    }

    fn without_sandbox(end: AttemptEnd) -> Self {
        Self {
            end,
            exit_code: None,
            reason: None,
            fatal: None,
            surviving: None,
        }
    }
}

/// An attempt that has its sandbox.
pub(super) struct Started {
    pub(super) sandbox: SandboxHandle,
    /// The app that it is in.
    pub(super) app_id: String,
    /// Taken before it was created.
    pub(super) mark: Mark,
}

/// Why an attempt got no sandbox.
pub(super) enum NotStarted {
    /// It needs none: an earlier result stands for it.
    Cached,
    /// It was told to end before.
    Cut,
    /// Whether an earlier result stands for it could not be settled.
    NotCached(Report),
    /// It failed.
    Failed(Report),
}

impl From<Report> for NotStarted {
    fn from(report: Report) -> Self {
        Self::Failed(report)
    }
}

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
    /// What an earlier controller left of it; none: it begins here.
    pub trace: Option<Trace>,
    /// When it is to end early.
    pub cut: Cut,
    /// Steps that may be starting at one time.
    pub starting: Rc<Semaphore>,
}

impl<P: Platform, S: RunStore> Attempt<P, S> {
    /// Lives it. Whatever happens, no sandbox of it runs on afterwards, as far
    /// as Modal can be reached.
    pub async fn live(mut self) -> Report {
        let started = match self.trace.take() {
            None => self.start().await,
            Some(trace) => Box::pin(self.take_over(trace)).await,
        };
        let Started {
            sandbox,
            app_id,
            mark,
        } = match started {
            Ok(started) => started,
            Err(NotStarted::Cached) => return Report::without_sandbox(AttemptEnd::Cached),
            Err(NotStarted::Cut) => return Report::failed("ended on request"),
            Err(NotStarted::NotCached(report)) => return report,
            Err(NotStarted::Failed(report)) => return self.confirmed(report, Failure::Start).await,
        };
        // Dropped when the sandbox has ended.
        let _lives = self.follow_outputs(&sandbox);
        let environment = self.step.modal_environment.as_deref();
        let about = names::step_sandbox_metadata(&sandbox.id, environment);
        let ending = tokio::select! {
            biased;
            never = publication::keep_telling(&self.shared, &self.step.name, &about) => match never {},
            ending = self.shared.watch.ending(&sandbox, &app_id, mark) => ending,
            () = is_cut(&mut self.cut) => {
                let ended = self.terminate(&sandbox).await;
                return self.cut_short(&sandbox, ended);
            }
        };
        match ending {
            Ok(ending) => {
                self.confirmed(Report::ended(&ending), Failure::Sandbox)
                    .await
            }
            Err(error) => {
                if let Err(error) = self.terminate(&sandbox).await {
                    self.warn_surviving(&sandbox, &error);
                }
                let id = &sandbox.id;
                let what = format!("given up, its sandbox {id} does not answer for itself");
                let report = Report::call_failed(&what, error);
                self.confirmed(report, Failure::Silence).await
            }
        }
    }

    /// A failure, unless the step itself has recorded a success.
    async fn confirmed(&self, report: Report, failure: Failure) -> Report {
        if report.end != AttemptEnd::Failed || report.fatal.is_some() {
            return report;
        }
        let store = &self.shared.store;
        let recorded = store
            .succeeded_nevertheless(&self.shared.run_id, &self.step.name, failure)
            .await;
        match recorded {
            Ok(true) => Report {
                end: AttemptEnd::Completed,
                reason: None,
                ..report
            },
            Ok(false) => report,
            Err(reason) => Report {
                reason: Some(match report.reason {
                    Some(first) => format!("{first}; what it recorded is not known: {reason}"),
                    None => reason,
                }),
                ..report
            },
        }
    }

    /// The end of an attempt that was told to end.
    fn cut_short(&self, sandbox: &SandboxHandle, ended: Result<(), CallError>) -> Report {
        match ended {
            Err(error) if self.shared.store.steps_report_themselves() => Report {
                end: AttemptEnd::Surviving,
                surviving: Some(error.clone()),
                ..Report::failed(error)
            },
            Err(error) => {
                self.warn_surviving(sandbox, &error);
                Report::failed("ended on request")
            }
            Ok(()) => Report::failed("ended on request"),
        }
    }

    /// Until the sandbox exists and is recorded.
    async fn start(&mut self) -> Result<Started, NotStarted> {
        let shared = Rc::clone(&self.shared);
        // Nothing of this step exists yet, so a cut needs no clearing up.
        let cached = tokio::select! {
            biased;
            () = is_cut(&mut self.cut) => return Err(NotStarted::Cut),
            cached = shared.store.cached(&shared.run_id, &self.step.name) => cached,
        };
        if cached.map_err(|reason| NotStarted::NotCached(Report::failed(reason)))? {
            return Err(NotStarted::Cached);
        }
        let trace = Trace {
            idempotency_key: shared.client.new_idempotency_key(),
            app_id: self.workspace.app_id.clone(),
            sandbox: None,
        };
        self.begin(trace).await
    }

    /// The same, where it is known that there is no sandbox.
    pub(super) async fn begin(&mut self, trace: Trace) -> Result<Started, NotStarted> {
        let shared = Rc::clone(&self.shared);
        let workspace = Rc::clone(&self.workspace);
        let starting = Rc::clone(&self.starting);
        let image = workspace
            .images
            .from_registry(&self.step.image, self.step.login.as_ref());
        let image_id = tokio::select! {
            biased;
            () = is_cut(&mut self.cut) => return Err(NotStarted::Cut),
            image = image => image.map_err(image_failed)?,
        };
        let _places = tokio::select! {
            biased;
            () = is_cut(&mut self.cut) => return Err(NotStarted::Cut),
            places = async {
                let turn = starting.acquire().await.ok();
                let place = shared.starting.place(shared.client.platform()).await;
                // While nobody takes events nothing more is started.
                shared.events.room().await;
                (turn, place)
            } => places,
        };
        // Thousands may be waiting for a place: what comes after it is made
        // when it is needed.
        Ok(Box::pin(self.create(trace, image_id)).await?)
    }

    async fn create(&self, trace: Trace, image_id: String) -> Result<Started, Report> {
        let shared = &self.shared;
        let Trace {
            idempotency_key: key,
            app_id,
            ..
        } = trace;
        // Recorded again for a repeated create: nothing is created by whoever does
        // not hold the run.
        let intent = Change::Intent {
            step: self.step.name.to_string(),
            attempt: self.number,
            idempotency_key: key.clone(),
            app_id: app_id.clone(),
        };
        shared.journal.record(intent).await.map_err(Report::fatal)?;
        let mark = shared.watch.mark(&app_id);
        let spec = self.spec(app_id.clone(), image_id);
        // From here on a sandbox may exist whatever happens to the answer, so a
        // cut has to wait for it.
        let sandbox = shared
            .client
            .create_sandbox(&spec, &key, Some(self.throttle_listener()))
            .await
            .map_err(create_failed)?;
        shared.starting.succeeded();
        self.announce(&sandbox);
        Ok(Started {
            sandbox,
            app_id,
            mark,
        })
    }

    fn throttle_listener(&self) -> ThrottleListener {
        let starting = Rc::clone(&self.shared.starting);
        ThrottleListener(Rc::new(move |now, wait| starting.throttled(now, wait)))
    }

    fn spec(&self, app_id: String, image_id: String) -> SandboxSpec {
        SandboxSpec {
            app_id,
            image_id,
            name: Some(names::sandbox_name(&self.step.name, self.number)),
            tags: self.tags(),
            ..self.step.template.clone()
        }
    }

    /// Whose its sandbox is.
    pub(super) fn tags(&self) -> Vec<(String, String)> {
        let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            tag(tag::RUN, &self.shared.run_id),
            tag(tag::STEP, &self.step.name),
            tag(tag::ATTEMPT, &self.number.to_string()),
            tag(tag::EPOCH, &self.shared.epoch.to_string()),
        ]
    }

    pub(super) fn announce(&self, sandbox: &SandboxHandle) {
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
        self.tell_started(sandbox);
    }

    pub(super) fn tell_started(&self, sandbox: &SandboxHandle) {
        self.shared.events.send(Event::StepStarted {
            step: Rc::clone(&self.step.name),
            attempt: self.number,
            sandbox: sandbox.id.clone(),
        });
    }

    /// Reads both outputs in the background: the end of the step does not wait
    /// for them, the end of the run does. Wants to hear of the end of the
    /// sandbox by the drop of what it gives.
    fn follow_outputs(&self, sandbox: &SandboxHandle) -> watch::Sender<()> {
        let (lives, ended) = watch::channel(());
        if !self.shared.events.wants_output() {
            return lives;
        }
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let shared = Rc::clone(&self.shared);
            let sandbox = sandbox.clone();
            let mut ended = ended.clone();
            let sink = shared
                .events
                .step_output(&self.step.name, self.number, stream);
            self.shared.in_background(async move {
                // Outputs of ended sandboxes must not wait for those of others
                // that run for days.
                let _place = tokio::select! {
                    biased;
                    place = shared.outputs.acquire() => place.ok(),
                    _ = ended.changed() => shared.late_outputs.acquire().await.ok(),
                };
                Box::pin(output::follow(&shared.client, &sandbox, stream, &sink)).await;
            });
        }
        lives
    }

    /// Ends a sandbox, if it is still ours to end. One that is not there any more
    /// is no failure.
    pub(super) async fn terminate(&self, sandbox: &SandboxHandle) -> Result<(), CallError> {
        let patience = limits::TERMINATE_PATIENCE;
        let client = &self.shared.client;
        let hurried = async {
            self.shared.hurry().await;
            client.platform().sleep(limits::TERMINATE_IN_A_HURRY).await;
        };
        let terminating = async {
            if !self.shared.journal.holds().await {
                return Ok(());
            }
            let ending = client.terminate_sandbox(sandbox, patience);
            match client.within(patience, "SandboxTerminate", ending).await {
                Err(error) if error.is(Code::NotFound) => Ok(()),
                ended => ended,
            }
        };
        tokio::select! {
            biased;
            ended = terminating => ended,
            () = hurried => Err(CallError::Transport {
                operation: "SandboxTerminate",
                fault: TransportFault::Broken {
                    reason: format!("no answer within {:?}", limits::TERMINATE_IN_A_HURRY),
                },
            }),
        }
    }

    pub(super) fn warn_surviving(&self, sandbox: &SandboxHandle, error: &CallError) {
        self.shared.events.send(Event::Warning {
            step: Some(Rc::clone(&self.step.name)),
            message: format!(
                "sandbox {} could not be ended and may still run: {error}",
                sandbox.id
            ),
        });
    }
}

fn create_failed(failure: CreateError) -> Report {
    let fatal = failure.error().is_fatal();
    let reason = format!("its sandbox could not be created: {failure}");
    Report {
        fatal: fatal.then(|| failure.error().clone().into()),
        ..match failure {
            CreateError::Failed(_) => Report::failed(reason),
            CreateError::InDoubt { .. } => Report::in_doubt(reason),
        }
    }
}

fn image_failed(error: ImageError) -> Report {
    match error {
        ImageError::Call(error) => Report::call_failed("its image is not available", error),
        error => Report::failed(error),
    }
}
