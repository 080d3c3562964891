//! `--json`: one object a line, of promised shapes.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use crate::harness::{Fifo, Home, all, assert_told, wait_until};

/// A step of each fate but `cancelled`.
const FATES: &str = "
name: fates
execution_mode: continue_on_failure
settings: {gpu: T4}
steps:
  good: {command: [sh, -c, 'echo one; echo two >&2'], settings: {gpu: null}}
  warned: {command: ['true'], resources: {gpu_count: 0}}
  bad: {command: [sh, -c, exit 3], settings: {gpu: null}}
  below: {command: ['true'], after: [bad], settings: {gpu: null}}
";

fn keys(object: &Value) -> BTreeSet<&str> {
    object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn a_run_is_told_as_promised() {
    let home = Home::new();
    home.write("p.yaml", FATES);
    let arguments = [
        "run",
        "p.yaml",
        "--json",
        "--run-id",
        "r",
        "--max-parallelism",
        "1",
    ];
    let run = home.flavor(arguments).run().expect(1);
    let events = run.objects();
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(kinds.first(), Some(&"run-started"));
    assert_eq!(kinds.last(), Some(&"run-finished"));
    let last = events.last().unwrap();
    assert_eq!(last["status"], "failed");
    let steps = json!({
        "good": "completed", "warned": "completed", "bad": "failed", "below": "skipped",
    });
    assert_eq!(last["steps"], steps);
    let steps = ["good", "warned", "bad", "below"];
    for event in &events {
        let required: &[&str] = match event["event"].as_str().unwrap() {
            "run-started" => &["event", "run", "name", "target"],
            "step-started" => &["event", "step", "attempt", "sandbox"],
            "step-finished" => &["event", "step", "status", "attempt", "exit_code", "reason"],
            "log" => &["event", "step", "attempt", "stream", "text"],
            "warning" => &["event", "step", "message"],
            "run-finished" => &["event", "status", "error", "steps"],
            other => panic!("an unknown event {other}"),
        };
        assert_eq!(keys(event), required.iter().copied().collect(), "{event}");
        if let Some(step) = event.get("step") {
            assert!(steps.contains(&step.as_str().unwrap()), "{event}");
        }
    }
    for (step, times) in steps.into_iter().zip([1, 1, 1, 0]) {
        let of_step = |kind| {
            let is_it = |event: &&Value| event["event"] == kind && event["step"] == step;
            events.iter().filter(is_it).count()
        };
        assert_eq!(of_step("step-started"), times, "{step}: {run}");
        assert_eq!(of_step("step-finished"), 1, "{step}: {run}");
    }
    assert_told!(run.sorted());
}

#[test]
fn what_is_recorded_is_told_as_promised() {
    let home = Home::new();
    home.write("p.yaml", FATES);
    let arguments = ["run", "p.yaml", "--run-id", "r", "--max-parallelism", "1"];
    home.flavor(arguments).run().expect(1);
    assert_told!(all(&[
        home.flavor(["status", "r", "--json"]).run().expect(0),
        home.flavor(["runs", "list", "--json"]).run().expect(0),
        home.flavor(["logs", "r", "--json"])
            .run()
            .expect(0)
            .sorted(),
        home.flavor(["logs", "r", "bad", "--json"]).run().expect(0),
    ]));
}

#[test]
fn output_that_is_no_text_travels_in_base64() {
    let home = Home::new();
    let pipeline = r"
name: p
steps:
  text: {command: [printf, 'a \0\033 \303\244']}
  bytes: {command: [printf, '\377\376'], after: [text]}
";
    home.write("p.yaml", pipeline);
    let arguments = ["run", "p.yaml", "--json", "--run-id", "r"];
    let run = home.flavor(arguments).run().expect(0);
    let logs = home.flavor(["logs", "r", "--json"]).run().expect(0);
    for outcome in [run, logs] {
        let events = outcome.objects();
        let log = |step| {
            let is_it = |event: &&Value| event["event"] == "log" && event["step"] == step;
            events.iter().find(is_it).unwrap()
        };
        let (text, bytes) = (log("text"), log("bytes"));
        assert_eq!(
            (&text["text"], text.get("base64")),
            (&"a \0\u{1b} ä".into(), None)
        );
        assert_eq!(
            (&bytes["base64"], bytes.get("text")),
            (&"//4=".into(), None)
        );
    }
}

#[test]
fn half_a_character_at_the_end_is_told_too() {
    let home = Home::new();
    let step = r#"{command: [sh, -c, 'printf "\303"; exit 1'], retry: {max_retries: 1}}"#;
    home.write("p.yaml", format!("name: p\nsteps: {{a: {step}}}\n"));
    let words = ["run", "p.yaml", "--json", "--run-id", "r"];
    let run = home.flavor(words).run().expect(1);
    let logs = home.flavor(["logs", "r", "--json"]).run().expect(0);
    for outcome in [run, logs] {
        let mut events = outcome.objects();
        events.retain(|event| event["event"] == "log");
        let told = events.iter();
        let mut told: Vec<_> = told
            .map(|event| (event["attempt"].as_u64(), event["base64"].as_str()))
            .collect();
        told.sort();
        let expected = [(Some(0), Some("ww==")), (Some(1), Some("ww=="))];
        assert_eq!(told, expected, "{outcome}");
    }
}

#[test]
fn a_character_that_comes_in_pieces_stays_whole() {
    let home = Home::new();
    let mut gate = Fifo::new(&home, "gate");
    let script = format!(
        r"printf '\360\237'; read x <{}; printf '\246\200'",
        gate.path()
    );
    let steps = json!({"a": {"command": ["sh", "-c", script]}});
    home.write("p.json", json!({"name": "p", "steps": steps}).to_string());
    let words = ["run", "p.json", "--json", "--run-id", "r"];
    let run = home.flavor(words).start();
    // The half of it is on disk, and so one piece.
    let half = home.run_dir("r").join("outputs");
    wait_until("half a character", || {
        fs::metadata(&half).is_ok_and(|file| file.len() > 0)
    });
    gate.release();
    let run = run.finish().expect(0);
    let logs = home.flavor(["logs", "r", "--json"]).run().expect(0);
    for outcome in [run, logs] {
        let events = outcome.objects();
        let texts = events.iter().filter_map(|event| event["text"].as_str());
        assert_eq!(texts.collect::<String>(), "🦀", "{outcome}");
    }
}
