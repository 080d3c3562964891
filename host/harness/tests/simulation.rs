//! Whole runs: what a seed fixes, what faults do, and what checkers see.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "tests"
)]

use flavor_harness::scenario::{RunEnd, Scenario};
use flavor_harness::{Outcome, Rule, Simulation, broken_rules, shrink};
use flavor_host::Limits;
use flavor_host::contract::{RunStatus, StepStatus};
use std::sync::LazyLock;
use std::time::Duration;

/// Compiled once for all tests.
static SIMULATION: LazyLock<Simulation> =
    LazyLock::new(|| Simulation::new(default_plugin::COMPONENT).unwrap());

fn scenario(text: &str) -> Scenario {
    let parsed = Scenario::parse("scenario.yaml", text.as_bytes(), |path| {
        panic!("{path} is not there")
    });
    parsed.unwrap_or_else(|error| panic!("{error}"))
}

fn run(text: &str, seed: u64) -> Outcome {
    SIMULATION.run(&scenario(text), seed)
}

fn status(outcome: &Outcome, step: &str) -> StepStatus {
    let found = outcome.steps.iter().find(|outcome| outcome.name == step);
    found.unwrap().status
}

/// A diamond of four steps.
const DIAMOND: &str = "
pipeline:
  name: diamond
  steps:
    a: {command: [a]}
    b: {command: [b], after: [a]}
    c: {command: [c], after: [a], retry: {max_retries: 1, delay: 1}}
    d: {command: [d], after: [b, c]}
";

#[test]
fn a_day_takes_no_time() {
    let text = format!("{DIAMOND}\nother_steps: {{runs: 28800}}\n");
    let outcome = run(&text, 1);
    assert_eq!(
        outcome.end,
        RunEnd::Ended(RunStatus::Completed),
        "{outcome:#?}"
    );
    assert!(
        outcome.duration >= Duration::from_secs(3 * 28_800),
        "{:?}",
        outcome.duration
    );
    assert!(
        outcome.duration < Duration::from_secs(3 * 28_800 + 120),
        "{:?}",
        outcome.duration
    );
    assert_eq!(outcome.sandboxes, 4);
    assert_eq!(outcome.most_running, 2);
    assert_eq!(status(&outcome, "d"), StepStatus::Completed);
    assert_eq!(outcome.violations, []);
}

#[test]
fn a_seed_fixes_everything_and_another_one_changes_it() {
    let one = run(DIAMOND, 1);
    assert_eq!(one, run(DIAMOND, 1));
    let other = run(DIAMOND, 2);
    assert_ne!(one.trace_hash, other.trace_hash);
    assert_eq!(one.end, other.end);
}

#[test]
fn one_byte_of_one_answer_changes_the_hash() {
    let says = |text: &str| {
        let output = format!("output: [{{after: 0.5, stdout: \"{text}\"}}]");
        let text = format!("{DIAMOND}\nsteps: {{b: {{runs: 1, {output}}}}}\n");
        run(&text, 1)
    };
    let (one, other) = (says("half way"), says("half waz"));
    assert_eq!(one.end, other.end);
    assert_eq!(one.calls, other.calls);
    assert_eq!(one.trace_entries, other.trace_entries);
    assert_eq!(one.trace_hash, says("half way").trace_hash);
    assert_ne!(one.trace_hash, other.trace_hash);
}

/// Faults of every kind, much of them.
const TROUBLE: &str = "
chance: {calls: 0.1, store: 0.01, sandboxes: 0.1, kills: 1, clock_jumps: 1}
";

#[test]
fn faults_follow_from_the_seed() {
    let text = format!("{DIAMOND}{TROUBLE}");
    let mut kinds = 0;
    for seed in 0..10 {
        let outcome = run(&text, seed);
        assert_eq!(outcome, run(&text, seed));
        assert_eq!(outcome.violations, [], "seed {seed}");
        kinds += outcome.faults.len();
    }
    assert!(kinds > 20, "{kinds}");
}

