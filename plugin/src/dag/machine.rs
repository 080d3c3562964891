//! The state of a run: a pure state machine. Something happened, in; something
//! is to be done, out. It performs no I/O, knows no time, and its cost over a
//! whole run is linear in steps plus edges.

use super::graph::{Graph, StepIndex};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;
use std::time::Duration;

/// What happens to the rest of a run when a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutionMode {
    /// Running steps are ended, no more are started.
    FailFast,
    /// Running steps finish, no more are started.
    StopOnFailure,
    /// Only steps below the failed one are skipped.
    ContinueOnFailure,
}

/// How a run is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopMode {
    /// Running steps finish, no more are started.
    Graceful,
    /// Running steps are ended, no more are started.
    Force,
}

/// What happens when one step fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// Further attempts after the first.
    pub max_retries: u32,
    /// Pause before the first further attempt.
    pub delay: Duration,
    /// Factor by which the pause grows with each further attempt.
    pub backoff: f64,
}

impl Retry {
    /// One attempt only.
    pub const NEVER: Self = Self {
        max_retries: 0,
        delay: Duration::ZERO,
        backoff: 1.0,
    };

    /// The pause before further attempt number `attempt` (from 1), at most
    /// `longest`.
    fn pause_before(&self, attempt: u32, longest: Duration) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.delay.as_secs_f64() * self.backoff.powi(exponent);
        Duration::try_from_secs_f64(seconds).map_or(longest, |pause| pause.min(longest))
    }
}

/// How a step ended. There is no way back from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinalStatus {
    /// It did what it should.
    Completed,
    /// An earlier result stands for it.
    Cached,
    /// It failed, and no attempt is left.
    Failed,
    /// It was running and was cut short.
    Cancelled,
    /// It never ran.
    Skipped,
}

impl FinalStatus {
    /// Whether the steps below may run.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Completed | Self::Cached)
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// All steps completed or were cached.
    Completed,
    /// A step failed, or the run was aborted.
    Failed,
    /// It was stopped on request before its last step had ended.
    Stopped,
}

/// How one attempt at a step ended, as its sandbox tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptEnd {
    /// Success.
    Completed,
    /// No sandbox was needed.
    Cached,
    /// Failure, including one to start.
    Failed,
    /// Somebody else cut it short.
    Cancelled,
    /// It was told to end, and may still run: whoever was to end it could not.
    Surviving,
    /// It failed, and may still run: a further attempt would be a second one.
    InDoubt,
}

/// Where a step of a run begins that somebody else has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// Nothing is known of it.
    Fresh,
    /// It was about to start: its turn comes without a look at the steps before
    /// it.
    Ready,
    /// This attempt was begun, and is to be gone on with.
    Running(u32),
    /// It failed before, and waits for this further attempt.
    Pausing(u32),
    /// It has ended.
    Final(FinalStatus),
}

/// What somebody else has left of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Begun {
    /// One entry per step; a missing one means a fresh step.
    pub steps: Vec<Beginning>,
    /// The stop that was asked for.
    pub stop: Option<StopMode>,
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Waits for the steps before it, or waited when the run was stopped.
    NotReady,
    /// Waits for its turn, or waited when the run was stopped.
    Ready,
    /// An attempt is under way.
    Active,
    /// Nobody watches it any more; it may still run.
    Left,
    /// It ended.
    Final(FinalStatus),
}

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// An attempt that was started has ended.
    Ended(StepIndex, AttemptEnd),
    /// The pause before a further attempt is over.
    PauseOver(StepIndex),
    /// The run is to stop.
    Stop(StopMode),
    /// The run is to stop, and whoever runs tells others how it ends: nothing
    /// more is started and nothing waited for.
    Leave,
    /// The run cannot go on: end what runs, start nothing, call it failed.
    Abort,
}

/// Something to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Start an attempt (counted from 0). Answered by one [`Input::Ended`].
    Start(StepIndex, u32),
    /// Go on with an attempt that somebody else has started. Answered by one
    /// [`Input::Ended`].
    Resume(StepIndex, u32),
    /// End the attempt under way. Its [`Input::Ended`] still has to come.
    Cut(StepIndex),
    /// Start a pause before the given further attempt. Answered by one
    /// [`Input::PauseOver`], unless the step is reported first. Without an end of
    /// an attempt before it, somebody else has seen that end.
    Pause(StepIndex, u32, Duration),
    /// Make a final status known. Once per step.
    Report(StepIndex, FinalStatus),
}

