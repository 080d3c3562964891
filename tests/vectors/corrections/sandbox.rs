//! Rules about sandbox sessions.

use super::line_buffer::bytes_of;
use super::{Difference, Rule};
use serde_json::{Value, json};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "untagged-sandbox",
        areas: &["sandbox"],
        inputs: "a sandbox is created or restored, and tagging it fails",
        real: "raises, and leaves the sandbox running",
        here: "ends the sandbox, then fails with the same error",
        why: "nobody has a handle on it or finds it by its tags, and it costs money until its timeout",
        differences: untagged,
    },
    Rule {
        id: "wait-without-patience",
        areas: &["sandbox"],
        inputs: "a command is waited for with a time limit of zero or less",
        real: "raises TimeoutError without asking whether the command has ended",
        here: "asks once",
        why: "a limit of zero asks whether the command has ended; the answer was always no",
        differences: impatient,
    },
    Rule {
        id: "lines-after-a-long-one",
        areas: &["sandbox"],
        inputs: "output is collected in which a line that fits the limit comes after one that does not",
        real: "drops everything from the first line on that does not fit",
        here: "drops the lines that do not fit",
        why: "one long line, such as a progress bar, hides the error message at the end",
        differences: short_lines,
    },
];

fn untagged(input: &Value) -> Vec<Difference> {
    let is_tagged_in_vain = !input["box"]["fail"]["set_tags"].is_null();
    if !is_tagged_in_vain || !input["modal_fail"].is_null() || !is_created(input) {
        return Vec::new();
    }
    let mut tags = json!({
        "zenml-sandbox-id": "sb-1",
        "zenml-sandbox-component-id": input["component_id"],
    });
    if input["step"].is_object() {
        tags["run_id"] = "a0000000-0000-4000-8000-000000000010".into();
        tags["step_run_id"] = "a0000000-0000-4000-8000-000000000040".into();
    }
    let tagged = json!({"call": "sandbox.set_tags", "sandbox": "sb-1", "args": [tags]});
    let ended = json!({"call": "sandbox.terminate", "sandbox": "sb-1", "args": []});
    Difference::ending("/ok/calls", vec![tagged.clone()], vec![tagged, ended])
}

/// Whether the case gets as far as a new sandbox, when Modal does its part.
fn is_created(input: &Value) -> bool {
    let restore = &input["start"]["restore"];
    let is_own = [&Value::Null, &input["component_id"]].contains(&&restore["sandbox_id"]);
    let is_new = input["start"]["create"].is_object() || (restore.is_object() && is_own);
    let is_amount = |text: &str| {
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let units = "B KB KiB MB MiB GB GiB TB TiB PB PiB";
        unit.len() < text.len() && units.split(' ').any(|known| known == unit)
    };
    let is_enough = |cores: &Value| match cores.as_str() {
        Some(text) => text.trim().parse::<f64>().is_ok_and(|cores| cores > 0.0),
        None => cores.as_f64().is_none_or(|cores| cores > 0.0),
    };
    is_new
        && setting(input, "memory").as_str().is_none_or(is_amount)
        && is_enough(setting(input, "cpu"))
}

/// What applies: what the call says, else the step, else the configuration.
fn setting<'a>(input: &'a Value, name: &str) -> &'a Value {
    let of_step = &input["step"]["settings"];
    let of_step = of_step
        .get("sandbox:runner")
        .or_else(|| of_step.get("sandbox.modal"));
    let given = [
        Some(&input["start"]["create"]["settings"]),
        of_step,
        Some(&input["config"]),
    ];
    let mut values = given.into_iter().flatten();
    let value = values.find_map(|values| values.get(name));
    value.unwrap_or(&Value::Null)
}

