//! Cases about the order in which nodes of a graph are started.

use super::super::Input;
use super::super::clock::Clock;
use super::super::encode::{error, object, observed};
use super::super::fakes::{FakeSandboxes, Fault, Script, put};
use super::{node_status, not_a_graph, sorted};
use crate::dag::graph::{Graph, StepIndex};
use crate::dag::machine::{
    AttemptEnd, Beginning, Begun, ExecutionMode, FinalStatus, Input as Told, Machine, Standing,
    StopMode,
};
use crate::limits;
use crate::run::runner::{Attempting, Runner, Work, is_cut, parallelism, starts_at_once};
use crate::status::wait::watch;
use futures::future::LocalBoxFuture;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// How often it is asked whether the run is to stop.
const ASKING: Duration = Duration::from_secs(1);
/// How long a node takes to start, and to say how it stands.
const ANSWER: Duration = Duration::from_millis(100);
/// How long a slow start takes.
const SLOW_START: Duration = Duration::from_secs(3);

pub(super) fn run(input: &Input<'_>) -> Option<Value> {
    let workers = match starts_at_once(input.text("worker_count")) {
        Ok(workers) => workers,
        Err(no_workers) => return Some(nothing_started(error("ValueError", no_workers))),
    };
    let nodes = nodes(input)?;
    let upstream = nodes
        .iter()
        .map(|node| (node.id.as_str(), node.upstream.as_slice()));
    let graph = match Graph::new(upstream) {
        Ok(graph) => graph,
        Err(faults) => {
            let faults = faults.iter().map(ToString::to_string);
            return Some(nothing_started(not_a_graph(faults)));
        }
    };
    let limit = match input.field("max_parallelism").as_i64().map(parallelism) {
        None => None,
        Some(Ok(limit)) => limit,
        Some(Err(negative)) => return Some(nothing_started(error("ValueError", negative))),
    };
    let begun = Begun {
        steps: nodes.iter().map(|node| node.beginning).collect(),
        stop: None,
    };
    let machine = Machine::resumed(
        graph,
        ExecutionMode::ContinueOnFailure,
        limit,
        Vec::new(),
        Duration::ZERO,
        &begun,
    );
    let work = Nodes::new(input, nodes);
    let log = Rc::clone(&work.log);
    let clock = work.clock.clone();
    let mut runner = Runner::new(machine, work, workers);
    let mut interrupted = Interrupted::default();
    let over = clock.run(drive(&mut runner, input, &clock, &mut interrupted));
    let statuses = statuses(&runner);
    let answer = match (over, failure(&runner, interrupted.failure)) {
        (Err(_), _) => object([("hang", object([("statuses", statuses)]))]),
        (Ok(()), None) => object([("ok", object([("statuses", statuses)]))]),
        (Ok(()), Some(fault)) => {
            let answer = put(fault.encoded(), "statuses", statuses);
            // Nobody is left to watch anything once the runner is gone.
            put(answer, "monitor_stopped", true.into())
        }
    };
    let log = log.borrow();
    let mut warnings = log.warnings(&runner);
    if interrupted.is_told {
        warnings.push("DAG execution interrupted.".to_owned());
    }
    let answer = put(answer, "started", in_order(&log.started));
    let answer = put(answer, "order", log.order(runner.work()));
    let answer = match log.stopped.is_empty() {
        true => answer,
        false => put(answer, "stopped", in_order(&log.stopped)),
    };
    let answer = match limit {
        Some(_) if log.active.most > 0 => put(answer, "most_active", log.active.most.into()),
        _ => answer,
    };
    let answer = match input.field("count_starting") == true {
        true => put(answer, "most_starting", log.starting.most.into()),
        false => answer,
    };
    Some(observed(answer, "warnings", sorted(warnings)))
}

fn nothing_started(answer: Value) -> Value {
    put(put(answer, "started", json!([])), "order", json!([]))
}

fn in_order(names: &[String]) -> Value {
    let mut names = names.to_vec();
    names.sort();
    names.into()
}

/// Whether the interrupt came, and whether asking for it failed.
#[derive(Default)]
struct Interrupted {
    is_told: bool,
    failure: Option<Fault>,
}

