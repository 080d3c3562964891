//! What a failing step does to the others, by execution mode.

use crate::harness::{Fifo, Home, Outcome, Stream};

/// Runs a pipeline in which `bad` fails while `slow` runs. `slow` goes on until
/// `bad` has failed and `slow` is let go, or is cut short.
fn run(mode: &str, slow_is_let_go: bool) -> (Home, Outcome) {
    let home = Home::new();
    let mut fail = Fifo::new(&home, "fail");
    let mut gate = Fifo::new(&home, "gate");
    let mut here = Fifo::new(&home, "here");
    let pipeline = format!(
        "
name: modes
{mode}
steps:
  bad: {{command: [sh, -c, 'read x <{}; exit 3']}}
  below-bad: {{command: ['true'], after: [bad]}}
  slow: {{command: [sh, -c, 'echo a >{}; read x <{}']}}
  below-slow: {{command: ['true'], after: [slow]}}
  below-both: {{command: ['true'], after: [below-bad, below-slow]}}
",
        fail.path(),
        here.path(),
        gate.path()
    );
    let run = home.start("r", &pipeline);
    here.line();
    fail.release();
    run.line(Stream::Stderr, "bad failed");
    if slow_is_let_go {
        gate.release();
    }
    let outcome = run.finish().expect(1);
    assert_eq!(home.status("r"), "failed");
    (home, outcome)
}

fn statuses(home: &Home) -> Vec<(String, String)> {
    let status = home.flavor(["status", "r", "--json"]).run().expect(0);
    let object = status.objects().pop().unwrap();
    let steps = object["steps"].as_object().unwrap();
    let status = |step: &serde_json::Value| step["status"].as_str().unwrap().to_owned();
    let pairs = steps
        .iter()
        .map(|(name, step)| (name.clone(), status(step)));
    pairs.collect()
}

fn expected(statuses: [&str; 5]) -> Vec<(String, String)> {
    let names = ["bad", "below-bad", "slow", "below-slow", "below-both"];
    let pairs = names.into_iter().zip(statuses);
    pairs
        .map(|(name, status)| (name.into(), status.into()))
        .collect()
}

#[test]
fn fail_fast_ends_the_others() {
    let (home, outcome) = run("execution_mode: fail_fast", false);
    let cut = ["failed", "skipped", "cancelled", "skipped", "skipped"];
    assert_eq!(statuses(&home), expected(cut), "{outcome}");
    crate::harness::assert_told!(outcome.sorted());
}

#[test]
fn stop_on_failure_lets_the_others_finish() {
    let (home, outcome) = run("execution_mode: stop_on_failure", true);
    let finished = ["failed", "skipped", "completed", "skipped", "skipped"];
    assert_eq!(statuses(&home), expected(finished), "{outcome}");
    crate::harness::assert_told!(outcome.sorted());
}

#[test]
fn continue_on_failure_skips_only_what_is_below() {
    let (home, outcome) = run("execution_mode: continue_on_failure", true);
    let gone_on = ["failed", "skipped", "completed", "completed", "skipped"];
    assert_eq!(statuses(&home), expected(gone_on), "{outcome}");
    crate::harness::assert_told!(outcome.sorted());
}

#[test]
fn a_pipeline_that_does_not_say_goes_on() {
    let (home, outcome) = run("", true);
    let gone_on = ["failed", "skipped", "completed", "completed", "skipped"];
    assert_eq!(statuses(&home), expected(gone_on), "{outcome}");
}