/// A run under way.
#[derive(Debug)]
pub struct Machine {
    graph: Graph,
    mode: ExecutionMode,
    max_parallelism: Option<NonZeroU32>,
    longest_pause: Duration,
    retries: Vec<Retry>,
    nodes: Vec<Node>,
    ready: BinaryHeap<Reverse<StepIndex>>,
    active: u32,
    open: usize,
    halted: bool,
    aborted: bool,
    any_failed: bool,
    stop: Option<StopMode>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    /// Some upstream steps have not ended yet.
    Waiting {
        missing: u32,
    },
    /// Could start; `attempt` is the next one.
    Ready {
        attempt: u32,
    },
    /// An attempt is under way. `cut`: it was told to end.
    Active {
        attempt: u32,
        cut: bool,
    },
    /// Failed before; `attempt` is the next one.
    Pausing {
        attempt: u32,
    },
    Final(FinalStatus),
    /// Will not run, because the run is stopping. `ready`: it could have.
    Dropped {
        ready: bool,
    },
    /// Nobody watches it any more.
    Left,
}

impl Machine {
    /// A run that has not begun, and the first commands.
    ///
    /// `retries` holds one entry per step; a missing one means no retries.
    /// `longest_pause` bounds every pause between attempts.
    pub fn new(
        graph: Graph,
        mode: ExecutionMode,
        max_parallelism: Option<NonZeroU32>,
        retries: Vec<Retry>,
        longest_pause: Duration,
    ) -> (Self, Vec<Command>) {
        let begun = Begun::default();
        Self::resumed(graph, mode, max_parallelism, retries, longest_pause, &begun)
    }

    /// A run that somebody else has begun, and the first commands. What ended
    /// before is not reported again. A pause between two attempts is made anew:
    /// nobody knows how much of it is over.
    pub fn resumed(
        graph: Graph,
        mode: ExecutionMode,
        max_parallelism: Option<NonZeroU32>,
        retries: Vec<Retry>,
        longest_pause: Duration,
        begun: &Begun,
    ) -> (Self, Vec<Command>) {
        let nodes = graph
            .steps()
            .map(|step| match graph.upstream_count(step) {
                0 => Node::Ready { attempt: 0 },
                missing => Node::Waiting { missing },
            })
            .collect::<Vec<_>>();
        let mut machine = Self {
            open: graph.len(),
            graph,
            mode,
            max_parallelism,
            longest_pause,
            retries,
            nodes,
            ready: BinaryHeap::new(),
            active: 0,
            halted: false,
            aborted: false,
            any_failed: false,
            stop: begun.stop,
        };
        let mut commands = Vec::new();
        machine.begin(begun, &mut commands);
        machine.start_ready(&mut commands);
        (machine, commands)
    }

    /// Puts every step where it begins, then draws the conclusions.
    fn begin(&mut self, begun: &Begun, commands: &mut Vec<Command>) {
        let beginning = |step: StepIndex| begun.steps.get(step.get()).copied();
        for step in self.graph.steps() {
            match beginning(step).unwrap_or(Beginning::Fresh) {
                Beginning::Fresh => {}
                Beginning::Ready => self.set(step, Node::Ready { attempt: 0 }),
                Beginning::Running(attempt) => {
                    let cut = false;
                    self.set(step, Node::Active { attempt, cut });
                    self.active += 1;
                    commands.push(Command::Resume(step, attempt));
                }
                Beginning::Pausing(attempt) => {
                    self.set(step, Node::Pausing { attempt });
                    let pause = self.pause_before(step, attempt);
                    commands.push(Command::Pause(step, attempt, pause));
                }
                Beginning::Final(status) => self.close(step, Node::Final(status)),
            }
            if let Some(Node::Ready { .. }) = self.node(step) {
                self.ready.push(Reverse(step));
            }
        }
        for step in self.graph.steps() {
            if let Some(Beginning::Final(status)) = beginning(step) {
                // A run in which nothing failed and something was cut short
                // could not go on then.
                self.aborted |= matches!(status, FinalStatus::Cancelled | FinalStatus::Skipped);
                self.conclude(step, status, commands);
            }
        }
        if begun.stop.is_some() {
            self.halt(commands);
        }
        if begun.stop == Some(StopMode::Force) {
            self.cut_active(commands);
        }
    }