async fn drive(
    runner: &mut Runner<Nodes>,
    input: &Input<'_>,
    clock: &Clock,
    interrupted: &mut Interrupted,
) {
    let interrupt = input.given("interrupt");
    while runner.machine().end().is_none() {
        let happened = tokio::select! {
            biased;
            happened = runner.next() => Some(happened),
            () = clock.sleep(ASKING), if interrupt.is_some() && !interrupted.is_over() => None,
        };
        match (happened, interrupt) {
            (Some(happened), _) => runner.settle(happened),
            (None, Some(script)) => ask(runner, script, interrupted),
            (None, None) => {}
        }
    }
}

impl Interrupted {
    fn is_over(&self) -> bool {
        self.is_told || self.failure.is_some()
    }
}

/// Asks whether the run is to stop.
fn ask(runner: &mut Runner<Nodes>, script: &Value, interrupted: &mut Interrupted) {
    if let Some(message) = script.get("raise").and_then(Value::as_str) {
        interrupted.failure = Some(Fault::new("RuntimeError", message));
        runner.apply(Told::Abort);
        return;
    }
    let statuses = statuses(runner);
    let conditions = script["when"].as_object().into_iter().flatten();
    if !conditions
        .into_iter()
        .all(|(node, status)| statuses.get(node) == Some(status))
    {
        return;
    }
    interrupted.is_told = true;
    runner.apply(match script["mode"].as_str() {
        Some("force") => Told::Stop(StopMode::Force),
        _ => Told::Leave,
    });
}

/// What ended the run early: the question for an interrupt, or a node that could
/// not be stopped, the first in the order of declaration.
fn failure(runner: &Runner<Nodes>, asking: Option<Fault>) -> Option<Fault> {
    let steps = runner.machine().graph().steps();
    let surviving = |step| runner.last_report(step)?.1.surviving.clone();
    asking.or_else(|| steps.filter_map(surviving).next())
}

fn statuses(runner: &Runner<Nodes>) -> Value {
    let machine = runner.machine();
    let log = runner.work().log.borrow();
    let status = |step| {
        let name = machine.graph().name(step).to_owned();
        let under_way = log.said.get(&name).map_or("starting", String::as_str);
        let status = node_status(machine.standing(step), under_way);
        (name, status.to_owned().into())
    };
    Value::Object(machine.graph().steps().map(status).collect::<Map<_, _>>())
}

/// A node of a script.
#[derive(Clone)]
struct Node {
    id: String,
    upstream: Vec<String>,
    beginning: Beginning,
    start: Value,
    slow_start: bool,
    polls: Script,
}

fn nodes(input: &Input<'_>) -> Option<Vec<Node>> {
    let node = |node: &Value| {
        let id = node["id"].as_str()?.to_owned();
        let behaviour = &input.field("behaviour")[id.as_str()];
        let upstream = node["upstream"].as_array().into_iter().flatten();
        Some(Node {
            upstream: upstream
                .map(|name| name.as_str().map(ToOwned::to_owned))
                .collect::<Option<_>>()?,
            beginning: beginning(node["status"].as_str().unwrap_or("not_ready"))?,
            start: match &behaviour["start"] {
                Value::Null => "running".into(),
                start => start.clone(),
            },
            slow_start: !matches!(behaviour["slow_start"], Value::Null | Value::Bool(false)),
            polls: Script::new(&behaviour["polls"], "completed".into()),
            id,
        })
    };
    let nodes = input.field("nodes").as_array()?.iter();
    nodes.map(node).collect()
}

/// Where a node begins. One that was being started is started anew: nobody knows
/// of anything of it.
fn beginning(status: &str) -> Option<Beginning> {
    Some(match status {
        "not_ready" => Beginning::Fresh,
        "ready" | "starting" => Beginning::Ready,
        "running" => Beginning::Running(0),
        "completed" => Beginning::Final(FinalStatus::Completed),
        "failed" => Beginning::Final(FinalStatus::Failed),
        "skipped" => Beginning::Final(FinalStatus::Skipped),
        "cancelled" => Beginning::Final(FinalStatus::Cancelled),
        _ => return None,
    })
}

/// The nodes as work.
struct Nodes {
    clock: Clock,
    nodes: Vec<Node>,
    stop: Value,
    log: Rc<RefCell<Log>>,
}

