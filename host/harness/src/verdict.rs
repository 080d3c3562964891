//! Whether what came of a run is what was expected.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};

use flavor_host::contract::{Event, OutputStream, StepStatus};
use serde_json::{Map, Value};
use similar::{ChangeTag, TextDiff};

use crate::outcome::{Outcome, StepOutcome};
use crate::scenario::{Expectations, Milestone, Passed, Range, RunEnd, Scenario};

/// One thing that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What it is about, as the scenario file calls it: `expect.steps.train`.
    pub what: String,
    /// What was expected.
    pub expected: String,
    /// What came.
    pub found: String,
}

impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.expected.contains('\n') && !self.found.contains('\n') {
            let Self {
                what,
                expected,
                found,
            } = self;
            return write!(f, "{what}: expected {expected}, found {found}");
        }
        write!(f, "{}: - expected, + found", self.what)?;
        for change in TextDiff::from_lines(&*self.expected, &*self.found).iter_all_changes() {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            write!(f, "\n{sign} {}", change.value().trim_end_matches('\n'))?;
        }
        Ok(())
    }
}

impl Outcome {
    /// What is not as the scenario expects it. What must never happen is in
    /// [`Outcome::violations`].
    ///
    /// Where nothing is left to chance, every fault of the scenario has to happen: one
    /// that does not tests nothing.
    #[must_use]
    pub fn differences(&self, scenario: &Scenario) -> Vec<Difference> {
        let expect = &scenario.expect;
        let mut verdict = Verdict {
            outcome: self,
            differences: Vec::new(),
        };
        verdict.run(expect);
        verdict.steps(expect);
        verdict.sequence(expect);
        verdict.texts(expect);
        verdict.amounts(expect);
        verdict.metadata(expect);
        verdict.faults(scenario);
        verdict.differences
    }

    /// Whether everything is as expected, and nothing happened that must not.
    #[must_use]
    pub fn passes(&self, scenario: &Scenario) -> bool {
        self.violations.is_empty() && self.differences(scenario).is_empty()
    }

    /// What the steps passed, in the order of the events.
    pub fn milestones(&self) -> impl Iterator<Item = Milestone> {
        self.events.iter().filter_map(|(_, event)| match event {
            Event::StepStarted(started) => Some(Milestone {
                step: started.step.clone(),
                attempt: Some(started.attempt),
                passed: Passed::Started,
            }),
            Event::StepFinished(finished) => Some(Milestone {
                step: finished.step.clone(),
                attempt: Some(finished.attempt),
                passed: Passed::Ended(finished.status),
            }),
            _ => None,
        })
    }

