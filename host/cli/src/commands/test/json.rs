//! What programs read: one object a line.

use super::report::{Report, Tested};
use crate::terminal;
use flavor_harness::{Difference, Violation, word};
use serde_json::{Map, Value, json};

/// One run.
pub(crate) fn show(tested: &Tested<'_>) {
    let outcome = &tested.outcome;
    let steps: Map<String, Value> = outcome
        .steps
        .iter()
        .map(|step| (step.name.clone(), json!(step.status.word())))
        .collect();
    let violation =
        |violation: &Violation| json!({"rule": violation.rule.to_string(), "what": violation.what});
    let difference = |difference: &Difference| {
        json!({
            "what": difference.what,
            "expected": difference.expected,
            "found": difference.found,
        })
    };
    let object = json!({
        "event": "scenario-finished",
        "file": tested.case.file.display().to_string(),
        "name": tested.case.scenario.name,
        "seed": tested.seed,
        "passed": tested.passed(),
        "run": word(outcome.end),
        "error": outcome.error,
        "steps": steps,
        "calls": outcome.calls,
        "sandboxes": outcome.sandboxes,
        "trace": outcome.trace_hash,
        "virtual_seconds": outcome.duration.as_secs_f64(),
        "seconds": tested.took.as_secs_f64(),
        "faults": outcome.faults.len(),
        "violations": outcome.violations.iter().map(violation).collect::<Value>(),
        "differences": tested.differences.iter().map(difference).collect::<Value>(),
        "smallest": tested.smallest(),
    });
    terminal::say(&object.to_string());
}

pub(crate) fn summary(report: &Report<'_>) {
    let object = json!({
        "event": "test-finished",
        "scenarios": report.cases().len(),
        "passed": report.passed(),
        "failed": report.failed(),
        "seconds": report.took().as_secs_f64(),
        "virtual_seconds": report.simulated().as_secs_f64(),
    });
    terminal::say(&object.to_string());
}
