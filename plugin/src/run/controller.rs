//! Carries out what the state machine commands, and tells it what happened.

use super::attempt::{Attempt, Report};
use super::events::{Event, EventSink, RunError, StepFinished};
use super::journal::Journal;
use super::plan::{Plan, PlannedStep};
use super::starting::Starting;
use super::store::{Change, RunStore, StepStatus, StoreError};
use super::watch::Watch;
use crate::dag::graph::StepIndex;
use crate::dag::machine::{AttemptEnd, Command, FinalStatus, Input, Machine, RunEnd, StopMode};
use crate::limits;
use crate::modal::Client;
use crate::modal::image::Images;
use crate::names::metadata;
use crate::platform::Platform;
use futures::future::{FutureExt as _, LocalBoxFuture};
use futures::stream::{FuturesUnordered, StreamExt as _};
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};

/// What all attempts of a run share.
#[derive(Debug)]
pub struct Shared<P, S> {
    /// Names the run.
    pub run_id: String,
    /// Of the claim on the run.
    pub epoch: u64,
    /// The way to Modal.
    pub client: Client<P>,
    /// The way to the run store.
    pub journal: Rc<Journal<S>>,
    /// The way to the host.
    pub events: EventSink,
    /// Learns when sandboxes end.
    pub watch: Watch<P>,
    /// Sandboxes that may be created at one time.
    pub starting: Rc<Starting>,
    /// Outputs that may be read while their sandboxes run.
    pub outputs: Semaphore,
    /// Outputs of ended sandboxes that may be read besides.
    pub late_outputs: Semaphore,
    /// Becomes true when a forced stop is asked for.
    hurry: watch::Sender<bool>,
    background: mpsc::UnboundedSender<LocalBoxFuture<'static, ()>>,
}

impl<P: Platform, S: RunStore> Shared<P, S> {
    /// Returns once a forced stop has been asked for.
    pub async fn hurry(&self) {
        // The sender is ours and lives as long as this.
        let _ = self.hurry.subscribe().wait_for(|hurry| *hurry).await;
    }

    /// Goes on with something beside the steps, until the run ends.
    pub fn in_background(&self, work: impl Future<Output = ()> + 'static) {
        let _ = self.background.send(Box::pin(work));
    }
}

/// An app in one Modal environment, and its images.
#[derive(Debug)]
pub struct Workspace<P> {
    /// Modal's id of the app.
    pub app_id: String,
    /// Its images.
    pub images: Images<P>,
}

/// A run that Modal and the run store have accepted.
#[derive(Debug)]
pub struct Controller<P, S> {
    shared: Rc<Shared<P, S>>,
    store: S,
    steps: Vec<PreparedStep<P>>,
    machine: Machine,
    first_commands: Vec<Command>,
    background: mpsc::UnboundedReceiver<LocalBoxFuture<'static, ()>>,
}

#[derive(Debug)]
struct PreparedStep<P> {
    plan: Rc<PlannedStep>,
    workspace: Rc<Workspace<P>>,
}

