//! `flavor run`: order, width, parallelism, outcome.

use std::{collections::HashMap, fmt::Write as _, fs};

use serde_json::Value;

use crate::harness::{Fifo, Home, Outcome, Stream, all, assert_told, names};

const CHAIN: &str = "
name: chain
steps:
  ingest: {command: [sh, -c, 'echo rows; echo a warning >&2']}
  train: {command: [echo, trained], after: [ingest]}
  report: {command: [echo, written], after: [train]}
";

/// Positions of the events of steps, by kind and step.
fn positions(outcome: &Outcome) -> HashMap<(String, String), usize> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let key = |event: &Value| (text(&event["event"]), text(&event["step"]));
    let events = outcome.objects();
    let keys = events.iter().map(key);
    keys.enumerate().map(|(at, key)| (key, at)).collect()
}

/// Checks that a step started after another one had finished.
fn assert_after(outcome: &Outcome, step: &str, upstream: &str) {
    let positions = positions(outcome);
    let at = |event: &str, step: &str| positions[&(event.to_owned(), step.to_owned())];
    let (started, finished) = (at("step-started", step), at("step-finished", upstream));
    assert!(started > finished, "{step} after {upstream}: {outcome}");
}

#[test]
fn a_chain_runs_in_its_order() {
    let home = Home::new();
    let run = home.run("r", CHAIN).expect(0);
    assert_eq!(run.stdout().lines().next(), Some("r"));
    assert_told!(run.sorted());
    let status = home.flavor(["status", "r"]).run().expect(0);
    assert_told!(status);

    let arguments = ["run", "p.yaml", "--json", "--run-id", "s"];
    let run = home.flavor(arguments).run().expect(0);
    assert_after(&run, "train", "ingest");
    assert_after(&run, "report", "train");
}

#[test]
fn a_diamond_joins_again() {
    let home = Home::new();
    let mut gate = Fifo::new(&home, "gate");
    let mut here = Fifo::new(&home, "here");
    let script = format!("echo $0 >{}; read x <{}", here.path(), gate.path());
    let pipeline = format!(
        "
name: diamond
steps:
  bottom: {{command: ['true'], after: [left, right]}}
  left: {{command: [sh, -c, '{script}', left], after: [top]}}
  right: {{command: [sh, -c, '{script}', right], after: [top]}}
  top: {{command: ['true']}}
"
    );
    home.write("p.yaml", pipeline);
    let run = home.flavor(["run", "p.yaml", "--json"]).start();
    // Neither ends before both are there.
    let mut sides = [here.line(), here.line()];
    sides.sort();
    assert_eq!(sides, ["left", "right"]);
    gate.release();
    gate.release();
    let run = run.finish().expect(0);
    for (step, upstream) in [
        ("left", "top"),
        ("right", "top"),
        ("bottom", "left"),
        ("bottom", "right"),
    ] {
        assert_after(&run, step, upstream);
    }
}

#[test]
fn fifty_steps_run_side_by_side() {
    let home = Home::new();
    let mut gate = Fifo::new(&home, "gate");
    let mut here = Fifo::new(&home, "here");
    let script = format!("echo $0 >{}; read x <{}", here.path(), gate.path());
    let mut pipeline = "name: wide\nsteps:\n".to_owned();
    let wide: Vec<String> = (0..50).map(|number| format!("part-{number:02}")).collect();
    for step in &wide {
        writeln!(
            pipeline,
            "  {step}: {{command: [sh, -c, '{script}', {step}]}}"
        )
        .unwrap();
    }
    let after = wide.join(", ");
    writeln!(pipeline, "  join: {{command: ['true'], after: [{after}]}}").unwrap();
    home.write("p.yaml", &pipeline);
    let run = home.flavor(["run", "p.yaml", "--json"]).start();
    let mut started: Vec<String> = wide.iter().map(|_| here.line()).collect();
    started.sort();
    assert_eq!(started, wide);
    for _ in &wide {
        gate.release();
    }
    let run = run.finish().expect(0);
    for step in &wide {
        assert_after(&run, "join", step);
    }
    let last = run.objects().pop().unwrap();
    let steps = last["steps"].as_object().unwrap();
    assert_eq!(steps.len(), 51);
    assert!(steps.values().all(|status| status == "completed"));
}