    /// What a step wrote to standard output, in all its attempts.
    #[must_use]
    pub fn stdout(&self, step: &str) -> String {
        let mut bytes = Vec::new();
        for (_, event) in &self.events {
            if let Event::Output(output) = event
                && output.step == step
                && output.stream == OutputStream::Stdout
            {
                bytes.extend_from_slice(&output.data);
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Milestone {
    /// Whether something that was passed is what is meant here.
    fn covers(&self, passed: &Self) -> bool {
        let is_attempt = self.attempt.is_none() || self.attempt == passed.attempt;
        let is_passed = match (self.passed, passed.passed) {
            (Passed::Finished, Passed::Ended(_)) => true,
            (one, other) => one == other,
        };
        self.step == passed.step && is_attempt && is_passed
    }
}

/// Differences while they are collected.
struct Verdict<'o> {
    outcome: &'o Outcome,
    differences: Vec<Difference>,
}

impl Verdict<'_> {
    fn differ(&mut self, what: impl Display, expected: impl Display, found: impl Display) {
        self.differences.push(Difference {
            what: format!("expect.{what}"),
            expected: expected.to_string(),
            found: found.to_string(),
        });
    }

    fn faults(&mut self, scenario: &Scenario) {
        if !scenario.chance.is_none() {
            return;
        }
        for (index, fault) in scenario.faults.iter().enumerate() {
            if !self.outcome.faults.contains(fault) {
                self.differences.push(Difference {
                    what: format!("faults[{index}]"),
                    expected: "it to happen".to_owned(),
                    found: "that it did not".to_owned(),
                });
            }
        }
    }

    fn run(&mut self, expect: &Expectations) {
        let error = self.outcome.error.clone().unwrap_or_default();
        if let Some(run) = expect.run.filter(|run| *run != self.outcome.end) {
            let found = match error.as_str() {
                "" => word(self.outcome.end).to_owned(),
                error => format!("{} ({error})", word(self.outcome.end)),
            };
            self.differ("run", word(run), found);
        }
        if let Some(part) = expect.error.as_deref().filter(|part| !error.contains(part)) {
            self.differ(
                "error",
                format_args!("a text with {part:?}"),
                quoted(&error),
            );
        }
    }

    fn steps(&mut self, expect: &Expectations) {
        let step = |name: &String| self.outcome.steps.iter().find(|step| step.name == *name);
        let mut found = Vec::new();
        for (name, status) in &expect.steps {
            if step(name).is_none_or(|step| step.status != *status) {
                let what = format!("steps.{name}");
                found.push((
                    what,
                    status.word().to_owned(),
                    step(name).map_or_else(missing, told),
                ));
            }
        }
        for (name, attempts) in &expect.attempts {
            let made = step(name).map_or(0, |step| step.attempts);
            if made != *attempts {
                let what = format!("attempts.{name}");
                found.push((what, attempts.to_string(), made.to_string()));
            }
        }
        for (name, code) in &expect.exit_codes {
            let came = step(name).and_then(|step| step.exit_code);
            if came != Some(*code) {
                let came = came.map_or_else(|| "none".to_owned(), |code| code.to_string());
                found.push((format!("exit_codes.{name}"), code.to_string(), came));
            }
        }
        for (name, part) in &expect.reasons {
            let reason = step(name).and_then(|step| step.reason.clone());
            let reason = reason.unwrap_or_default();
            if !reason.contains(part) {
                let expected = format!("a text with {part:?}");
                found.push((format!("reasons.{name}"), expected, quoted(&reason)));
            }
        }
        for (what, expected, found) in found {
            self.differ(what, expected, found);
        }
    }

    fn sequence(&mut self, expect: &Expectations) {
        let passed: Vec<Milestone> = self.outcome.milestones().collect();
        let mut rest = passed.iter();
        let missed = expect
            .order
            .iter()
            .find(|milestone| !rest.any(|passed| milestone.covers(passed)));
        if let Some(missed) = missed {
            let place = expect
                .order
                .iter()
                .position(|milestone| milestone == missed);
            let before = place.and_then(|place| expect.order.get(place.checked_sub(1)?));
            let expected = match before {
                Some(before) => format!("`{missed}` after `{before}`"),
                None => format!("`{missed}`"),
            };
            let all = lines(&passed);
            let found = match passed.is_empty() {
                true => "nothing".to_owned(),
                false => format!("this order:\n{all}"),
            };
            self.differ("order", expected, found);
        }
        if let Some(events) = &expect.events {
            let is_same = events.len() == passed.len()
                && events
                    .iter()
                    .zip(&passed)
                    .all(|(own, passed)| own.covers(passed));
            if !is_same {
                // An attempt that is not asked for is not shown either.
                let shown = alike(events, &passed);
                self.differ("events", lines(events), lines(&shown));
            }
        }
    }

    fn texts(&mut self, expect: &Expectations) {
        let warnings: Vec<&str> = self
            .outcome
            .events
            .iter()
            .filter_map(|(_, event)| match event {
                Event::Warning(warning) => Some(warning.message.as_str()),
                _ => None,
            })
            .collect();
        for part in &expect.warnings {
            if !warnings.iter().any(|warning| warning.contains(part)) {
                let found = match warnings.is_empty() {
                    true => "no warning".to_owned(),
                    false => format!("{warnings:?}"),
                };
                self.differ("warnings", format_args!("one with {part:?}"), found);
            }
        }
        for (step, text) in &expect.output {
            let found = self.outcome.stdout(step);
            if found != *text {
                let (expected, found) = match text.contains('\n') || found.contains('\n') {
                    true => (text.clone(), found),
                    false => (quoted(text), quoted(&found)),
                };
                self.differ(format_args!("output.{step}"), expected, found);
            }
        }
    }

    fn amounts(&mut self, expect: &Expectations) {
        for (method, count) in &expect.calls {
            let made = self.outcome.calls.get(method).copied().unwrap_or_default();
            self.amount(format_args!("calls.{method}"), Some(*count), made);
        }
        self.amount("sandboxes", expect.sandboxes, self.outcome.sandboxes);
        self.amount(
            "most_running",
            expect.most_running,
            self.outcome.most_running,
        );
        let (duration, took) = (expect.duration, self.outcome.duration);
        if let Some(range) = duration.filter(|range| !range.includes(took)) {
            let seconds = |time: std::time::Duration| format!("{} s", time.as_secs_f64());
            self.differ("duration", bounds(range, seconds), seconds(took));
        }
    }

    fn amount(&mut self, what: impl Display, expected: Option<Range<u64>>, found: u64) {
        if let Some(range) = expected.filter(|range| !range.includes(found)) {
            self.differ(what, bounds(range, |number| number.to_string()), found);
        }
    }

    fn metadata(&mut self, expect: &Expectations) {
        let outcome = self.outcome;
        self.facts("run", &expect.run_metadata, &outcome.run_metadata);
        let nothing = Map::new();
        for (name, facts) in &expect.step_metadata {
            let step = outcome.steps.iter().find(|step| step.name == *name);
            let found = step.map_or(&nothing, |step| &step.metadata);
            self.facts(&format!("steps.{name}"), facts, found);
        }
    }

    fn facts(&mut self, of: &str, expected: &Map<String, Value>, found: &Map<String, Value>) {
        for (key, value) in expected {
            let came = found.get(key);
            if came != Some(value) {
                let came = came.map_or_else(missing, Value::to_string);
                self.differ(format_args!("metadata.{of}.{key}"), value, came);
            }
        }
    }
}

/// The word for how a run ended.
#[must_use]
pub fn word(end: RunEnd) -> &'static str {
    match end {
        RunEnd::Refused => "refused",
        RunEnd::Interrupted => "interrupted",
        RunEnd::Ended(status) => status.word(),
    }
}

fn missing() -> String {
    "nothing".to_owned()
}

fn quoted(text: &str) -> String {
    match text {
        "" => "no text".to_owned(),
        text => format!("{text:?}"),
    }
}

/// A step's status, and why.
fn told(step: &StepOutcome) -> String {
    let mut told = step.status.word().to_owned();
    if step.status == StepStatus::Failed {
        if let Some(code) = step.exit_code {
            let _ = write!(told, ", exit code {code}");
        }
        if let Some(reason) = &step.reason {
            let _ = write!(told, ", {reason:?}");
        }
    }
    told
}

fn lines(milestones: &[Milestone]) -> String {
    milestones.iter().fold(String::new(), |mut lines, passed| {
        let _ = writeln!(lines, "{passed}");
        lines
    })
}

/// What was passed, as the expectations would say it.
fn alike(expected: &[Milestone], passed: &[Milestone]) -> Vec<Milestone> {
    let by_step: BTreeMap<&str, bool> = expected
        .iter()
        .map(|milestone| (milestone.step.as_str(), milestone.attempt.is_some()))
        .collect();
    let alike = passed.iter().map(|passed| {
        let covering = expected.iter().find(|own| own.covers(passed));
        covering.cloned().unwrap_or_else(|| {
            let says_attempts = by_step.get(passed.step.as_str()).copied();
            let attempt = passed.attempt.filter(|_| says_attempts.unwrap_or_default());
            Milestone {
                attempt,
                ..passed.clone()
            }
        })
    });
    alike.collect()
}

fn bounds<T: PartialEq + Copy>(range: Range<T>, show: impl Fn(T) -> String) -> String {
    match (range.least, range.most) {
        (Some(least), Some(most)) if least == most => show(least),
        (Some(least), Some(most)) => format!("{} to {}", show(least), show(most)),
        (Some(least), None) => format!("at least {}", show(least)),
        (None, Some(most)) => format!("at most {}", show(most)),
        (None, None) => "anything".to_owned(),
    }
}