impl Nodes {
    fn new(input: &Input<'_>, nodes: Vec<Node>) -> Self {
        let running = nodes
            .iter()
            .filter(|node| node.beginning == Beginning::Running(0));
        let said = running.map(|node| (node.id.clone(), "running".to_owned()));
        let log = Log {
            said: said.collect(),
            ..Log::default()
        };
        Self {
            clock: Clock::default(),
            nodes,
            stop: input.field("stop").clone(),
            log: Rc::new(RefCell::new(log)),
        }
    }
}

/// What was observed.
#[derive(Default)]
struct Log {
    started: Vec<String>,
    stopped: Vec<String>,
    /// What nodes said last.
    said: HashMap<String, String>,
    /// Starts and ends, in their order.
    order: Vec<Happening>,
    warnings: Vec<(String, Warning)>,
    active: Gauge,
    starting: Gauge,
}

#[derive(PartialEq, Eq)]
enum Happening {
    Start(String),
    End(String),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Warning {
    Failed,
    FailedToStart,
    Skipped,
}

/// How many there are, and were at most.
#[derive(Default)]
struct Gauge {
    now: u32,
    most: u32,
}

impl Gauge {
    fn enter(&mut self) {
        self.now += 1;
        self.most = self.most.max(self.now);
    }

    fn leave(&mut self) {
        self.now = self.now.saturating_sub(1);
    }
}

impl Log {
    /// Pairs of nodes of which the first ended before the second, which waits
    /// for it, was started.
    fn order(&self, work: &Nodes) -> Value {
        let position = |happening: Happening| self.order.iter().position(|at| *at == happening);
        let mut pairs = Vec::new();
        for node in &work.nodes {
            let Some(start) = position(Happening::Start(node.id.clone())) else {
                continue;
            };
            for upstream in &node.upstream {
                if position(Happening::End(upstream.clone())).is_some_and(|end| end < start) {
                    pairs.push([upstream.clone(), node.id.clone()]);
                }
            }
        }
        pairs.sort();
        json!(pairs)
    }

    fn warnings(&self, runner: &Runner<Nodes>) -> Vec<String> {
        let machine = runner.machine();
        let is_skipped = |name: &str| {
            let graph = machine.graph();
            let step = graph.steps().find(|step| graph.name(*step) == name);
            step.map(|step| machine.standing(step)) == Some(Standing::Final(FinalStatus::Skipped))
        };
        let text = |(name, warning): &(String, Warning)| match warning {
            Warning::Failed => Some(format!("Node `{name}` failed.")),
            Warning::FailedToStart => Some(format!("Node `{name}` failed to start.")),
            Warning::Skipped if is_skipped(name) => Some(format!(
                "Skipping node `{name}` because upstream node failed."
            )),
            Warning::Skipped => None,
        };
        self.warnings.iter().filter_map(text).collect()
    }
}

/// How a node ended.
struct NodeReport {
    end: AttemptEnd,
    failed_to_start: bool,
    surviving: Option<Fault>,
}

impl NodeReport {
    fn ended(end: AttemptEnd) -> Self {
        Self {
            end,
            failed_to_start: false,
            surviving: None,
        }
    }
}

/// One attempt at a node.
struct NodeAttempt {
    clock: Clock,
    node: Node,
    stop: Value,
    log: Rc<RefCell<Log>>,
    attempting: Attempting,
}

impl NodeAttempt {
    async fn live(mut self) -> NodeReport {
        self.log.borrow_mut().active.enter();
        let report = match self.attempting.resumed {
            true => Ok(()),
            false => self.start().await,
        };
        let report = match report {
            Ok(()) => self.watch().await,
            Err(report) => report,
        };
        let mut log = self.log.borrow_mut();
        log.active.leave();
        log.order.push(Happening::End(self.node.id.clone()));
        report
    }

    /// Starts it; an error is that it needs no watching.
    async fn start(&mut self) -> Result<(), NodeReport> {
        let starting = Rc::clone(&self.attempting.starting);
        let _place = tokio::select! {
            biased;
            () = is_cut(&mut self.attempting.cut) => {
                return Err(NodeReport::ended(AttemptEnd::Cancelled));
            }
            place = starting.acquire() => place.ok(),
        };
        let id = self.node.id.clone();
        {
            let mut log = self.log.borrow_mut();
            log.started.push(id.clone());
            log.order.push(Happening::Start(id.clone()));
            log.starting.enter();
        }
        let takes = match self.node.slow_start {
            true => SLOW_START,
            false => ANSWER,
        };
        self.clock.sleep(takes).await;
        let mut log = self.log.borrow_mut();
        log.starting.leave();
        let Some(said) = self.node.start.as_str() else {
            return Err(NodeReport {
                failed_to_start: true,
                ..NodeReport::ended(AttemptEnd::Failed)
            });
        };
        log.said.insert(id, said.to_owned());
        match end(said) {
            Some(end) => Err(NodeReport::ended(end)),
            None => Ok(()),
        }
    }