impl<P: Platform, S: RunStore> Controller<P, S> {
    /// Takes charge of the run and meets Modal for the first time. No sandbox
    /// exists yet.
    ///
    /// # Errors
    ///
    /// When the run store or Modal says no or is not there.
    pub async fn prepare(
        plan: Plan,
        client: Client<P>,
        store: S,
        events: EventSink,
    ) -> Result<Self, RunError> {
        let claim = store.open(&plan.run_id).await?;
        let journal = Journal::new(store.clone(), plan.run_id.clone(), claim.epoch);
        let needs_token = plan.steps.iter().any(|step| step.template.gpu.is_none());
        let mut warming_up = match needs_token && client.options().sandbox_v2 {
            true => Some(warm_up(client.clone()).boxed_local()),
            false => None,
        };
        let mut workspaces = BTreeMap::new();
        let mut steps = Vec::with_capacity(plan.steps.len());
        for step in plan.steps {
            let environment = step.modal_environment.clone();
            let workspace = match workspaces.get(&environment) {
                Some(known) => Rc::clone(known),
                None => {
                    let lookup = client.lookup_app(&plan.app_name, environment.as_deref());
                    let app_id = beside(&mut warming_up, lookup).await?;
                    let images = Images::new(client.clone(), app_id.clone());
                    let fresh = Rc::new(Workspace { app_id, images });
                    workspaces.insert(environment, Rc::clone(&fresh));
                    fresh
                }
            };
            steps.push(PreparedStep {
                plan: step,
                workspace,
            });
        }
        for (step, message) in plan.warnings {
            events.send(Event::Warning {
                step: Some(step),
                message,
            });
        }
        let about_run = [
            (metadata::ORCHESTRATOR_RUN_ID, plan.run_id.clone()),
            (metadata::APP_NAME, plan.app_name),
        ];
        journal.note(Change::Metadata {
            step: None,
            values: about_run
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.into()))
                .collect(),
        });
        let retries = steps.iter().map(|step| step.plan.retry).collect();
        let (machine, first_commands) = Machine::new(
            plan.graph,
            plan.mode,
            plan.max_parallelism,
            retries,
            limits::STEP_RETRY_PAUSE_LONGEST,
        );
        let (sender, background) = mpsc::unbounded_channel();
        if let Some(rest) = warming_up {
            let _ = sender.send(rest);
        }
        let shared = Rc::new(Shared {
            epoch: claim.epoch,
            watch: Watch::new(client.clone(), &plan.run_id),
            run_id: plan.run_id,
            client,
            journal,
            events,
            starting: Rc::default(),
            outputs: Semaphore::new(limits::OUTPUTS_AT_ONCE),
            late_outputs: Semaphore::new(limits::LATE_OUTPUTS_AT_ONCE),
            hurry: watch::channel(false).0,
            background: sender,
        });
        Ok(Self {
            shared,
            store,
            steps,
            machine,
            first_commands,
            background,
        })
    }

    /// Runs it to its end. The last event says how it ended; by then all that
    /// can be recorded is recorded.
    pub async fn drive(mut self) {
        let shared = Rc::clone(&self.shared);
        let writing = Rc::clone(&shared.journal).write();
        let watching = shared.watch.run();
        let running = async {
            let mut under_way = UnderWay::default();
            let (end, mut error) = self.run_steps(&mut under_way).await;
            self.drain_background(&mut under_way, end).await;
            self.warn();
            shared.journal.note(Change::Run {
                end,
                reason: error.as_ref().map(ToString::to_string),
            });
            if let Err(failure) = shared.journal.flush().await {
                error.get_or_insert(RunError::Store(failure));
            }
            shared.events.send(Event::RunFinished {
                end,
                error,
                steps: self.final_statuses(),
            });
        };
        tokio::select! {
            biased;
            () = running => {}
            () = writing => {}
            () = watching => {}
        }
    }

    async fn run_steps(&mut self, under_way: &mut UnderWay) -> (RunEnd, Option<RunError>) {
        let shared = Rc::clone(&self.shared);
        let store_failure = shared.journal.failed();
        let mut store_failure = pin!(store_failure);
        let mut error = None;
        let first_commands = std::mem::take(&mut self.first_commands);
        self.carry_out(first_commands, under_way);
        under_way.listen_for_stop(&self.store, &shared.run_id, None);
        loop {
            if let Some(end) = self.machine.end() {
                return (end, error);
            }
            // Steps that are to be ended are ended even if nobody listens.
            let is_held_up = shared.events.is_full() && !under_way.is_cutting;
            let input = tokio::select! {
                biased;
                stop = under_way.stop.select_next_some(), if !under_way.stop.is_empty() => {
                    match stop {
                        Ok(mode) => {
                            if mode < StopMode::Force {
                                under_way.listen_for_stop(&self.store, &shared.run_id, Some(mode));
                            }
                            under_way.stopped = Some(mode);
                            shared.hurry.send_replace(mode == StopMode::Force);
                            Input::Stop(mode)
                        }
                        Err(failure) => abort(&mut error, failure.into()),
                    }
                }
                failure = &mut store_failure, if error.is_none() => {
                    if failure == StoreError::Fenced {
                        // Somebody else has the run now, and its sandboxes with
                        // it: nothing of it may be touched any more.
                        return (RunEnd::Failed, Some(failure.into()));
                    }
                    abort(&mut error, failure.into())
                }
                () = shared.events.room(), if is_held_up => continue,
                ended = under_way.attempts.select_next_some(), if !is_held_up && !under_way.attempts.is_empty() => {
                    let (step, number, report) = ended;
                    if let Some(fatal) = report.fatal.clone() {
                        let commands = self.machine.apply(abort(&mut error, fatal));
                        self.carry_out(commands, under_way);
                    }
                    under_way.cuts.remove(&step);
                    let end = match report.success {
                        true => AttemptEnd::Completed,
                        false => AttemptEnd::Failed,
                    };
                    under_way.reports.insert(step, (number, report));
                    Input::Ended(step, end)
                }
                step = under_way.pauses.select_next_some(), if !under_way.pauses.is_empty() => {
                    Input::PauseOver(step)
                }
                Some(work) = self.background.recv() => {
                    under_way.background.push(work);
                    continue;
                }
                () = under_way.background.select_next_some(), if !under_way.background.is_empty() => {
                    continue;
                }
            };
            let commands = self.machine.apply(input);
            self.carry_out(commands, under_way);
            self.warn();
        }
    }

    fn carry_out(&self, commands: Vec<Command>, under_way: &mut UnderWay) {
        for command in commands {
            match command {
                Command::Start(step, number) => self.start(step, number, under_way),
                Command::Cut(step) => {
                    under_way.is_cutting = true;
                    if let Some(cut) = under_way.cuts.get(&step) {
                        let _ = cut.send(true);
                    }
                }
                Command::Pause(step, _, pause) => {
                    let retry_in = Some(pause.as_secs_f64());
                    self.report(step, FinalStatus::Failed, retry_in, under_way);
                    let platform = self.shared.client.platform().clone();
                    under_way.pauses.push(Box::pin(async move {
                        platform.sleep(pause).await;
                        step
                    }));
                }
                Command::Report(step, status) => self.report(step, status, None, under_way),
            }
        }
    }

    fn start(&self, step: StepIndex, number: u32, under_way: &mut UnderWay) {
        let Some(prepared) = self.steps.get(step.get()) else {
            return;
        };
        let (sender, cut) = watch::channel(false);
        under_way.cuts.insert(step, sender);
        let attempt = Attempt {
            shared: Rc::clone(&self.shared),
            workspace: Rc::clone(&prepared.workspace),
            step: Rc::clone(&prepared.plan),
            number,
            cut,
        };
        under_way.attempts.push(Box::pin(
            async move { (step, number, attempt.live().await) },
        ));
    }

    /// Makes the end of an attempt or of a step known: to the store and to the
    /// host.
    fn report(
        &self,
        step: StepIndex,
        status: FinalStatus,
        retry_in: Option<f64>,
        under_way: &mut UnderWay,
    ) {
        let Some(prepared) = self.steps.get(step.get()) else {
            return;
        };
        let last = match retry_in {
            Some(_) => under_way.reports.get(&step).cloned(),
            None => under_way.reports.remove(&step),
        };
        let (attempt, report) = match last {
            Some((attempt, report)) => (attempt, Some(report)),
            None => (0, None),
        };
        let exit_code = report.as_ref().and_then(|report| report.exit_code);
        let reason = report.and_then(|report| report.reason);
        let name = &prepared.plan.name;
        self.shared.journal.note(Change::Step {
            step: name.to_string(),
            attempt,
            status: match retry_in {
                Some(_) => StepStatus::Pending,
                None => StepStatus::Final(status),
            },
            exit_code,
            reason: reason.clone(),
        });
        self.shared.events.send(Event::StepFinished(StepFinished {
            step: Rc::clone(name),
            attempt,
            status,
            exit_code,
            reason,
            retry_in,
        }));
    }

    /// Goes on with what was begun beside the steps, for a while.
    async fn drain_background(&mut self, under_way: &mut UnderWay, end: RunEnd) {
        while let Ok(work) = self.background.try_recv() {
            under_way.background.push(work);
        }
        let platform = self.shared.client.platform().clone();
        let patience = |stopped: bool| match stopped {
            true => limits::OUTPUT_AFTER_STOP,
            false => limits::OUTPUT_AFTER_END,
        };
        let forced = under_way.stopped == Some(StopMode::Force) || end == RunEnd::Stopped;
        let mut patience_left = patience(forced);
        let mut last_end = platform.monotonic();
        let mut time_is_up: LocalBoxFuture<'static, ()> =
            Box::pin(sleep(platform.clone(), patience_left));
        while !under_way.background.is_empty() {
            tokio::select! {
                biased;
                () = under_way.background.select_next_some() => last_end = platform.monotonic(),
                _ = under_way.stop.select_next_some(), if !under_way.stop.is_empty() => {
                    patience_left = patience(true);
                    time_is_up = Box::pin(sleep(platform.clone(), patience_left));
                }
                () = &mut time_is_up => {
                    // What goes on goes on, unless the run was stopped.
                    let waited = platform.monotonic().saturating_sub(last_end);
                    let more = patience_left.saturating_sub(waited);
                    if !more.is_zero() && patience_left > patience(true) {
                        time_is_up = Box::pin(sleep(platform.clone(), more));
                        continue;
                    }
                    self.shared.events.send(Event::Warning {
                        step: None,
                        message: "the rest of what steps wrote was not waited for".into(),
                    });
                    return;
                }
            }
        }
    }

    /// Passes on what Modal warned about.
    fn warn(&self) {
        for message in self.shared.client.drain_warnings() {
            self.shared.events.send(Event::Warning {
                step: None,
                message,
            });
        }
    }

    fn final_statuses(&self) -> Vec<(String, FinalStatus)> {
        let graph = self.machine.graph();
        let status = |step| {
            Some((
                graph.name(step).to_owned(),
                self.machine.final_status(step)?,
            ))
        };
        graph.steps().filter_map(status).collect()
    }
}