/// Prints the hash of a troubled run: what the next test has other processes do.
#[test]
#[ignore = "run by another test in processes of their own"]
fn prints_a_hash() {
    let loaded = std::env::var_os("HARNESS_LOAD").is_some();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..if loaded { 3 } else { 0 } {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let text = format!("{DIAMOND}{TROUBLE}");
        let hashes: Vec<_> = (0..5).map(|seed| run(&text, seed).trace_hash).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        println!("hashes: {}", hashes.join(" "));
    });
}

#[test]
fn other_processes_do_the_same_under_load_too() {
    let hashes = |loaded: bool| {
        let home = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "prints_a_hash", "--ignored", "--nocapture"])
            .env("HOME", home.path());
        if loaded {
            command.env("HARNESS_LOAD", "1");
        }
        let output = command.output().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        let line = output.lines().find_map(|line| line.split_once("hashes: "));
        line.unwrap_or_else(|| panic!("{output}")).1.to_owned()
    };
    let quiet = hashes(false);
    assert_eq!(quiet.split(' ').count(), 5);
    assert_eq!(quiet, hashes(true));
}

#[test]
fn a_guest_that_spins_is_ended_and_others_go_on() {
    let mut limits = Limits::default();
    limits.cpu_between_returns = Duration::from_millis(300);
    let hostile = Simulation::with_limits(hostile_component::HOSTILE, limits).unwrap();
    let text = "pipeline: {name: spinning, steps: {a: {command: [spin]}}}";
    let outcome = hostile.run(&scenario(text), 1);
    assert_eq!(outcome.end, RunEnd::Refused, "{outcome:#?}");
    let rules = broken_rules(&outcome);
    assert!(rules.contains(&Rule::Ends), "{:?}", outcome.violations);
    let said = outcome.error.unwrap();
    assert!(said.contains("computed"), "{said}");
    assert_eq!(run(DIAMOND, 1).violations, []);
}

#[test]
fn a_failure_shrinks_to_the_faults_that_matter() {
    // What a step without retries does not survive, among much else.
    let text = format!("{DIAMOND}\nchance: {{calls: 0.1, sandboxes: 0.9}}\n");
    let parsed = scenario(&text);
    let fails = |outcome: &Outcome| status(outcome, "a") == StepStatus::Failed;
    let failing = (0..50).find_map(|seed| {
        let outcome = SIMULATION.run(&parsed, seed);
        (fails(&outcome) && outcome.faults.len() > 2).then_some((seed, outcome))
    });
    let (seed, outcome) = failing.expect("a seed with a failing first step");
    let shrunk = shrink(&SIMULATION, &parsed, seed, &outcome, fails).unwrap();
    assert_eq!(
        shrunk.scenario.faults.len(),
        1,
        "{:?}",
        shrunk.scenario.faults
    );
    assert!(fails(&shrunk.outcome));
    // It stands in a file, and that file fails in the same way.
    let again = scenario(&shrunk.scenario.to_yaml());
    assert_eq!(SIMULATION.run(&again, seed), shrunk.outcome);
}

#[test]
#[ignore = "to be looked at by hand when the tests above fail"]
fn where_two_runs_part() {
    let traced = SIMULATION.clone().keeping_trace();
    let scenario = scenario(DIAMOND);
    for _ in 0..20 {
        let (one, other) = (traced.run(&scenario, 1), traced.run(&scenario, 1));
        let pairs = one.trace.iter().zip(&other.trace).enumerate();
        if let Some((line, _)) = pairs.into_iter().find(|(_, (one, other))| one != other) {
            let around = line.saturating_sub(5)..(line + 5).min(one.trace.len());
            panic!(
                "{:#?}\n{:#?}",
                &one.trace[around.clone()],
                &other.trace[around]
            );
        }
        assert_eq!(one.trace_hash, other.trace_hash, "the lines are the same");
    }
}