    /// Watches it to its end, or until it is told to end.
    async fn watch(&mut self) -> NodeReport {
        let looks = FakeSandboxes::none(&self.clock);
        let log = Rc::clone(&self.log);
        let (id, polls) = (self.node.id.clone(), self.node.polls.clone());
        let clock = self.clock.clone();
        let look = async || {
            // Nobody asks about what does not say that it runs.
            if log
                .borrow()
                .said
                .get(&id)
                .is_none_or(|said| said != "running")
            {
                std::future::pending::<()>().await;
            }
            clock.sleep(ANSWER).await;
            let answer = polls.next()?;
            let said = answer.as_str().unwrap_or_default();
            log.borrow_mut().said.insert(id.clone(), said.to_owned());
            Ok::<_, Fault>(end(said))
        };
        tokio::select! {
            biased;
            ended = watch(&looks, look) => match ended {
                Ok(end) => NodeReport::ended(end),
                // Given up: it must not run on.
                Err(_) => {
                    let _ = self.stop();
                    NodeReport::ended(AttemptEnd::Failed)
                }
            },
            () = is_cut(&mut self.attempting.cut) => match self.stop() {
                Ok(()) => NodeReport::ended(AttemptEnd::Cancelled),
                Err(fault) => NodeReport {
                    surviving: Some(fault),
                    ..NodeReport::ended(AttemptEnd::Surviving)
                },
            },
        }
    }

    fn stop(&self) -> Result<(), Fault> {
        if self.stop == "none" {
            return Err(Fault::new("RuntimeError", "Node stop function is not set."));
        }
        let mut log = self.log.borrow_mut();
        log.stopped.push(self.node.id.clone());
        match self.stop.get("raise").and_then(Value::as_str) {
            Some(message) => Err(Fault::new("RuntimeError", message)),
            None => Ok(()),
        }
    }
}

/// What a node said, when it means that nothing more comes of it.
fn end(said: &str) -> Option<AttemptEnd> {
    match said {
        "completed" => Some(AttemptEnd::Completed),
        "failed" => Some(AttemptEnd::Failed),
        "cancelled" | "skipped" => Some(AttemptEnd::Cancelled),
        _ => None,
    }
}

impl Work for Nodes {
    type Report = NodeReport;

    fn attempt(&self, attempting: Attempting) -> LocalBoxFuture<'static, NodeReport> {
        let Some(node) = self.nodes.get(attempting.step.get()).cloned() else {
            return Box::pin(async { NodeReport::ended(AttemptEnd::Failed) });
        };
        let attempt = NodeAttempt {
            clock: self.clock.clone(),
            node,
            stop: self.stop.clone(),
            log: Rc::clone(&self.log),
            attempting,
        };
        Box::pin(attempt.live())
    }

    fn end(&self, report: &NodeReport) -> AttemptEnd {
        report.end
    }

    fn pause(&self, duration: Duration) -> LocalBoxFuture<'static, ()> {
        Box::pin(
            self.clock
                .sleep(duration.min(limits::STEP_RETRY_PAUSE_LONGEST)),
        )
    }

    fn ended(
        &self,
        step: StepIndex,
        status: FinalStatus,
        report: Option<&(u32, NodeReport)>,
        _: Option<Duration>,
    ) {
        let Some(node) = self.nodes.get(step.get()) else {
            return;
        };
        let failed_to_start = report.is_some_and(|(_, report)| report.failed_to_start);
        let warning = match status {
            FinalStatus::Failed if failed_to_start => Warning::FailedToStart,
            FinalStatus::Failed => Warning::Failed,
            FinalStatus::Skipped => Warning::Skipped,
            FinalStatus::Completed | FinalStatus::Cached | FinalStatus::Cancelled => return,
        };
        let mut log = self.log.borrow_mut();
        log.warnings.push((node.id.clone(), warning));
    }
}
