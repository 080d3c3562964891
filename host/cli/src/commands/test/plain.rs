//! What people read.

use super::report::{Report, Tested};
use crate::render::{counted, human};
use crate::terminal;
use std::time::Duration;

/// One run: a line when it passed, and what is wrong when it did not.
pub(crate) fn show(tested: &Tested<'_>) {
    let word = match tested.passed() {
        true => "ok  ",
        false => "FAIL",
    };
    let file = tested.case.file.display();
    let outcome = &tested.outcome;
    let trace = outcome.trace_hash.get(..TRACE_DIGITS).unwrap_or_default();
    say(&format!(
        "{word}  {file}  seed {}  trace {trace}  {} virtual",
        tested.seed,
        human(outcome.duration),
    ));
    if tested.passed() {
        return;
    }
    for complaint in tested.complaints() {
        indented(&complaint);
    }
    indented(&format!("again: {}", tested.again()));
    if let (Some(shrunk), Some(smallest)) = (&tested.shrunk, tested.smallest()) {
        let faults = counted(shrunk.scenario.faults.len(), "fault");
        indented(&format!("the same with {faults}, as a scenario file:"));
        for line in smallest.lines() {
            indented(&format!("  {line}"));
        }
    }
}

/// Digits of a hash that are enough to tell runs apart by eye.
const TRACE_DIGITS: usize = 16;

pub(crate) fn summary(report: &Report<'_>) {
    let cases = counted(report.cases().len(), "scenario");
    let (passed, failed) = (report.passed(), report.failed());
    let results = match report.cases().len() == passed + failed {
        true => format!("{passed} passed, {failed} failed"),
        false => format!("{} passed, {failed} failed", counted(passed, "run")),
    };
    say(&format!("{cases}: {results}, {}", speed(report)));
}

/// How much virtual time passed, and how quickly.
fn speed(report: &Report<'_>) -> String {
    let took = report.took();
    let simulated: Duration = report.simulated();
    format!("{} of virtual time in {}", human(simulated), human(took))
}

fn indented(text: &str) {
    for line in text.lines() {
        say(&format!("      {line}"));
    }
}

fn say(line: &str) {
    terminal::say(&terminal::escape(line));
}
