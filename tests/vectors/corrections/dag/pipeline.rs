//! A model of the original's controller, for pipelines on which nothing but
//! their own steps has an influence.

use super::super::Difference;
use super::super::status::{Poll, Polls};
use super::Defect;
use super::graph::{Edges, faults};
use serde_json::{Map, Value, json};

/// The defect that a case shows.
pub(super) fn defect(input: &Value) -> Option<Defect> {
    let steps = input["steps"].as_array()?;
    let raises = |step: &Value| {
        let polls = step["polls"].as_array().into_iter().flatten();
        polls.into_iter().any(|poll| poll["raise"].is_object())
    };
    if !faults(&edges(steps)).is_empty() {
        Some(Defect::Graph)
    } else if steps.iter().any(raises) {
        Some(Defect::Look)
    } else if steps.iter().any(|step| step["create"].is_object()) {
        Some(Defect::Start)
    } else if steps.iter().any(|step| step["terminate"].is_object()) {
        Some(Defect::Stop)
    } else {
        None
    }
}

fn edges(steps: &[Value]) -> Edges {
    let edges = steps.iter().map(|step| {
        let before = step["upstream"].as_array().into_iter().flatten();
        let before = before.filter_map(|name| name.as_str().map(str::to_owned));
        (
            step["name"].as_str().unwrap_or_default().to_owned(),
            before.collect(),
        )
    });
    edges.collect()
}

/// Whether the model knows all that has an influence.
fn is_plain(input: &Value) -> bool {
    let is_running = matches!(input["run"]["status"].as_str(), None | Some("running"));
    let only_steps = input["server_fail"]
        .as_object()
        .is_none_or(|fail| fail.keys().all(|call| call == "create_run_step"));
    is_running && only_steps && input["run"]["events"].is_null() && input["show_kwargs"].is_null()
}

/// What the original did.
pub(super) fn original(input: &Value) -> Option<Value> {
    let steps = input["steps"].as_array()?;
    let edges = edges(steps);
    let known = |name: &String| edges.iter().any(|(step, _)| step == name);
    let unknown = edges
        .iter()
        .flat_map(|(_, before)| before)
        .find(|name| !known(name));
    match unknown {
        Some(name) => {
            let error = json!({"type": "KeyError", "message": name});
            Some(json!({"error": error, "state": Model::default().state(Value::Null)}))
        }
        None if is_plain(input) => Model::default().run(input, true),
        None => None,
    }
}

/// What is right.
pub(super) fn right(input: &Value) -> Option<Value> {
    let steps = input["steps"].as_array()?;
    let faults = faults(&edges(steps));
    if !faults.is_empty() {
        let error = json!({"type": "ValueError", "message": faults.join("; ")});
        return Some(json!({"error": error, "state": Model::default().state(Value::Null)}));
    }
    match is_plain(input) {
        true => Model::default().run(input, false),
        false => None,
    }
}

/// A forced stop of steps that all run, of which some cannot be ended: the
/// original does not get beyond the first of these.
pub(super) fn forced_stop(input: &Value) -> Vec<Difference> {
    let is_forced = input["run"]["events"][0]["status"] == "stopped";
    let steps = input["steps"].as_array().into_iter().flatten();
    let runs = |step: &&Value| {
        step["polls"] == json!([null]) && step["upstream"].as_array().is_none_or(Vec::is_empty)
    };
    let running: Vec<&Value> = steps.filter(runs).collect();
    let Some(first) = running
        .iter()
        .position(|step| step["terminate"].is_object())
    else {
        return Vec::new();
    };
    let names = |steps: &[&Value]| {
        let mut names: Vec<&str> = steps
            .iter()
            .filter_map(|step| step["name"].as_str())
            .collect();
        names.sort_unstable();
        json!(names)
    };
    let (real, right) = (names(&running[..=first]), names(&running));
    match is_forced && real != right {
        true => vec![Difference::at("/state/terminated", real, right)],
        false => Vec::new(),
    }
}

