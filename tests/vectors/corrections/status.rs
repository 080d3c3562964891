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
        id: "wait-asks-again",
        areas: &["status", "submission"],
        inputs: "waiting for an isolated step, a sandbox or a controller while a look at it fails",
        real: "ends the wait: with failed for a step, with the error for a sandbox",
        here: "believes the server about a step for the moment and looks again, up to 900 s of \
               failures in a row",
        why: "one hiccup of the network says nothing about the sandbox; the step operator's wait \
              has always done so",
        differences: |input| match input["op"].as_str() {
            Some("wait_for_step") => isolated_wait(input),
            Some("wait_for_sandbox") => sandbox_wait(input),
            Some("submit_static" | "submit_dynamic") => controller_wait(input),
            _ => Vec::new(),
        },
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
    if input["component"] != "orchestrator" {
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
    let Some(watched) = watch(&input["polls"]) else {
        return Vec::new();
    };
    let right = match watched.right {
        Ok(code) => {
            let sleeps = vec![1.0; watched.polls - 1];
            json!({"ok": {"code": code, "sleeps": sleeps, "polls": watched.polls}})
        }
        Err(error) => json!({"error": error}),
    };
    Difference::whole(json!({"error": watched.real}), right)
}

/// A wait for a sandbox in which a look fails.
struct Watched<'a> {
    /// The error that ends it in the original, and after how many looks.
    real: &'a Value,
    real_polls: usize,
    /// How it ends here, and after how many looks, one a second.
    right: Result<i64, &'a Value>,
    polls: usize,
}

fn watch(polls: &Value) -> Option<Watched<'_>> {
    let answers = Polls(polls);
    let mut real = None;
    let mut heard = 0;
    for second in 0_usize.. {
        let right = match answers.at(second) {
            Poll::Code(Some(code)) => Ok(code),
            Poll::Code(None) if answers.never_ends() => return None,
            Poll::Code(None) => {
                heard = second;
                continue;
            }
            Poll::Raises(error) => {
                real.get_or_insert((error, second + 1));
                if u64::try_from(second - heard).is_ok_and(|silence| silence < PATIENCE) {
                    continue;
                }
                Err(error)
            }
        };
        let (real, real_polls) = real?;
        return Some(Watched {
            real,
            real_polls,
            right,
            polls: second + 1,
        });
    }
    None
}

fn controller_wait(input: &Value) -> Vec<Difference> {
    let reaches_the_wait = input["wait"] == true
        && input["modal_fail"].is_null()
        && input["client_fail"].is_null()
        && input["schedule"] != true;
    let Some(watched) = watch(&input["box"]["polls"]).filter(|_| reaches_the_wait) else {
        return Vec::new();
    };
    let poll = json!({"call": "sandbox.poll", "sandbox": "sb-1", "args": []});
    let polls = |count| vec![poll.clone(); count];
    let mut differences =
        Difference::ending("/calls", polls(watched.real_polls), polls(watched.polls));
    match watched.right {
        Err(_) => {}
        Ok(0) => {
            let waited = json!({"metadata": controller_metadata(input), "waits": true});
            differences.push(Difference::removed("/error", watched.real.clone()));
            differences.push(Difference::added("/ok", waited));
        }
        Ok(code) => {
            let message =
                format!("Modal orchestration sandbox `sb-1` failed with exit code {code}.");
            differences.push(Difference::at(
                "/error",
                watched.real.clone(),
                json!({"type": "RuntimeError", "message": message}),
            ));
        }
    }
    differences
}

/// What is published about a run whose controller was started.
fn controller_metadata(input: &Value) -> Value {
    let run = input["run_id"].as_str().or(input["random_id"].as_str());
    let run = run.unwrap_or_default();
    let app: String = format!("zenml-{run}").chars().take(64).collect();
    let mut metadata = json!({
        "orchestrator_run_id": run,
        "modal_orchestration_sandbox_id": "sb-1",
        "modal_app_name": app,
    });
    let settings = &input["settings"];
    let of_run = settings
        .get("orchestrator:runner")
        .unwrap_or(&settings["orchestrator.modal"]);
    let environment = of_run.get("modal_environment");
    let environment = environment.unwrap_or(&input["config"]["modal_environment"]);
    let environment = environment.as_str().map(str::trim).unwrap_or_default();
    if !environment.is_empty() {
        metadata["modal_environment"] = environment.into();
    }
    metadata
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
