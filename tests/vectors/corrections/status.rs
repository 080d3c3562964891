//! Rules about the status of runs and steps, and stopping them.

use super::{Difference, Rule};
use serde_json::{Value, json};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "isolated-status-unknown",
        areas: &["status"],
        inputs: "an isolated step whose sandbox cannot be found or asked",
        real: "calls the step failed",
        here: "the failure comes out: the status is unknown",
        why: "the sandbox runs on; a step called failed has its successors skipped and is paid for",
        differences: isolated_status,
    },
    Rule {
        id: "isolated-wait-asks-again",
        areas: &["status"],
        inputs: "waiting for an isolated step while a look at its sandbox fails",
        real: "ends the wait with failed",
        here: "believes the server for the moment and looks again, up to 900 s of failures in a row",
        why: "as above; the step operator's wait has always done so",
        differences: isolated_wait,
    },
    Rule {
        id: "sandbox-wait-asks-again",
        areas: &["status"],
        inputs: "waiting for a sandbox while a look at it fails",
        real: "gives up at the first failure",
        here: "looks again, up to 900 s of failures in a row",
        why: "one hiccup of the network says nothing about the sandbox",
        differences: sandbox_wait,
    },
];

/// Failures in a row for this long end a wait, in seconds.
const PATIENCE: u64 = 900;

fn isolated_status(input: &Value) -> Vec<Difference> {
    if input["op"] != "get_isolated_step_status" {
        return Vec::new();
    }
    let Some(id) = input["step"]["metadata"]["sandbox_id"].as_str() else {
        return Vec::new();
    };
    let error = match input["sandboxes"].get(id) {
        _ if id.is_empty() => return Vec::new(),
        None => json!({"type": "NotFoundError", "message": format!("Sandbox {id} not found")}),
        Some(sandbox) => match sandbox["polls"][0].get("raise") {
            Some(error) => error.clone(),
            None => return Vec::new(),
        },
    };
    vec![
        Difference::removed("/ok", "failed".into()),
        Difference::added("/error", error),
    ]
}

fn isolated_wait(input: &Value) -> Vec<Difference> {
    if input["op"] != "wait_for_step" || input["component"] != "orchestrator" {
        return Vec::new();
    }
    let polls = Polls(&input["polls"]);
    let (Some(step), Some(server)) = (input["step_id"].as_str(), input["server_status"].as_str())
    else {
        return Vec::new();
    };
    let finished = [
        "failed",
        "completed",
        "cached",
        "skipped",
        "retried",
        "stopped",
        "cancelled",
        "retrying",
    ];
    let warning = |error: &Value| {
        let message = error["message"].as_str().unwrap_or_default();
        format!("Failed to fetch Modal sandbox `sb` for step run `{step}`: {message}")
    };
    let (mut sleeps, mut warnings) = (Vec::new(), Vec::new());
    let mut real = None;
    let (mut now, mut heard, mut pause) = (0, 0, 1);
    let right = loop {
        match polls.at(sleeps.len()) {
            Poll::Code(Some(code)) => {
                let status = if code == 0 { "completed" } else { "failed" };
                break json!({"ok": {"status": status, "sleeps": sleeps}});
            }
            Poll::Code(None) => heard = now,
            Poll::Raises(error) => {
                warnings.push(warning(error));
                real.get_or_insert_with(|| {
                    json!({
                        "ok": {"status": "failed", "sleeps": sleeps},
                        "warnings": [warning(error)],
                    })
                });
                if now - heard >= PATIENCE {
                    break json!({"error": error});
                }
                if finished.contains(&server) {
                    break json!({"ok": {"status": server, "sleeps": sleeps}});
                }
            }
        }
        if polls.never_ends() {
            return Vec::new();
        }
        sleeps.push(pause);
        now += pause;
        pause = (pause * 2).min(16);
    };
    let Some(real) = real else {
        return Vec::new();
    };
    let mut right = right;
    right["warnings"] = warnings.into();
    Difference::whole(real, right)
}

fn sandbox_wait(input: &Value) -> Vec<Difference> {
    if input["op"] != "wait_for_sandbox" {
        return Vec::new();
    }
    let polls = Polls(&input["polls"]);
    let (mut real, mut now, mut heard) = (None, 0_u64, 0);
    let right = loop {
        match polls.at(usize::try_from(now).unwrap_or(usize::MAX)) {
            Poll::Code(Some(code)) => {
                let sleeps = vec![1.0; usize::try_from(now).unwrap_or_default()];
                break json!({"ok": {"code": code, "sleeps": sleeps, "polls": now + 1}});
            }
            Poll::Code(None) => heard = now,
            Poll::Raises(error) => {
                real.get_or_insert_with(|| json!({"error": error}));
                if now - heard >= PATIENCE {
                    break json!({"error": error});
                }
            }
        }
        if polls.never_ends() {
            return Vec::new();
        }
        now += 1;
    };
    match real {
        Some(real) => Difference::whole(real, right),
        None => Vec::new(),
    }
}

/// What a sandbox answers, one by one, the last answer again and again.
pub(super) struct Polls<'a>(pub(super) &'a Value);

/// One answer.
pub(super) enum Poll<'a> {
    /// An exit code, or none.
    Code(Option<i64>),
    /// A failure.
    Raises(&'a Value),
}

impl<'a> Polls<'a> {
    /// The answer at a position, from 0.
    pub(super) fn at(&self, position: usize) -> Poll<'a> {
        let answers = self.0.as_array();
        let answer = answers.and_then(|answers| answers.get(position).or(answers.last()));
        match answer.and_then(|answer| answer.get("raise")) {
            Some(error) => Poll::Raises(error),
            None => Poll::Code(answer.and_then(Value::as_i64)),
        }
    }

    /// Whether the last answer, which is given for ever, is that it runs.
    pub(super) fn never_ends(&self) -> bool {
        self.0
            .as_array()
            .and_then(|answers| answers.last())
            .is_none_or(Value::is_null)
    }
}