#[derive(Default)]
struct Model {
    /// Name, status and the second it ended at.
    ended: Vec<(String, &'static str, usize)>,
    created: Vec<(usize, Value)>,
    sandboxes: Vec<String>,
    terminated: Vec<String>,
    run_metadata: Map<String, Value>,
    step_metadata: Vec<(usize, Value)>,
    cached: Vec<(usize, String)>,
    step_updates: Vec<Value>,
    run_updates: Vec<Value>,
    run_status: Option<&'static str>,
    warnings: Vec<String>,
}

impl Model {
    fn run(mut self, input: &Value, is_original: bool) -> Option<Value> {
        let steps = input["steps"].as_array()?;
        let edges = edges(steps);
        let refusal = &input["server_fail"]["create_run_step"];
        let mut goes_on = true;
        while goes_on {
            goes_on = false;
            for (script, (name, before)) in steps.iter().zip(&edges) {
                let before: Vec<_> = before.iter().map(|name| self.of(name)).collect();
                if self.of(name).is_some() {
                    continue;
                }
                let failed = |of: &Option<(&str, usize)>| {
                    of.is_some_and(|(status, _)| status != "completed")
                };
                if before.iter().any(failed) {
                    self.warnings.push(format!(
                        "Skipping node `{name}` because upstream node failed."
                    ));
                    self.ended.push((name.clone(), "skipped", 0));
                } else if before.iter().all(Option::is_some) {
                    let start = before.iter().flatten().map(|(_, end)| *end).max();
                    self.step(name, script, refusal, start.unwrap_or(0), is_original)?;
                } else {
                    continue;
                }
                goes_on = true;
            }
        }
        Some(self.report(steps, &edges))
    }

    fn of(&self, name: &str) -> Option<(&'static str, usize)> {
        let step = self.ended.iter().find(|(step, _, _)| step == name);
        step.map(|(_, status, end)| (*status, *end))
    }

    /// Runs a step from the given second on.
    fn step(
        &mut self,
        name: &str,
        script: &Value,
        refusal: &Value,
        start: usize,
        is_original: bool,
    ) -> Option<()> {
        match script["cache"].as_str() {
            Some("hit" | "publish_raises") if refusal.is_null() => {
                self.created.push((start, json!([name, "cached"])));
                self.cached.push((start, name.to_owned()));
                self.ended.push((name.to_owned(), "completed", start + 1));
                return Some(());
            }
            Some("hit" | "publish_raises") => {
                self.warnings
                    .push(format!("Node `{name}` failed to start."));
                self.ended.push((name.to_owned(), "failed", start + 1));
                return Some(());
            }
            Some("populate_raises") => self.warnings.push(format!(
                "Failed to populate step run request for step `{name}`: inputs not found"
            )),
            _ => {}
        }
        self.sandboxes.push(name.to_owned());
        if script["create"].is_object() {
            self.warnings
                .push(format!("Node `{name}` failed to start."));
            if !is_original {
                self.record_failure(name, script, refusal, start);
            }
            self.ended.push((name.to_owned(), "failed", start + 1));
            return Some(());
        }
        let sandbox = format!("sb-{name}");
        let key = format!("modal_step_sandbox_id_{name}");
        self.run_metadata.insert(key, sandbox.clone().into());
        let watched = self.watch(name, script, is_original)?;
        let told_at = (0..=watched.seconds)
            .step_by(10)
            .find(|second| recorded(script, *second).is_some());
        if let Some(second) = told_at {
            let mut values = json!({"sandbox_id": sandbox});
            let environment = script["settings"]["orchestrator:runner"]["modal_environment"]
                .as_str()
                .map(str::trim)
                .filter(|environment| !environment.is_empty());
            if let Some(environment) = environment {
                values["modal_environment"] = environment.into();
            }
            self.step_metadata
                .push((start + second, json!([name, values])));
        }
        let status = match watched.end {
            End::Success => "completed",
            End::Unseen => "failed",
            End::Failure => match recorded(script, watched.seconds) {
                Some("completed" | "cached" | "skipped") => "completed",
                Some(_) => "failed",
                None => {
                    self.record_failure(name, script, refusal, start + watched.seconds);
                    "failed"
                }
            },
        };
        if status == "failed" {
            self.warnings.push(format!("Node `{name}` failed."));
        }
        self.ended
            .push((name.to_owned(), status, start + watched.seconds));
        Some(())
    }

    /// Follows the answers about a sandbox to their end; none when there is none.
    fn watch(&mut self, name: &str, script: &Value, is_original: bool) -> Option<Watched> {
        let polls = match &script["polls"] {
            Value::Null => &json!([0]),
            polls => polls,
        };
        let polls = Polls(polls);
        let count = polls.0.as_array().map_or(0, Vec::len);
        for position in 0.. {
            let seconds = position + 1;
            let end = match polls.at(position) {
                Poll::Code(Some(0)) => End::Success,
                Poll::Code(Some(_)) => {
                    let what = format!("Modal sandbox for step `{name}` failed.");
                    self.warnings.push(what);
                    End::Failure
                }
                Poll::Raises(_) if is_original => End::Unseen,
                Poll::Raises(_) if seconds >= count => {
                    self.terminated.push(name.to_owned());
                    return Some(Watched {
                        seconds: 900,
                        end: End::Failure,
                    });
                }
                Poll::Code(None) if seconds >= count => return None,
                Poll::Code(None) | Poll::Raises(_) => continue,
            };
            return Some(Watched { seconds, end });
        }
        None
    }

