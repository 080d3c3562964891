//! A model of the original's loop over the nodes of a graph: it starts nodes
//! every half second, and looks at running ones every second.

use super::Defect;
use super::graph::{Edges, faults};
use serde_json::{Map, Value, json};
use std::collections::VecDeque;

/// Seconds of failing looks after which a node is given up here.
const PATIENCE: usize = 900;
/// Half seconds after which a model of the original that stands still hangs.
const STANDSTILL: u32 = 8;
/// Half seconds that a slow start takes.
const SLOW: u32 = 6;

/// The defect that a case shows.
pub(super) fn defect(input: &Value) -> Option<Defect> {
    let nodes = input["nodes"].as_array()?;
    let behaviours: Vec<&Value> = nodes
        .iter()
        .map(|node| &input["behaviour"][node["id"].as_str().unwrap_or_default()])
        .collect();
    let raises = |behaviour: &&Value| {
        let polls = behaviour["polls"].as_array().into_iter().flatten();
        polls.into_iter().any(|poll| poll["raise"].is_string())
    };
    if is_refused(input) {
        return None;
    }
    if !faults(&edges(input)).is_empty() {
        Some(Defect::Graph)
    } else if input["max_parallelism"]
        .as_i64()
        .is_some_and(|limit| limit < 0)
        || nodes.iter().any(|node| node["status"] == "starting")
    {
        Some(Defect::Starving)
    } else if input["interrupt"]["raise"].is_string() {
        Some(Defect::Stop)
    } else if behaviours.iter().any(raises) {
        Some(Defect::Look)
    } else if input["interrupt"]["mode"] == "force" {
        Some(Defect::Stop)
    } else {
        None
    }
}

/// Whether the original does not even begin.
fn is_refused(input: &Value) -> bool {
    let workers = input["worker_count"].as_str().map(str::trim);
    workers.is_some_and(|workers| workers.parse::<i64>().is_ok_and(|workers| workers < 1))
}

fn edges(input: &Value) -> Edges {
    let nodes = input["nodes"].as_array().into_iter().flatten();
    nodes
        .map(|node| {
            let upstream = node["upstream"].as_array().into_iter().flatten();
            let upstream = upstream.filter_map(|name| name.as_str().map(str::to_owned));
            (
                node["id"].as_str().unwrap_or_default().to_owned(),
                upstream.collect(),
            )
        })
        .collect()
}

/// What the original did.
pub(super) fn original(input: &Value) -> Option<Value> {
    Model::new(input)?.run(input, true)
}

/// What is right.
pub(super) fn right(input: &Value) -> Option<Value> {
    let refused = |message: String| {
        Some(json!({
            "error": {"type": "ValueError", "message": message},
            "started": [],
            "order": [],
        }))
    };
    let faults = faults(&edges(input));
    if !faults.is_empty() {
        return refused(faults.join("; "));
    }
    if let Some(limit) = input["max_parallelism"].as_i64().filter(|limit| *limit < 0) {
        return refused(format!(
            "max_parallelism is {limit}, so no step could ever start; use 0 for no limit"
        ));
    }
    let mut model = Model::new(input)?;
    for node in &mut model.nodes {
        if node.status == "starting" {
            node.status = "ready".to_owned();
        }
        node.polls = repeated(&node.polls);
    }
    model.run(input, false)
}

/// Looks that are repeated while they fail: the node counts as running meanwhile.
fn repeated(polls: &[Value]) -> Vec<Value> {
    let mut answers = Vec::new();
    for (index, poll) in polls.iter().enumerate() {
        let is_last = index + 1 == polls.len();
        match (poll["raise"].is_string(), is_last) {
            (false, _) => answers.push(poll.clone()),
            (true, false) => answers.push("running".into()),
            (true, true) => {
                answers.extend(vec![Value::from("running"); PATIENCE]);
                answers.push(GIVEN_UP.into());
            }
        }
    }
    answers
}

/// An answer of the model's own: the node is ended and has failed.
const GIVEN_UP: &str = "given up";

struct Node {
    id: String,
    upstream: Vec<String>,
    status: String,
    start: Value,
    slow: bool,
    polls: Vec<Value>,
    asked: usize,
    /// Half seconds until its start is over.
    starts_in: Option<u32>,
}

struct Model {
    nodes: Vec<Node>,
    queue: VecDeque<usize>,
    started: Vec<String>,
    stopped: Vec<String>,
    happened: Vec<(bool, String)>,
    warnings: Vec<String>,
    most_active: usize,
    can_stop: bool,
}

