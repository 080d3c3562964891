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
use flavor_harness::{Outcome, Simulation};
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