    /// The graph that is run.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Takes in what happened and says what to do. Inputs that do not fit the
    /// state (a second end of one attempt, an unknown step) change nothing.
    pub fn apply(&mut self, input: Input) -> Vec<Command> {
        let mut commands = Vec::new();
        match input {
            Input::Ended(step, end) => self.attempt_ended(step, end, &mut commands),
            Input::PauseOver(step) => {
                if let Some(Node::Pausing { attempt }) = self.node(step) {
                    self.set(step, Node::Ready { attempt });
                    self.ready.push(Reverse(step));
                }
            }
            Input::Stop(mode) => self.stop_asked(mode, &mut commands),
            Input::Leave => {
                self.stop_asked(StopMode::Graceful, &mut commands);
                self.leave_active();
            }
            Input::Abort => {
                if self.open > 0 {
                    self.aborted = true;
                    self.halt(&mut commands);
                    self.cut_active(&mut commands);
                }
            }
        }
        self.start_ready(&mut commands);
        commands
    }

    /// How the run ended, once every step has its final status.
    pub fn end(&self) -> Option<RunEnd> {
        if self.open > 0 {
            return None;
        }
        Some(if self.stop.is_some() {
            RunEnd::Stopped
        } else if self.aborted || self.any_failed {
            RunEnd::Failed
        } else {
            RunEnd::Completed
        })
    }

    /// The final status of a step, once it has one.
    pub fn final_status(&self, step: StepIndex) -> Option<FinalStatus> {
        match self.node(step) {
            Some(Node::Final(status)) => Some(status),
            Some(Node::Dropped { .. }) => Some(FinalStatus::Skipped),
            _ => None,
        }
    }

    /// Where a step stands.
    pub fn standing(&self, step: StepIndex) -> Standing {
        match self.node(step) {
            None | Some(Node::Waiting { .. } | Node::Dropped { ready: false }) => {
                Standing::NotReady
            }
            Some(Node::Ready { .. } | Node::Pausing { .. } | Node::Dropped { ready: true }) => {
                Standing::Ready
            }
            Some(Node::Active { .. }) => Standing::Active,
            Some(Node::Left) => Standing::Left,
            Some(Node::Final(status)) => Standing::Final(status),
        }
    }

    fn attempt_ended(&mut self, step: StepIndex, end: AttemptEnd, commands: &mut Vec<Command>) {
        let Some(Node::Active { attempt, cut }) = self.node(step) else {
            return;
        };
        self.active = self.active.saturating_sub(1);
        // What was told to end is cancelled, whatever it answered at last: a
        // late answer must not overwrite the decision.
        let status = match end {
            AttemptEnd::Surviving => {
                self.close(step, Node::Left);
                return;
            }
            _ if cut => FinalStatus::Cancelled,
            AttemptEnd::Cancelled => FinalStatus::Cancelled,
            AttemptEnd::Completed => FinalStatus::Completed,
            AttemptEnd::Cached => FinalStatus::Cached,
            AttemptEnd::InDoubt => FinalStatus::Failed,
            AttemptEnd::Failed => {
                if attempt < self.retry(step).max_retries && !self.halted {
                    let next = attempt + 1;
                    self.set(step, Node::Pausing { attempt: next });
                    let pause = self.pause_before(step, next);
                    commands.push(Command::Pause(step, next, pause));
                    return;
                }
                FinalStatus::Failed
            }
        };
        self.finish(step, status, commands);
    }

    fn stop_asked(&mut self, mode: StopMode, commands: &mut Vec<Command>) {
        if self.open == 0 || self.stop >= Some(mode) {
            return;
        }
        self.stop = Some(mode);
        self.halt(commands);
        if mode == StopMode::Force {
            self.cut_active(commands);
        }
    }

    /// Gives a step its final status and passes the consequences down.
    fn finish(&mut self, step: StepIndex, status: FinalStatus, commands: &mut Vec<Command>) {
        self.finalize(step, status, commands);
        self.conclude(step, status, commands);
    }