#[test]
fn no_more_run_at_once_than_allowed() {
    let home = Home::new();
    let mut gate = Fifo::new(&home, "gate");
    let mut here = Fifo::new(&home, "here");
    // Each counts who runs when it starts, itself included.
    let script = format!(
        "cd $FLAVOR_RUN_DIR; mkdir -p now; mkdir now/$0; ls now | wc -l >count-$0; \
         echo $0 >{}; read x <{}; rmdir now/$0",
        here.path(),
        gate.path()
    );
    let mut pipeline = "name: narrow\nrun_dir: true\nsteps:\n".to_owned();
    for step in ["a", "b", "c", "d", "e", "f", "g"] {
        let command = format!("[sh, -c, '{script}', {step}]");
        writeln!(pipeline, "  {step}: {{command: {command}}}").unwrap();
    }
    home.write("p.yaml", pipeline);
    let arguments = ["run", "p.yaml", "--run-id", "r", "--max-parallelism", "3"];
    let run = home.flavor(arguments).start();
    for _ in 0..3 {
        here.line();
    }
    for _ in 3..7 {
        gate.release();
        here.line();
    }
    for _ in 0..3 {
        gate.release();
    }
    run.finish().expect(0);
    let shared = home.shared("r");
    let count = |name: &String| fs::read_to_string(shared.join(name)).unwrap();
    let names = names(&shared);
    let counts = names.iter().filter(|name| name.starts_with("count-"));
    let counts: Vec<u32> = counts
        .map(|name| count(name).trim().parse().unwrap())
        .collect();
    assert_eq!((counts.len(), counts.iter().max()), (7, Some(&3)));
}

#[test]
fn several_runs_share_a_state_directory() {
    let home = Home::new();
    let mut gate = Fifo::new(&home, "gate");
    let mut here = Fifo::new(&home, "here");
    let pipeline = format!(
        "
name: one of many
steps:
  a: {{command: [sh, -c, 'echo here >{}; read x <{}']}}
  b: {{command: ['true'], after: [a]}}
",
        here.path(),
        gate.path()
    );
    home.write("p.yaml", pipeline);
    let ids = ["one", "two", "three", "four"];
    let runs = ids.map(|id| home.flavor(["run", "p.yaml", "--run-id", id]).start());
    for _ in ids {
        here.line();
    }
    for id in ids {
        assert_eq!(home.status(id), "running");
    }
    for _ in ids {
        gate.release();
    }
    for run in runs {
        run.finish().expect(0);
    }
    for id in ids {
        assert_eq!(home.status(id), "completed");
    }
}

#[test]
fn one_pipeline_as_yaml_and_as_json() {
    let home = Home::new();
    home.write(
        "p.json",
        r#"{"name": "j", "steps": {"a": {"command": ["echo", "ж"]}}}"#,
    );
    let run = home.flavor(["run", "p.json", "--run-id", "r"]).run();
    assert_eq!(run.expect(0).stdout(), "r\na | ж\n");
}

#[test]
fn what_is_recorded_can_be_made_to_survive_the_machine() {
    let home = Home::new();
    home.write("p.yaml", CHAIN);
    let arguments = ["run", "p.yaml", "--durable", "--run-id", "r"];
    home.flavor(arguments).run().expect(0);
    assert_eq!(home.status("r"), "completed");
}

#[test]
fn a_step_that_fails_says_why() {
    let home = Home::new();
    let pipeline = "
name: failing
execution_mode: continue_on_failure
settings: {timeout: 1}
steps:
  code: {command: [sh, -c, exit 3]}
  killed: {command: [sh, -c, kill -9 $$], after: []}
  missing: {command: [no-such-program]}
  directory: {command: [/]}
  late: {command: [sleep, '1000']}
  below: {command: ['true'], after: [code, late]}
";
    let run = home.run("r", pipeline).expect(1);
    assert_eq!(home.status("r"), "failed");
    let status = home.flavor(["status", "r"]).run().expect(0);
    assert_told!(all(&[run.sorted(), status]));
}

#[test]
fn nothing_of_a_sandbox_outlives_its_step() {
    let home = Home::new();
    // A daemon in a session of its own, a child in the background, and files.
    let pipeline = "
name: untidy
steps:
  untidy:
    command:
      - sh
      - -c
      - 'setsid sleep 1000 & sleep 1000 & touch file; mkdir -m 0 closed; touch $TMPDIR/file'
  after: {command: ['true'], after: [untidy]}
";
    home.run("r", pipeline).expect(0);
    home.assert_clean();
}

#[test]
fn control_characters_in_a_name_are_shown_not_obeyed() {
    let home = Home::new();
    let pipeline = "name: \"a\\e[2Jb\"\nsteps: {a: {command: ['true']}}\n";
    home.run("r", pipeline).expect(0);
    let list = home.flavor(["runs", "list"]).run().expect(0);
    let status = home.flavor(["status", "r"]).run().expect(0);
    for outcome in [list, status] {
        assert!(outcome.stdout().contains(r"a\u{1b}[2Jb"), "{outcome}");
    }
}

#[test]
fn a_line_that_never_ends_is_shown_nevertheless() {
    let home = Home::new();
    let pipeline = "name: p\nsteps: {a: {command: [printf, 'no end']}}\n";
    let run = home.start("r", pipeline);
    run.line(Stream::Stdout, "a | no end");
    assert_eq!(run.finish().expect(0).stdout(), "r\na | no end\n");
}
