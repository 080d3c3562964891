//! Drives a state machine: starts what it wants started, tells it what ended.
//! Generic over what a step is; [`super::controller`] makes them sandboxes.

use crate::dag::graph::StepIndex;
use crate::dag::machine::{AttemptEnd, Command, FinalStatus, Input, Machine};
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// What steps are and do.
pub trait Work {
    /// How an attempt ended.
    type Report: 'static;

    /// Lives one attempt at a step, from its start to its end.
    fn attempt(&self, attempt: Attempting) -> LocalBoxFuture<'static, Self::Report>;

    /// What the end of an attempt means for the run.
    fn end(&self, report: &Self::Report) -> AttemptEnd;

    /// A pause between two attempts at a step.
    fn pause(&self, duration: Duration) -> LocalBoxFuture<'static, ()>;

    /// Makes the end of an attempt or of a step known. `report` is of the last
    /// attempt, if there was one; `retry_in` is set when there will be another.
    fn ended(
        &self,
        step: StepIndex,
        status: FinalStatus,
        report: Option<&(u32, Self::Report)>,
        retry_in: Option<Duration>,
    );
}

/// One attempt, about to begin.
#[derive(Debug)]
pub struct Attempting {
    /// At which step.
    pub step: StepIndex,
    /// Counted from 0.
    pub number: u32,
    /// Somebody else has started it already.
    pub resumed: bool,
    /// When it is to end early.
    pub cut: Cut,
    /// A place is needed to start: as many may start at one time as there are
    /// places.
    pub starting: Rc<Semaphore>,
}

/// Tells an attempt to end.
pub type Cut = watch::Receiver<bool>;

/// Returns when the attempt is to end; never, when nobody can say so any more.
pub async fn is_cut(cut: &mut Cut) {
    if cut.wait_for(|cut| *cut).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A state machine under way.
pub struct Runner<W: Work> {
    machine: Machine,
    work: W,
    starting: Rc<Semaphore>,
    attempts: FuturesUnordered<LocalBoxFuture<'static, (StepIndex, u32, W::Report)>>,
    pauses: FuturesUnordered<LocalBoxFuture<'static, StepIndex>>,
    cuts: HashMap<StepIndex, watch::Sender<bool>>,
    is_cutting: bool,
    /// The last attempt of each step that has ended one.
    reports: HashMap<StepIndex, (u32, W::Report)>,
}

/// Something that happened, which the machine does not know yet.
pub enum Happened<R> {
    /// An attempt ended.
    Ended(StepIndex, u32, R),
    /// A pause is over.
    PauseOver(StepIndex),
}

impl<W: Work> Runner<W> {
    /// Starts the first steps. `starts_at_once` steps may be starting at one time.
    pub fn new(
        (machine, first_commands): (Machine, Vec<Command>),
        work: W,
        starts_at_once: NonZeroUsize,
    ) -> Self {
        let mut runner = Self {
            machine,
            work,
            starting: Rc::new(Semaphore::new(starts_at_once.get())),
            attempts: FuturesUnordered::new(),
            pauses: FuturesUnordered::new(),
            cuts: HashMap::new(),
            is_cutting: false,
            reports: HashMap::new(),
        };
        runner.carry_out(first_commands);
        runner
    }

    /// Where everything stands.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What the steps are.
    pub fn work(&self) -> &W {
        &self.work
    }

    /// Whether steps have been told to end.
    pub fn is_cutting(&self) -> bool {
        self.is_cutting
    }

    /// How the last attempt at a step ended, and its number.
    pub fn last_report(&self, step: StepIndex) -> Option<&(u32, W::Report)> {
        self.reports.get(&step)
    }

    /// Waits for the next thing to happen. Never returns when nothing is under
    /// way. May be dropped at any time without losing anything.
    pub async fn next(&mut self) -> Happened<W::Report> {
        tokio::select! {
            biased;
            (step, number, report) = self.attempts.select_next_some(), if !self.attempts.is_empty() => {
                Happened::Ended(step, number, report)
            }
            step = self.pauses.select_next_some(), if !self.pauses.is_empty() => {
                Happened::PauseOver(step)
            }
            else => std::future::pending().await,
        }
    }

    /// Tells the machine what happened and does what it says.
    pub fn settle(&mut self, happened: Happened<W::Report>) {
        let input = match happened {
            Happened::PauseOver(step) => Input::PauseOver(step),
            Happened::Ended(step, number, report) => {
                self.cuts.remove(&step);
                let end = self.work.end(&report);
                self.reports.insert(step, (number, report));
                Input::Ended(step, end)
            }
        };
        self.apply(input);
    }

    /// Tells the machine something and does what it says.
    pub fn apply(&mut self, input: Input) {
        let commands = self.machine.apply(input);
        self.carry_out(commands);
    }

    fn carry_out(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Start(step, number) => self.attempt(step, number, false),
                Command::Resume(step, number) => self.attempt(step, number, true),
                Command::Cut(step) => {
                    self.is_cutting = true;
                    if let Some(cut) = self.cuts.get(&step) {
                        let _ = cut.send(true);
                    }
                }
                Command::Pause(step, _, pause) => {
                    if let Some(report) = self.reports.get(&step) {
                        self.work
                            .ended(step, FinalStatus::Failed, Some(report), Some(pause));
                    }
                    let pause = self.work.pause(pause);
                    self.pauses.push(Box::pin(async move {
                        pause.await;
                        step
                    }));
                }
                Command::Report(step, status) => {
                    self.work.ended(step, status, self.reports.get(&step), None);
                }
            }
        }
    }

    fn attempt(&mut self, step: StepIndex, number: u32, resumed: bool) {
        let (sender, cut) = watch::channel(false);
        self.cuts.insert(step, sender);
        let attempt = self.work.attempt(Attempting {
            step,
            number,
            resumed,
            cut,
            starting: Rc::clone(&self.starting),
        });
        self.attempts
            .push(Box::pin(async move { (step, number, attempt.await) }));
    }
}

