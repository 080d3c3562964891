//! Rules about the order of steps and the controller.
//!
//! What the original does is told by two models of it, written from the case's
//! input alone: [`nodes`] of its loop over the nodes of a graph, [`pipeline`] of
//! its controller. What is right is what the same model gives without the
//! defect.

mod graph;
mod nodes;
mod pipeline;

use super::{Difference, Rule};
use serde_json::{Value, json};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "graph-checked-first",
        areas: &["dag"],
        inputs: "a graph with a cycle, or with a step after one that does not exist",
        real: "a cycle is waited for without end unless something else ends the run; an unknown \
               name is a bare KeyError once the run is under way",
        here: "one clear error that names the steps, before anything starts",
        why: "a run that can never end must not begin, and cost, at all",
        differences: |input| of(input, Defect::Graph),
    },
    Rule {
        id: "limit-starves",
        areas: &["dag"],
        inputs: "nodes taken over as starting under a limit, or a negative limit",
        real: "what is starting takes a place that it needs itself, a negative limit leaves none: \
               nothing ever starts",
        here: "what was starting is started; a negative limit is an error",
        why: "the run would hang for ever",
        differences: |input| of(input, Defect::Starving),
    },
    Rule {
        id: "stop-leaves-nothing",
        areas: &["dag"],
        inputs: "the question whether to stop fails for good, or a forced stop comes while a step \
                 cannot be ended or is still starting",
        real: "leaves nodes running and goes on watching them although the run is over; ends \
               nothing more after the first that cannot be ended, and nothing that is starting",
        here: "ends, or tries to, all that runs or is starting, then lets the same error out",
        why: "sandboxes that nobody ends run on and cost",
        differences: |input| of(input, Defect::Stop),
    },
    Rule {
        id: "failing-look-repeated",
        areas: &["dag"],
        inputs: "a look at a running step fails",
        real: "calls the step failed at once, while its sandbox runs on, and records nothing",
        here: "looks again; after 900 s of failures in a row the step is given up, ended, and \
               recorded as failed unless it has recorded a success itself",
        why: "one hiccup of the network must not end a step, and what is given up must not go on",
        differences: |input| of(input, Defect::Look),
    },
    Rule {
        id: "failed-start-recorded",
        areas: &["dag"],
        inputs: "a step whose sandbox cannot be created",
        real: "leaves no record of the step",
        here: "records it as failed, as when its sandbox fails",
        why: "the run shows a failure without a cause otherwise",
        differences: |input| of(input, Defect::Start),
    },
    Rule {
        id: "cut-short-is-no-success",
        areas: &["dag"],
        inputs: "a run without failed steps of which some did not come to an end of their own, \
                 while the server calls it running",
        real: "reports it as completed",
        here: "reports it as stopped",
        why: "what never ran, was cut short or still runs has not succeeded",
        differences: cut_short,
    },
];

/// What a case shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    Graph,
    Starving,
    Stop,
    Look,
    Start,
}

/// The differences of a case, if it shows this defect. A case shows the first
/// that its input has.
fn of(input: &Value, defect: Defect) -> Vec<Difference> {
    let (real, right) = match input["op"].as_str() {
        Some("dag_runner") if nodes::defect(input) == Some(defect) => {
            (nodes::original(input), nodes::right(input))
        }
        Some("controller") if pipeline::defect(input) == Some(defect) => {
            if defect == Defect::Stop {
                return pipeline::forced_stop(input);
            }
            (pipeline::original(input), pipeline::right(input))
        }
        _ => return Vec::new(),
    };
    match (real, right) {
        (Some(real), Some(right)) if real != right => Difference::whole(real, right),
        _ => Vec::new(),
    }
}

fn cut_short(input: &Value) -> Vec<Difference> {
    if input["op"] != "finalize" || input["server_fail"].is_object() {
        return Vec::new();
    }
    let statuses: Vec<&str> = input["nodes"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(_, status)| status.as_str())
        .collect();
    let is_active = matches!(
        input["run_status"].as_str(),
        Some("initializing" | "provisioning" | "running")
    );
    let ended = |status: &&str| matches!(*status, "completed" | "skipped");
    if !is_active || statuses.contains(&"failed") || statuses.iter().all(ended) {
        return Vec::new();
    }
    vec![Difference::at(
        "/run_updates",
        json!([{"status": "completed"}]),
        json!([{"status": "stopped"}]),
    )]
}