impl Model {
    fn new(input: &Value) -> Option<Self> {
        if input["count_starting"] == true {
            return None;
        }
        let nodes: Vec<Node> = input["nodes"]
            .as_array()?
            .iter()
            .zip(edges(input))
            .map(|(node, (id, upstream))| {
                let behaviour = &input["behaviour"][id.as_str()];
                Node {
                    status: node["status"].as_str().unwrap_or("not_ready").to_owned(),
                    start: match &behaviour["start"] {
                        Value::Null => "running".into(),
                        start => start.clone(),
                    },
                    slow: behaviour["slow_start"] == true,
                    polls: match behaviour["polls"].as_array() {
                        Some(polls) => polls.clone(),
                        None => vec!["completed".into()],
                    },
                    asked: 0,
                    starts_in: None,
                    id,
                    upstream,
                }
            })
            .collect();
        Some(Self {
            nodes,
            queue: VecDeque::new(),
            started: Vec::new(),
            stopped: Vec::new(),
            happened: Vec::new(),
            warnings: Vec::new(),
            most_active: 0,
            can_stop: input["stop"] != "none",
        })
    }

    fn run(mut self, input: &Value, is_original: bool) -> Option<Value> {
        let limit = match input["max_parallelism"].as_i64() {
            None | Some(0) => i64::MAX,
            Some(limit) => limit,
        };
        let queued = |node: &Node| matches!(node.status.as_str(), "ready" | "starting");
        self.queue = (0..self.nodes.len())
            .filter(|index| queued(&self.nodes[*index]))
            .collect();
        let mut still = 0;
        for tick in 0_u32.. {
            let before = self.shape();
            // The question whether to stop comes once a second, from the first
            // second on.
            if tick >= 2 && tick % 2 == 0 {
                match self.interrupt(input, is_original) {
                    Asked::No => {}
                    Asked::Stop(error) => return Some(self.result(input, error)),
                }
            }
            match self.process(limit) {
                Err(name) => {
                    let error = json!({"type": "KeyError", "message": name});
                    return Some(self.result(input, Some((error, false))));
                }
                Ok(true) => return Some(self.result(input, None)),
                Ok(false) => {}
            }
            self.go_on_starting();
            if tick % 2 == 0 {
                self.look();
            }
            still = match self.shape() == before {
                true => still + 1,
                false => 0,
            };
            if still > STANDSTILL {
                return self.hang(input);
            }
        }
        None
    }

    /// All that can change.
    fn shape(&self) -> Vec<(String, usize, Option<u32>)> {
        self.nodes
            .iter()
            .map(|node| {
                let asked = node.asked.min(node.polls.len());
                (node.status.clone(), asked, node.starts_in)
            })
            .collect()
    }

    fn status(&self, name: &str) -> Option<&str> {
        let node = self.nodes.iter().find(|node| node.id == name);
        node.map(|node| node.status.as_str())
    }

    /// Whether all has ended; an error is a name that is not known.
    fn process(&mut self, limit: i64) -> Result<bool, String> {
        let mut all_ended = true;
        for index in 0..self.nodes.len() {
            if self.nodes[index].status == "not_ready" {
                let mut skip = false;
                let mut ready = true;
                for name in &self.nodes[index].upstream {
                    match self.status(name) {
                        None => return Err(name.clone()),
                        Some("failed" | "skipped" | "cancelled") => {
                            skip = true;
                            break;
                        }
                        Some(status) => ready &= status == "completed",
                    }
                }
                if skip {
                    self.nodes[index].status = "skipped".to_owned();
                    self.warnings.push(format!(
                        "Skipping node `{}` because upstream node failed.",
                        self.nodes[index].id
                    ));
                } else if ready {
                    self.nodes[index].status = "ready".to_owned();
                    self.queue.push_back(index);
                }
            }
            all_ended &= has_ended(&self.nodes[index].status);
        }
        while i64::try_from(self.active()).is_ok_and(|active| active < limit) {
            let Some(index) = self.queue.pop_front() else {
                break;
            };
            let node = &mut self.nodes[index];
            node.status = "starting".to_owned();
            node.starts_in = Some(if node.slow { SLOW } else { 0 });
            let id = node.id.clone();
            self.happened.push((true, id.clone()));
            self.started.push(id);
            self.most_active = self.most_active.max(self.active());
        }
        Ok(all_ended)
    }

    fn active(&self) -> usize {
        let active = |node: &&Node| matches!(node.status.as_str(), "starting" | "running");
        self.nodes.iter().filter(active).count()
    }

    fn go_on_starting(&mut self) {
        for index in 0..self.nodes.len() {
            match self.nodes[index].starts_in {
                Some(0) => {
                    self.nodes[index].starts_in = None;
                    let start = self.nodes[index].start.clone();
                    match start.as_str() {
                        Some(status) => self.becomes(index, status, "failed."),
                        None => self.becomes(index, "failed", "failed to start."),
                    }
                }
                Some(left) => self.nodes[index].starts_in = Some(left - 1),
                None => {}
            }
        }
    }

    fn look(&mut self) {
        for index in 0..self.nodes.len() {
            if self.nodes[index].status != "running" {
                continue;
            }
            let node = &mut self.nodes[index];
            let answer = node.polls.get(node.asked).or(node.polls.last());
            let answer = answer.cloned().unwrap_or_default();
            node.asked += 1;
            match answer.as_str() {
                Some(GIVEN_UP) => {
                    if self.can_stop {
                        self.stopped.push(node.id.clone());
                    }
                    self.becomes(index, "failed", "failed.");
                }
                Some(status) => self.becomes(index, status, "failed."),
                None => self.becomes(index, "failed", "failed."),
            }
        }
    }