/// How many steps may run at one time; 0 means no limit.
///
/// # Errors
///
/// For a negative limit, with which nothing would ever start.
pub fn parallelism(limit: i64) -> Result<Option<NonZeroU32>, NegativeLimit> {
    if limit < 0 {
        return Err(NegativeLimit(limit));
    }
    // More than can be counted is no limit.
    Ok(u32::try_from(limit).ok().and_then(NonZeroU32::new))
}

/// A limit with which nothing would ever start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("max_parallelism is {0}, so no step could ever start; use 0 for no limit")]
pub struct NegativeLimit(i64);

/// Steps that ZenML starts at one time when nothing else is said.
const STARTS_AT_ONCE: NonZeroUsize = match NonZeroUsize::new(10) {
    Some(number) => number,
    None => NonZeroUsize::MIN,
};

/// How many steps may be starting at one time, from the text that ZenML's
/// variable `ZENML_DAG_RUNNER_WORKER_COUNT` holds; what is no number counts as
/// if it was not there.
///
/// # Errors
///
/// For zero and less.
pub fn starts_at_once(text: Option<&str>) -> Result<NonZeroUsize, NoWorkers> {
    let number = text.and_then(|text| crate::text::strip(text).parse::<i64>().ok());
    match number {
        None => Ok(STARTS_AT_ONCE),
        Some(number) => usize::try_from(number)
            .ok()
            .and_then(NonZeroUsize::new)
            .ok_or(NoWorkers),
    }
}

/// Nobody would be there to start a step. Worded as the original has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("max_workers must be greater than 0")]
pub struct NoWorkers;

#[cfg(test)]
mod tests {
    use super::{NegativeLimit, NoWorkers, parallelism, starts_at_once};

    #[test]
    fn limits_that_stop_everything_are_refused() {
        assert_eq!(parallelism(-1), Err(NegativeLimit(-1)));
        assert_eq!(parallelism(0), Ok(None));
        assert_eq!(parallelism(3).unwrap().map(u32::from), Some(3));
        assert_eq!(starts_at_once(Some("0")), Err(NoWorkers));
        assert_eq!(starts_at_once(Some("many")).unwrap().get(), 10);
        assert_eq!(starts_at_once(Some(" 2 ")).unwrap().get(), 2);
    }
}
