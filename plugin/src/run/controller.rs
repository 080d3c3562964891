//! Carries out what the state machine commands, and tells it what happened.

use super::attempt::{Attempt, Report};
use super::events::{Event, EventSink, RunError, StepFinished};
use super::journal::Journal;
use super::left::Left;
use super::plan::{Plan, PlannedStep};
use super::runner::{Attempting, Happened, Runner, Work};
use super::starting::Starting;
use super::store::{Change, RunStore, StepStatus, StoreError, Trace};
use super::watch::Watch;
use crate::dag::graph::StepIndex;
use crate::dag::machine::{AttemptEnd, FinalStatus, Input, Machine, RunEnd, Standing, StopMode};
use crate::limits;
use crate::modal::image::Images;
use crate::modal::{CallError, Client};
use crate::names::metadata;
use crate::platform::Platform;
use futures::future::{FutureExt as _, LocalBoxFuture};
use futures::stream::{FuturesUnordered, StreamExt as _};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::future::{Future, ready};
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
    /// What is known of the run, and where it is recorded.
    pub store: S,
    /// The way to the run store.
    pub journal: Rc<Journal<S>>,
    /// The way to the host.
    pub events: EventSink,
    /// Learns when sandboxes end.
    pub watch: Watch<P>,
    /// How many sandboxes may be created at one time, as the service takes it.
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
pub struct Controller<P: Platform, S: RunStore> {
    shared: Rc<Shared<P, S>>,
    /// The stop that was asked for before.
    stop: Option<StopMode>,
    runner: Runner<Steps<P, S>>,
    background: mpsc::UnboundedReceiver<LocalBoxFuture<'static, ()>>,
}

/// The steps of a run: each attempt is a sandbox.
struct Steps<P, S> {
    shared: Rc<Shared<P, S>>,
    steps: Vec<PreparedStep<P>>,
    /// What an earlier controller left of attempts, until they are gone on with.
    traces: RefCell<HashMap<StepIndex, Trace>>,
}

struct PreparedStep<P> {
    plan: Rc<PlannedStep>,
    workspace: Rc<Workspace<P>>,
}