    fn becomes(&mut self, index: usize, status: &str, how: &str) {
        let node = &mut self.nodes[index];
        node.status = status.to_owned();
        let id = node.id.clone();
        if has_ended(status) {
            self.happened.push((false, id.clone()));
        }
        if status == "failed" {
            self.warnings.push(format!("Node `{id}` {how}"));
        }
    }

    fn interrupt(&mut self, input: &Value, is_original: bool) -> Asked {
        let interrupt = &input["interrupt"];
        if let Some(message) = interrupt["raise"].as_str() {
            let error = json!({"type": "RuntimeError", "message": message});
            if !is_original {
                self.stop_all(input, false);
            }
            return Asked::Stop(Some((error, !is_original)));
        }
        let Some(conditions) = interrupt["when"].as_object() else {
            return Asked::No;
        };
        let holds = |(name, status): (&String, &Value)| self.status(name) == status.as_str();
        if !conditions.iter().all(holds) {
            return Asked::No;
        }
        self.warnings.push("DAG execution interrupted.".to_owned());
        let error = match interrupt["mode"] == "force" {
            true => self.stop_all(input, is_original),
            false => None,
        };
        Asked::Stop(error.map(|error| (error, true)))
    }

    /// Stops what runs; the original ends with the first that cannot be stopped,
    /// and passes over what is starting.
    fn stop_all(&mut self, input: &Value, is_original: bool) -> Option<Value> {
        let mut first = None;
        for index in 0..self.nodes.len() {
            match self.nodes[index].status.as_str() {
                "running" => {}
                "starting" if !is_original && self.nodes[index].starts_in.is_some() => {
                    self.nodes[index].starts_in = None;
                    let start = self.nodes[index].start.clone();
                    match start.as_str() {
                        Some("running") => self.nodes[index].status = "running".to_owned(),
                        Some(status) => {
                            self.becomes(index, status, "failed.");
                            continue;
                        }
                        None => {
                            self.becomes(index, "failed", "failed to start.");
                            continue;
                        }
                    }
                }
                _ => continue,
            }
            let id = self.nodes[index].id.clone();
            let failure = match (&input["stop"], &input["stop"]["raise"]) {
                (Value::String(none), _) if none == "none" => {
                    Some("Node stop function is not set.")
                }
                (_, Value::String(message)) => {
                    self.stopped.push(id);
                    Some(message.as_str())
                }
                _ => {
                    self.stopped.push(id);
                    self.nodes[index].status = "cancelled".to_owned();
                    None
                }
            };
            if let Some(message) = failure {
                let error = json!({"type": "RuntimeError", "message": message});
                first.get_or_insert(error);
                if is_original {
                    break;
                }
            }
        }
        first
    }

    fn statuses(&self) -> Value {
        let status = |node: &Node| (node.id.clone(), node.status.clone().into());
        Value::Object(self.nodes.iter().map(status).collect::<Map<_, _>>())
    }

    fn hang(&self, input: &Value) -> Option<Value> {
        let mut result = self.observed(input);
        result["hang"] = json!({"statuses": self.statuses()});
        Some(result)
    }

    fn result(&self, input: &Value, error: Option<(Value, bool)>) -> Value {
        let mut result = self.observed(input);
        match error {
            None => result["ok"] = json!({"statuses": self.statuses()}),
            Some((error, monitor_stopped)) => {
                result["error"] = error;
                result["statuses"] = self.statuses();
                result["monitor_stopped"] = monitor_stopped.into();
            }
        }
        result
    }

    fn observed(&self, input: &Value) -> Value {
        let sorted = |names: &[String]| {
            let mut names = names.to_vec();
            names.sort();
            names
        };
        let mut result = json!({"started": sorted(&self.started), "order": self.order()});
        if !self.stopped.is_empty() {
            result["stopped"] = sorted(&self.stopped).into();
        }
        if input["max_parallelism"]
            .as_i64()
            .is_some_and(|limit| limit > 0)
            && self.most_active > 0
        {
            result["most_active"] = self.most_active.into();
        }
        let mut warnings = sorted(&self.warnings);
        warnings.dedup();
        if !warnings.is_empty() {
            result["warnings"] = warnings.into();
        }
        result
    }

    fn order(&self) -> Value {
        let position = |is_start, id: &str| {
            let wanted = (is_start, id.to_owned());
            self.happened.iter().position(|at| *at == wanted)
        };
        let mut pairs = Vec::new();
        for node in &self.nodes {
            let Some(start) = position(true, &node.id) else {
                continue;
            };
            for name in &node.upstream {
                if position(false, name).is_some_and(|end| end < start) {
                    pairs.push([name.clone(), node.id.clone()]);
                }
            }
        }
        pairs.sort();
        json!(pairs)
    }
}

enum Asked {
    No,
    /// With the error that comes out, and whether watching has ended.
    Stop(Option<(Value, bool)>),
}

fn has_ended(status: &str) -> bool {
    matches!(status, "completed" | "failed" | "skipped" | "cancelled")
}
