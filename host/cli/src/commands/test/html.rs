//! The report as one page: what was run, what came of it, and when steps ran.

use super::markup::Escaped;
use super::report::{Report, Results, Tested};
use crate::render::{counted, human};
use flavor_harness::word;
use flavor_host::contract::Event;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// The whole page. It fetches nothing and runs nothing.
pub(crate) fn page(report: &Report<'_>) -> String {
    let mut page = String::from(HEAD);
    let (passed, failed) = (report.passed(), report.failed());
    let _ = writeln!(
        page,
        "<h1>{}</h1>\n<p>{passed} passed, {failed} failed; {} of virtual time in {}.</p>",
        counted(report.cases().len(), "scenario"),
        human(report.simulated()),
        human(report.took())
    );
    for results in report.cases() {
        scenario(&mut page, results);
    }
    page.push_str("</body>\n</html>\n");
    page
}

const HEAD: &str = "<!DOCTYPE html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<title>flavor test</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; }
details { border-left: 4px solid #2a7; margin: 4px 0; padding-left: 8px; }
details.failed { border-color: #c33; }
summary { cursor: pointer; }
small { color: #666; }
pre { background: #f4f4f4; overflow-x: auto; padding: 8px; }
table { border-collapse: collapse; width: 100%; }
td { padding: 1px 6px; vertical-align: middle; white-space: nowrap; }
td.time { width: 70%; }
td.time div { height: 12px; position: relative; }
td.time span { background: #2a7; height: 12px; min-width: 2px; position: absolute; }
td.time span.not { background: #c33; }
</style>
</head>
<body>
";

/// Steps that are drawn of one run: more of them do not fit a page.
const DRAWN_STEPS: usize = 200;

fn scenario(page: &mut String, results: &Results<'_>) {
    let attributes = match results.failed {
        0 => "",
        _ => " class=\"failed\" open",
    };
    let _ = writeln!(
        page,
        "<details{attributes}><summary>{} <small>{}; {} passed, {} failed</small></summary>",
        Escaped(&results.case.scenario.name),
        Escaped(results.case.file.display()),
        results.passed,
        results.failed
    );
    for tested in results.shown() {
        run(page, tested);
    }
    page.push_str("</details>\n");
}

fn run(page: &mut String, tested: &Tested<'_>) {
    let outcome = &tested.outcome;
    let _ = writeln!(
        page,
        "<p>seed {}: {} after {}, {}, {}<br><small>trace {}</small></p>",
        tested.seed,
        word(outcome.end),
        human(outcome.duration),
        counted(
            usize::try_from(outcome.sandboxes).unwrap_or(usize::MAX),
            "sandbox"
        ),
        counted(outcome.faults.len(), "fault"),
        outcome.trace_hash
    );
    let complaints: Vec<String> = tested.complaints().collect();
    if !complaints.is_empty() {
        let _ = writeln!(page, "<pre>{}</pre>", Escaped(complaints.join("\n")));
        let _ = writeln!(
            page,
            "<p>Again: <code>{}</code></p>",
            Escaped(tested.again())
        );
    }
    if let Some(smallest) = tested.smallest() {
        let _ = writeln!(page, "<pre>{}</pre>", Escaped(smallest));
    }
    timeline(page, tested);
}

/// When the attempts of each step ran.
fn timeline(page: &mut String, tested: &Tested<'_>) {
    let attempts = attempts(tested);
    let whole = tested.outcome.duration.as_secs_f64().max(f64::EPSILON);
    let percent = |time: Duration| 100.0 * time.as_secs_f64() / whole;
    page.push_str("<table>\n");
    for step in tested.outcome.steps.iter().take(DRAWN_STEPS) {
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td class=\"time\"><div>",
            Escaped(&step.name),
            step.status.word()
        );
        for attempt in attempts.get(step.name.as_str()).into_iter().flatten() {
            let class = match attempt.completed {
                true => "",
                false => " class=\"not\"",
            };
            let _ = write!(
                page,
                "<span{class} style=\"left:{:.3}%;width:{:.3}%\"></span>",
                percent(attempt.from),
                percent(attempt.to.saturating_sub(attempt.from))
            );
        }
        page.push_str("</div></td></tr>\n");
    }
    page.push_str("</table>\n");
    let left_out = tested.outcome.steps.len().saturating_sub(DRAWN_STEPS);
    if left_out > 0 {
        let _ = writeln!(page, "<p>{} more.</p>", counted(left_out, "step"));
    }
}

struct Attempt {
    from: Duration,
    to: Duration,
    completed: bool,
}

fn attempts<'t>(tested: &'t Tested<'_>) -> BTreeMap<&'t str, Vec<Attempt>> {
    let outcome = &tested.outcome;
    let mut attempts: BTreeMap<&str, Vec<Attempt>> = BTreeMap::new();
    for (at, event) in &outcome.events {
        match event {
            Event::StepStarted(started) => {
                attempts.entry(&started.step).or_default().push(Attempt {
                    from: *at,
                    to: outcome.duration,
                    completed: false,
                });
            }
            Event::StepFinished(finished) => {
                let started = attempts.get_mut(finished.step.as_str());
                if let Some(attempt) = started.and_then(|attempts| attempts.last_mut()) {
                    attempt.to = *at;
                    attempt.completed = finished.status.word() == "completed";
                }
            }
            _ => {}
        }
    }
    attempts
}