impl<P: Platform, S: RunStore> Controller<P, S> {
    /// Takes charge of the run and meets Modal for the first time. Nothing is
    /// created yet, and nothing that an earlier controller left is touched.
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
        let epoch = claim.epoch;
        let journal = Journal::new(store.clone(), plan.run_id.clone(), epoch);
        let left = Left::of(claim, &plan.graph)?;
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
        let stop = left.begun.stop;
        let machine = Machine::resumed(
            plan.graph,
            plan.mode,
            plan.max_parallelism,
            retries,
            limits::STEP_RETRY_PAUSE_LONGEST,
            &left.begun,
        );
        let (sender, background) = mpsc::unbounded_channel();
        if let Some(rest) = warming_up {
            let _ = sender.send(rest);
        }
        let shared = Rc::new(Shared {
            epoch,
            watch: Watch::new(client.clone(), &plan.run_id),
            run_id: plan.run_id,
            client,
            store,
            journal,
            events,
            starting: Rc::default(),
            outputs: Semaphore::new(limits::OUTPUTS_AT_ONCE),
            late_outputs: Semaphore::new(limits::LATE_OUTPUTS_AT_ONCE),
            hurry: watch::channel(stop == Some(StopMode::Force)).0,
            background: sender,
        });
        let work = Steps {
            shared: Rc::clone(&shared),
            steps,
            traces: RefCell::new(left.traces),
        };
        Ok(Self {
            shared,
            stop,
            runner: Runner::new(machine, work, limits::STARTING_AT_ONCE),
            background,
        })
    }

    /// Runs it to its end, and gives where each step stands then, in the order
    /// of declaration. The last event says how the run ended; by then all that
    /// can be recorded is recorded.
    pub async fn drive(mut self) -> Driven {
        let shared = Rc::clone(&self.shared);
        let writing = Rc::clone(&shared.journal).write();
        let watching = shared.watch.run();
        let running = async {
            let mut beside = Beside::default();
            let (end, mut error) = self.run_steps(&mut beside).await;
            self.drain_background(&mut beside, end).await;
            self.warn();
            shared.journal.note(Change::Run {
                end,
                reason: error.as_ref().map(ToString::to_string),
            });
            let mut end = end;
            if let Err(failure) = shared.journal.flush().await {
                error.get_or_insert(RunError::Store(failure));
                // A success that is not recorded is none: somebody else may have
                // the run, and say so.
                if end == RunEnd::Completed {
                    end = RunEnd::Failed;
                }
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
        self.standings()
    }

    async fn run_steps(&mut self, beside: &mut Beside) -> (RunEnd, Option<RunError>) {
        let shared = Rc::clone(&self.shared);
        let store_failure = shared.journal.failed();
        let mut store_failure = pin!(store_failure);
        let mut error = None;
        beside.stopped = self.stop;
        // Nothing goes further than force.
        if self.stop != Some(StopMode::Force) {
            beside.listen_for_stop(&shared.store, &shared.run_id, self.stop);
        }
        loop {
            if let Some(end) = self.runner.machine().end() {
                return (end, error);
            }
            // Steps that are to be ended are ended even if nobody listens.
            let is_held_up = shared.events.is_full() && !self.runner.is_cutting();
            let input = tokio::select! {
                biased;
                stop = beside.stop.select_next_some(), if !beside.stop.is_empty() => {
                    match stop {
                        Ok(mode) => self.stop(mode, beside),
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
                happened = self.runner.next(), if !is_held_up => {
                    if let Happened::Ended(_, _, Report { fatal: Some(fatal), .. }) = &happened {
                        self.runner.apply(abort(&mut error, fatal.clone()));
                    }
                    self.runner.settle(happened);
                    self.warn();
                    continue;
                }
                Some(work) = self.background.recv() => {
                    beside.background.push(work);
                    continue;
                }
                () = beside.background.select_next_some(), if !beside.background.is_empty() => {
                    continue;
                }
            };
            self.runner.apply(input);
            self.warn();
        }
    }

    /// What a stop means for the machine.
    fn stop(&self, mode: StopMode, beside: &mut Beside) -> Input {
        let shared = &self.shared;
        beside.stopped = Some(mode);
        shared.hurry.send_replace(mode == StopMode::Force);
        match mode {
            StopMode::Graceful if shared.store.steps_report_themselves() => Input::Leave,
            StopMode::Graceful => {
                beside.listen_for_stop(&shared.store, &shared.run_id, Some(mode));
                Input::Stop(mode)
            }
            StopMode::Force => Input::Stop(mode),
        }
    }

    /// Goes on with what was begun beside the steps, for a while.
    async fn drain_background(&mut self, beside: &mut Beside, end: RunEnd) {
        while let Ok(work) = self.background.try_recv() {
            beside.background.push(work);
        }
        let platform = self.shared.client.platform().clone();
        let patience = |stopped: bool| match stopped {
            true => limits::OUTPUT_AFTER_STOP,
            false => limits::OUTPUT_AFTER_END,
        };
        let forced = beside.stopped == Some(StopMode::Force) || end == RunEnd::Stopped;
        let mut patience_left = patience(forced);
        let mut last_end = platform.monotonic();
        let mut time_is_up: LocalBoxFuture<'static, ()> =
            Box::pin(sleep(platform.clone(), patience_left));
        while !beside.background.is_empty() {
            tokio::select! {
                biased;
                () = beside.background.select_next_some() => last_end = platform.monotonic(),
                _ = beside.stop.select_next_some(), if !beside.stop.is_empty() => {
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
        let machine = self.runner.machine();
        let status = |step| {
            let name = machine.graph().name(step).to_owned();
            Some((name, machine.final_status(step)?))
        };
        machine.graph().steps().filter_map(status).collect()
    }

    fn standings(&self) -> Driven {
        let machine = self.runner.machine();
        let steps = machine.graph().steps();
        let standing = |step| {
            let name = machine.graph().name(step).to_owned();
            (name, machine.standing(step))
        };
        let surviving = |step| {
            let (_, report) = self.runner.last_report(step)?;
            let name = machine.graph().name(step).to_owned();
            Some((name, report.surviving.clone()?))
        };
        Driven {
            surviving: machine.graph().steps().filter_map(surviving).collect(),
            steps: steps.map(standing).collect(),
        }
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Driven {
    /// Where each step stands, in the order of declaration.
    pub steps: Vec<(String, Standing)>,
    /// Steps whose sandboxes were to be ended and may still run, and why.
    pub surviving: Vec<(String, CallError)>,
}

impl<P: Platform, S: RunStore> Work for Steps<P, S> {
    type Report = Report;

    fn attempt(&self, attempting: Attempting) -> LocalBoxFuture<'static, Report> {
        let Some(prepared) = self.steps.get(attempting.step.get()) else {
            return Box::pin(ready(Report::failed("there is no such step")));
        };
        let attempt = Attempt {
            shared: Rc::clone(&self.shared),
            workspace: Rc::clone(&prepared.workspace),
            step: Rc::clone(&prepared.plan),
            number: attempting.number,
            trace: match attempting.resumed {
                true => self.traces.borrow_mut().remove(&attempting.step),
                false => None,
            },
            cut: attempting.cut,
            starting: attempting.starting,
        };
        Box::pin(attempt.live())
    }

    fn end(&self, report: &Report) -> AttemptEnd {
        report.end
    }

    fn pause(&self, duration: Duration) -> LocalBoxFuture<'static, ()> {
        Box::pin(sleep(self.shared.client.platform().clone(), duration))
    }

    /// Makes the end of an attempt or of a step known: to the store and to the
    /// host.
    fn ended(
        &self,
        step: StepIndex,
        status: FinalStatus,
        report: Option<&(u32, Report)>,
        retry_in: Option<Duration>,
    ) {
        let Some(prepared) = self.steps.get(step.get()) else {
            return;
        };
        let (attempt, report) = match report {
            Some((attempt, report)) => (*attempt, Some(report)),
            None => (0, None),
        };
        let exit_code = report.and_then(|report| report.exit_code);
        let reason = report.and_then(|report| report.reason.clone());
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
            retry_in: retry_in.map(|pause| pause.as_secs_f64()),
        }));
    }
}

/// What is being waited for beside the steps.
#[derive(Default)]
struct Beside {
    background: FuturesUnordered<LocalBoxFuture<'static, ()>>,
    /// None or one.
    stop: FuturesUnordered<LocalBoxFuture<'static, Result<StopMode, StoreError>>>,
    stopped: Option<StopMode>,
}

impl Beside {
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
