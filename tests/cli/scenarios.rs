//! `flavor test`: scenarios in virtual time.

use std::fs;

use serde_json::Value;

use crate::harness::{Home, Outcome};

const GOOD: &str = "
pipeline:
  name: good
  steps:
    prepare: {command: [prepare]}
    train: {command: [train], after: [prepare]}
steps: {train: {runs: 36000, stdout: \"trained\\n\"}}
faults: [{fault: lost_reply, call: SandboxCreateV2, nth: 2}]
expect:
  run: completed
  steps: {train: completed}
  output: {train: \"trained\\n\"}
  sandboxes: 2
  duration: {at_least: 36000}
";

const BAD: &str = "
pipeline: {name: bad, steps: {train: {command: ['<train>']}}}
steps: {train: {exit: 3}}
expect:
  run: completed
  steps: {train: completed}
  events: [train started, train completed]
";

fn home() -> Home {
    let home = Home::new();
    home.write("s/good.yaml", GOOD);
    home.write("s/more/bad.yaml", BAD);
    home
}

fn read(home: &Home, file: &str) -> String {
    fs::read_to_string(home.work().join(file)).unwrap()
}

fn finished(outcome: &Outcome) -> Vec<Value> {
    let mut objects = outcome.objects();
    objects.retain(|object| object["event"] == "scenario-finished");
    objects
}

#[test]
fn what_passes_and_what_fails_is_told() {
    let home = home();
    let good = home.flavor(["test", "s/good.yaml"]).run().expect(0);
    assert!(
        good.stdout()
            .starts_with("ok    s/good.yaml  seed 0  trace ")
    );
    assert!(
        good.stdout()
            .contains("1 scenario: 1 passed, 0 failed, 10h 0")
    );
    assert_eq!(good.stderr(), "");

    let both = home.flavor(["test", "s"]).run().expect(1);
    let told = both.stdout();
    assert!(told.contains("ok    s/good.yaml"), "{told}");
    assert!(told.contains("FAIL  s/more/bad.yaml"), "{told}");
    assert!(
        told.contains("expect.run: expected completed, found failed"),
        "{told}"
    );
    let diff = "        train started\n      - train completed\n      + train failed\n";
    assert!(told.contains(diff), "{told}");
    assert!(told.contains("2 scenarios: 1 passed, 1 failed"), "{told}");
}

#[test]
fn a_seed_fixes_the_trace() {
    let home = home();
    let trace = |arguments: &[&str]| {
        let outcome = home.flavor(["test", "s/good.yaml", "--json"].iter().chain(arguments));
        let objects = finished(&outcome.run().expect(0));
        let traces = objects.iter().map(|object| object["trace"].clone());
        traces.collect::<Vec<_>>()
    };
    let elsewhere = Home::new();
    elsewhere.write("s/good.yaml", GOOD);
    let other = elsewhere.flavor(["test", "s/good.yaml", "--json", "--seed", "5"]);
    let other = finished(&other.run().expect(0));
    let three = trace(&["--seed", "5", "--seeds", "3"]);
    assert_eq!(three.len(), 3);
    assert_eq!(three[0], other[0]["trace"]);
    assert_ne!(three[0], three[1]);
    assert_eq!(three, trace(&["--seed", "5", "--seeds", "3"]));
}

#[test]
fn a_wrong_file_is_2_and_nothing_is_run() {
    let home = home();
    home.write("s/wrong.yaml", "expcet: {}\n");
    let outcome = home.flavor(["test", "s"]).run().expect(2);
    assert_eq!(outcome.stdout(), "");
    assert!(
        outcome
            .stderr()
            .contains("s/wrong.yaml:1:1: expcet: the key is unknown"),
        "{}",
        outcome.stderr()
    );
    for wrong in [
        &["test"][..],
        &["test", "nowhere.yaml"],
        &["test", "s", "--seeds", "0"],
    ] {
        home.flavor(wrong).run().expect(2);
    }
    fs::create_dir(home.work().join("empty")).unwrap();
    home.flavor(["test", "empty"]).run().expect(2);
}

#[test]
fn reports_are_written() {
    let home = home();
    let arguments = ["test", "s", "--junit", "out.xml", "--html", "out.html"];
    home.flavor(arguments).run().expect(1);
    let junit = read(&home, "out.xml");
    let document = roxmltree::Document::parse(&junit).unwrap();
    let root = document.root_element();
    assert_eq!(root.attribute("tests"), Some("2"));
    assert_eq!(root.attribute("failures"), Some("1"));
    let named = |name| {
        document
            .descendants()
            .filter(move |node| node.has_tag_name(name))
    };
    let cases: Vec<_> = named("testcase")
        .filter_map(|node| node.attribute("name"))
        .collect();
    assert_eq!(cases, ["good.yaml", "bad.yaml"]);
    let failure = named("failure").next().unwrap();
    assert!(
        failure
            .text()
            .unwrap()
            .contains("expected completed, found failed")
    );

    let page = read(&home, "out.html");
    assert!(page.contains("1 passed, 1 failed"), "{page}");
    assert!(page.contains("<td>train</td><td>failed</td>"), "{page}");
    assert!(!page.contains("<script"), "{page}");

    home.flavor(["test", "s", "--junit", "no/where.xml"])
        .run()
        .expect(1);
}

#[test]
fn objects_have_what_is_promised() {
    let home = home();
    let outcome = home.flavor(["test", "s", "--json"]).run().expect(1);
    let objects = outcome.objects();
    assert_eq!(objects.len(), 3);
    assert_eq!(objects[0]["passed"], true);
    assert_eq!(objects[0]["steps"]["train"], "completed");
    assert_eq!(objects[1]["run"], "failed");
    assert_eq!(objects[1]["differences"][0]["what"], "expect.run");
    assert_eq!(objects[2]["event"], "test-finished");
    assert_eq!(
        (&objects[2]["passed"], &objects[2]["failed"]),
        (&1.into(), &1.into())
    );
}

#[test]
fn a_pipeline_survives_chaos() {
    let home = home();
    home.write(
        "p.yaml",
        "{name: p, environment: {KEY: hidden}, steps: {a: {command: [a]}, b: {command: [b], after: [a]}}}",
    );
    let arguments = [
        "test",
        "p.yaml",
        "s/good.yaml",
        "--chaos",
        "--seeds",
        "20",
        "--json",
    ];
    let outcome = home.flavor(arguments).run().expect(0);
    let objects = finished(&outcome);
    assert_eq!(objects.len(), 40);
    let faults = objects
        .iter()
        .filter_map(|object| object["faults"].as_u64());
    assert!(faults.sum::<u64>() > 0);
    assert!(!outcome.stdout().contains("hidden"));
    // Without chaos a pipeline is no scenario.
    home.flavor(["test", "p.yaml"]).run().expect(2);
}

#[test]
fn a_replay_shows_all_that_is_done() {
    let home = home();
    let outcome = home
        .flavor(["test", "--replay", "s/good.yaml"])
        .run()
        .expect(0);
    let told = outcome.stdout();
    for part in ["SandboxCreateV2", "Commit", "ok    s/good.yaml"] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    home.flavor(["test", "--replay", "s/more/bad.yaml"])
        .run()
        .expect(1);
}