    fn record_failure(&mut self, name: &str, script: &Value, refusal: &Value, second: usize) {
        let populate = match script["cache"].as_str() {
            Some("populate_raises") => Some("inputs not found"),
            _ => script["populate"]["message"].as_str(),
        };
        if let Some(message) = populate {
            self.warnings.push(format!(
                "Failed to populate failed step run request for `{name}`: {message}"
            ));
        } else if let Some(message) = refusal["message"].as_str() {
            let what = format!("Failed to publish failed step run `{name}`: {message}");
            self.warnings.push(what);
        } else {
            self.created.push((second, json!([name, "failed"])));
        }
    }

    /// What the controller says at the end.
    fn report(mut self, steps: &[Value], edges: &Edges) -> Value {
        let status = |name: &String| self.of(name).map_or("not_ready", |(status, _)| status);
        let statuses: Map<String, Value> = edges
            .iter()
            .map(|(name, _)| (name.clone(), status(name).into()))
            .collect();
        let names = |wanted: &str| -> Vec<String> {
            let names = edges.iter().map(|(name, _)| name);
            names
                .filter(|name| status(name) == wanted)
                .cloned()
                .collect()
        };
        let (failed, skipped) = (names("failed"), names("skipped"));
        if !names("not_ready").is_empty() {
            let state = self.state(statuses.into());
            return self.with_warnings(json!({"hang": state}));
        }
        if !skipped.is_empty() {
            let skipped = skipped.join(", ");
            let what = format!("The following Modal steps were skipped: {skipped}");
            self.warnings.push(what);
        }
        if failed.is_empty() {
            self.ends("completed");
            let state = self.state(statuses.into());
            return self.with_warnings(json!({"ok": state}));
        }
        let listed = failed.join(", ");
        self.warnings.push(format!(
            "The following Modal steps did not complete successfully: {listed}"
        ));
        for name in &failed {
            let script = steps.iter().find(|step| step["name"] == **name);
            let recorded = script.and_then(|script| recorded(script, usize::MAX));
            let is_created = self.created.iter().any(|(_, entry)| entry[0] == **name);
            let finished = [
                "failed",
                "completed",
                "cached",
                "skipped",
                "retried",
                "stopped",
            ];
            if !is_created
                && recorded
                    .is_some_and(|status| !finished.contains(&status) && status != "cancelled")
            {
                self.step_updates.push(json!([name, "failed"]));
            }
        }
        self.ends("failed");
        let state = self.state(statuses.into());
        let message = format!("Modal steps did not complete successfully: {listed}");
        let error = json!({"type": "RuntimeError", "message": message});
        self.with_warnings(json!({"error": error, "state": state}))
    }

    fn ends(&mut self, status: &'static str) {
        self.run_updates.push(json!({"status": status}));
        self.run_status = Some(status);
    }

    fn state(&self, statuses: Value) -> Value {
        let by_time = |entries: &[(usize, Value)]| {
            let mut entries = entries.to_vec();
            entries.sort_by_key(|(second, _)| *second);
            entries
                .into_iter()
                .map(|(_, entry)| entry)
                .collect::<Vec<_>>()
        };
        let sorted = |names: &[String]| {
            let mut names = names.to_vec();
            names.sort();
            names
        };
        let mut cached = self.cached.clone();
        cached.sort_by_key(|(second, _)| *second);
        let cached: Vec<String> = cached.into_iter().map(|(_, name)| name).collect();
        json!({
            "statuses": statuses,
            "run_updates": self.run_updates,
            "run_status": self.run_status.unwrap_or("running"),
            "created_step_runs": by_time(&self.created),
            "step_run_updates": self.step_updates,
            "sandboxes": sorted(&self.sandboxes),
            "terminated": sorted(&self.terminated),
            "run_metadata": self.run_metadata,
            "step_metadata": by_time(&self.step_metadata),
            "cached": cached,
        })
    }

    fn with_warnings(mut self, mut result: Value) -> Value {
        self.warnings.sort();
        self.warnings.dedup();
        if !self.warnings.is_empty() {
            result["warnings"] = self.warnings.into();
        }
        result
    }
}

struct Watched {
    /// One for each answer.
    seconds: usize,
    end: End,
}

enum End {
    Success,
    Failure,
    /// The original looked, and that failed.
    Unseen,
}

/// What a step has recorded after so many answers about its sandbox.
fn recorded(script: &Value, polls: usize) -> Option<&str> {
    let entries = script["step_run"].as_array()?;
    let reached = |entry: &&Value| {
        let after = entry[0]
            .as_u64()
            .and_then(|after| usize::try_from(after).ok());
        after.is_some_and(|after| after <= polls)
    };
    entries.iter().rev().find(reached)?[1].as_str()
}