    /// What the end of a step means for the others.
    fn conclude(&mut self, step: StepIndex, status: FinalStatus, commands: &mut Vec<Command>) {
        if status.is_success() {
            self.release_downstream(step);
            return;
        }
        if status == FinalStatus::Failed {
            self.any_failed = true;
        }
        self.skip_below(step, commands);
        match (status, self.mode) {
            (FinalStatus::Failed, ExecutionMode::FailFast) => {
                self.halt(commands);
                self.cut_active(commands);
            }
            (FinalStatus::Failed, ExecutionMode::StopOnFailure) => self.halt(commands),
            _ => {}
        }
    }

    fn release_downstream(&mut self, step: StepIndex) {
        for next in self.graph.downstream(step) {
            let Some(node) = self.nodes.get_mut(next.get()) else {
                continue;
            };
            if let Node::Waiting { missing } = node {
                *missing = missing.saturating_sub(1);
                if *missing == 0 {
                    *node = Node::Ready { attempt: 0 };
                    self.ready.push(Reverse(*next));
                }
            }
        }
    }

    fn skip_below(&mut self, step: StepIndex, commands: &mut Vec<Command>) {
        let mut stack = vec![step];
        while let Some(step) = stack.pop() {
            for next in self.graph.downstream(step).to_vec() {
                if let Some(Node::Waiting { .. }) = self.node(next) {
                    self.finalize(next, FinalStatus::Skipped, commands);
                    stack.push(next);
                }
            }
        }
    }

    /// No more starts: whatever is not under way gets its final status.
    fn halt(&mut self, commands: &mut Vec<Command>) {
        if self.halted {
            return;
        }
        self.halted = true;
        self.ready.clear();
        for step in self.graph.steps() {
            match self.node(step) {
                Some(Node::Waiting { .. }) => self.drop_step(step, false, commands),
                Some(Node::Ready { attempt: 0 }) => self.drop_step(step, true, commands),
                // These ran before and failed; only the retry is dropped.
                Some(Node::Ready { .. } | Node::Pausing { .. }) => {
                    self.any_failed = true;
                    self.finalize(step, FinalStatus::Failed, commands);
                }
                _ => {}
            }
        }
    }

    fn drop_step(&mut self, step: StepIndex, ready: bool, commands: &mut Vec<Command>) {
        self.close(step, Node::Dropped { ready });
        commands.push(Command::Report(step, FinalStatus::Skipped));
    }

    fn leave_active(&mut self) {
        for step in self.graph.steps() {
            if let Some(Node::Active { .. }) = self.node(step) {
                self.active = self.active.saturating_sub(1);
                self.close(step, Node::Left);
            }
        }
    }

    fn cut_active(&mut self, commands: &mut Vec<Command>) {
        for step in self.graph.steps() {
            if let Some(Node::Active {
                attempt,
                cut: false,
            }) = self.node(step)
            {
                self.set(step, Node::Active { attempt, cut: true });
                commands.push(Command::Cut(step));
            }
        }
    }

    fn start_ready(&mut self, commands: &mut Vec<Command>) {
        while self
            .max_parallelism
            .is_none_or(|limit| self.active < limit.get())
        {
            let Some(Reverse(step)) = self.ready.pop() else {
                return;
            };
            if let Some(Node::Ready { attempt }) = self.node(step) {
                let cut = false;
                self.set(step, Node::Active { attempt, cut });
                self.active += 1;
                commands.push(Command::Start(step, attempt));
            }
        }
    }

    fn finalize(&mut self, step: StepIndex, status: FinalStatus, commands: &mut Vec<Command>) {
        self.close(step, Node::Final(status));
        commands.push(Command::Report(step, status));
    }

    /// Nothing more comes of a step.
    fn close(&mut self, step: StepIndex, node: Node) {
        self.set(step, node);
        self.open = self.open.saturating_sub(1);
    }

    fn retry(&self, step: StepIndex) -> Retry {
        let retry = self.retries.get(step.get());
        retry.copied().unwrap_or(Retry::NEVER)
    }

    fn pause_before(&self, step: StepIndex, attempt: u32) -> Duration {
        self.retry(step).pause_before(attempt, self.longest_pause)
    }

    fn node(&self, step: StepIndex) -> Option<Node> {
        self.nodes.get(step.get()).copied()
    }

    fn set(&mut self, step: StepIndex, node: Node) {
        if let Some(slot) = self.nodes.get_mut(step.get()) {
            *slot = node;
        }
    }
}