/// Understands a wait that is followed by nothing that calls Modal.
fn impatient(input: &Value) -> Vec<Difference> {
    let actions = input["actions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let is_silent = |action: &Value| action["do"] == "closed" || action["do"] == "kill";
    let Some(place) = actions.iter().rposition(|action| !is_silent(action)) else {
        return Vec::new();
    };
    let (Some(action), Some(command)) = (actions.get(place), command_before(input, place)) else {
        return Vec::new();
    };
    let timeout = &action["timeout"];
    if action["do"] != "wait" || timeout.as_f64().is_none_or(|timeout| timeout > 0.0) {
        return Vec::new();
    }
    let text = format!("Modal command did not exit within {timeout} seconds.");
    let late = json!({"error": {"type": "TimeoutError", "message": text}});
    let polls = command["polls"].as_array().and_then(|polls| polls.first());
    let asked = match polls {
        Some(Value::Null) => late.clone(),
        Some(Value::Object(fails)) => json!({"error": fails.get("raise")}),
        code => json!({"ok": {"code": code.unwrap_or(&command["returncode"])}}),
    };
    let waited = json!({"call": "waited", "seconds": 0.0});
    let poll = json!({"call": "process.poll"});
    let mut differences = Difference::ending("/ok/calls", vec![waited.clone()], vec![poll, waited]);
    let result = format!("/ok/results/{}", place + 1);
    differences.push(Difference::at(result, late, asked));
    differences
}

/// The command that an action is about: the last one that was started.
fn command_before(input: &Value, place: usize) -> Option<&Value> {
    if !input["box"]["fail"]["exec"].is_null() {
        return None;
    }
    let actions = input["actions"].as_array()?.get(..place)?;
    let started = actions
        .iter()
        .filter(|action| action["do"] == "exec")
        .count();
    input["processes"].get(started.checked_sub(1)?)
}

/// What decoding as a whole makes of collected output.
pub(super) fn across_pieces(input: &Value) -> Vec<Difference> {
    let real = (Decoded::Each, Kept::UpToOne);
    collected(input, real, (Decoded::Whole, Kept::UpToOne))
}

/// Applied after the rule about characters.
fn short_lines(input: &Value) -> Vec<Difference> {
    let real = (Decoded::Whole, Kept::UpToOne);
    collected(input, real, (Decoded::Whole, Kept::AllThatFit))
}

#[derive(Clone, Copy, PartialEq)]
enum Decoded {
    Each,
    Whole,
}

#[derive(Clone, Copy, PartialEq)]
enum Kept {
    UpToOne,
    AllThatFit,
}

fn collected(input: &Value, real: (Decoded, Kept), right: (Decoded, Kept)) -> Vec<Difference> {
    let actions = input["actions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let Some(place) = actions.iter().position(|action| action["do"] == "collect") else {
        return Vec::new();
    };
    let Some(command) = command_before(input, place) else {
        return Vec::new();
    };
    let limit = actions
        .get(place)
        .and_then(|action| action["max_chars"].as_u64());
    let limit = limit.unwrap_or(1_048_576);
    let mut differences = Vec::new();
    for name in ["stdout", "stderr"] {
        let chunks = command[name]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        // An output that breaks is not collected at all.
        let Some(pieces) = bytes_of(chunks) else {
            return Vec::new();
        };
        let (real, right) = (keep(&pieces, real, limit), keep(&pieces, right, limit));
        for (at, real, right) in [
            (name.to_owned(), json!(real.0), json!(right.0)),
            (format!("{name}_truncated"), json!(real.1), json!(right.1)),
        ] {
            if real != right {
                let at = format!("/ok/results/{}/ok/{at}", place + 1);
                differences.push(Difference::at(at, real, right));
            }
        }
    }
    differences
}

/// What is kept of an output, and whether something is left out.
fn keep(pieces: &[Vec<u8>], (decoded, kept): (Decoded, Kept), limit: u64) -> (String, bool) {
    let text: String = match decoded {
        Decoded::Each => pieces
            .iter()
            .map(|piece| String::from_utf8_lossy(piece))
            .collect(),
        Decoded::Whole => String::from_utf8_lossy(&pieces.concat()).into_owned(),
    };
    let mut result = (String::new(), false);
    let mut used = 0;
    for line in text.split_inclusive('\n') {
        let length = line.chars().count() as u64;
        let is_over = result.1 && kept == Kept::UpToOne;
        if is_over || used + length > limit {
            result.1 = true;
        } else {
            used += length;
            result.0.push_str(line);
        }
    }
    result
}