/// Everything that is being waited for.
#[derive(Default)]
struct UnderWay {
    attempts: FuturesUnordered<LocalBoxFuture<'static, (StepIndex, u32, Report)>>,
    pauses: FuturesUnordered<LocalBoxFuture<'static, StepIndex>>,
    background: FuturesUnordered<LocalBoxFuture<'static, ()>>,
    /// None or one.
    stop: FuturesUnordered<LocalBoxFuture<'static, Result<StopMode, StoreError>>>,
    stopped: Option<StopMode>,
    /// Whether steps have been told to end.
    is_cutting: bool,
    cuts: HashMap<StepIndex, watch::Sender<bool>>,
    /// The last attempt of each step that has ended one.
    reports: HashMap<StepIndex, (u32, Report)>,
}

impl UnderWay {
    fn listen_for_stop<S: RunStore>(&mut self, store: &S, run: &str, known: Option<StopMode>) {
        let store = store.clone();
        let run = run.to_owned();
        self.stop.push(Box::pin(
            async move { store.wait_for_stop(&run, known).await },
        ));
    }
}

async fn warm_up<P: Platform>(client: Client<P>) {
    client.warm_up().await;
}

/// Does something, and something else besides for as long as that takes.
async fn beside<T>(
    besides: &mut Option<LocalBoxFuture<'static, ()>>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    if let Some(running) = besides {
        tokio::select! {
            biased;
            result = &mut work => return result,
            () = running => {}
        }
        *besides = None;
    }
    work.await
}

/// Keeps the first error that ends a run.
fn abort(error: &mut Option<RunError>, cause: RunError) -> Input {
    error.get_or_insert(cause);
    Input::Abort
}

async fn sleep<P: Platform>(platform: P, duration: Duration) {
    platform.sleep(duration).await;
}
