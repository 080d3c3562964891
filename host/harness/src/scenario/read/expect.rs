//! What is to come of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use flavor_host::contract::{RunStatus, StepStatus};
use pipeline_file::decode::{Decoder, Place};

use super::super::words::METHODS;
use super::super::{Count, Expectations, Milestone, Passed, Range, RunEnd};
use super::values::{StepNames, number, seconds, word};

const KEYS: &[&str] = &[
    "run",
    "error",
    "steps",
    "attempts",
    "exit_codes",
    "reasons",
    "order",
    "events",
    "warnings",
    "output",
    "calls",
    "sandboxes",
    "duration",
    "most_running",
    "metadata",
];

/// What runs may come to, and the words for it.
pub(in crate::scenario) const RUN_ENDS: [(&str, RunEnd); 5] = [
    ("completed", RunEnd::Ended(RunStatus::Completed)),
    ("failed", RunEnd::Ended(RunStatus::Failed)),
    ("stopped", RunEnd::Ended(RunStatus::Stopped)),
    ("interrupted", RunEnd::Interrupted),
    ("refused", RunEnd::Refused),
];

/// What steps may come to.
const STEP_ENDS: [StepStatus; 5] = [
    StepStatus::Completed,
    StepStatus::Failed,
    StepStatus::Cancelled,
    StepStatus::Skipped,
    StepStatus::Cached,
];

pub(super) fn expectations(
    decoder: &mut Decoder<'_>,
    place: Place<'_>,
    names: &StepNames,
) -> Option<Expectations> {
    let fields = decoder.fields(place, "what is expected", KEYS)?;
    let run = fields
        .get("run")
        .and_then(|place| word(decoder, place, "how the run ends", RUN_ENDS));
    let error = fields
        .get("error")
        .and_then(|place| decoder.filled_text(place, "a part of the error's text"));
    let steps = fields
        .get("steps")
        .and_then(|place| names.map(decoder, place, "steps and their statuses", status));
    let attempts = fields.get("attempts").and_then(|place| {
        let what = "steps and how often they are attempted";
        names.map(decoder, place, what, |decoder, place| {
            number(decoder, place, 0..=u32::MAX)
        })
    });
    let exit_codes = fields.get("exit_codes").and_then(|place| {
        names.map(
            decoder,
            place,
            "steps and their exit codes",
            |decoder, place| number(decoder, place, i32::MIN..=i32::MAX),
        )
    });
    let reasons = fields
        .get("reasons")
        .and_then(|place| names.map(decoder, place, "steps and parts of their reasons", text));
    let order = fields
        .get("order")
        .and_then(|place| milestones(decoder, place, names));
    let events = fields
        .get("events")
        .and_then(|place| milestones(decoder, place, names));
    let warnings = fields.get("warnings").and_then(|place| {
        let help = "write a list of texts, such as `[\"no region\"]`";
        decoder.list(place, "a list of parts of warnings", help, text)
    });
    let output = fields
        .get("output")
        .and_then(|place| names.map(decoder, place, "steps and what they write", text));
    let calls = fields.get("calls").and_then(|place| calls(decoder, place));
    let sandboxes = fields
        .get("sandboxes")
        .and_then(|place| count(decoder, place));
    let duration = fields
        .get("duration")
        .and_then(|place| duration(decoder, place));
    let most_running = fields
        .get("most_running")
        .and_then(|place| count(decoder, place));
    let (run_metadata, step_metadata) = fields
        .get("metadata")
        .and_then(|place| metadata(decoder, place, names))
        .unwrap_or_default();
    Some(Expectations {
        run,
        error,
        steps: steps.unwrap_or_default(),
        attempts: attempts.unwrap_or_default(),
        exit_codes: exit_codes.unwrap_or_default(),
        reasons: reasons.unwrap_or_default(),
        order: order.unwrap_or_default(),
        events,
        warnings: warnings.unwrap_or_default(),
        output: output.unwrap_or_default(),
        calls: calls.unwrap_or_default(),
        sandboxes,
        duration,
        most_running,
        run_metadata,
        step_metadata,
    })
}

fn status(decoder: &mut Decoder<'_>, place: Place<'_>) -> Option<StepStatus> {
    let statuses = STEP_ENDS.map(|status| (status.word(), status));
    word(decoder, place, "a step's final status", statuses)
}

fn text(decoder: &mut Decoder<'_>, place: Place<'_>) -> Option<String> {
    Some(decoder.text(place, "a text")?.to_owned())
}

fn milestones(
    decoder: &mut Decoder<'_>,
    place: Place<'_>,
    names: &StepNames,
) -> Option<Vec<Milestone>> {
    let help = "write a list such as `[prepare completed, train started]`";
    decoder.list(place, "a list of what steps pass", help, |decoder, item| {
        milestone(decoder, item, names)
    })
}

/// `STEP PASSED`, or `STEP#ATTEMPT PASSED` with an attempt counted from 0.
fn milestone(decoder: &mut Decoder<'_>, place: Place<'_>, names: &StepNames) -> Option<Milestone> {
    let help = "write a step and what it passes, such as `train started`, `train#1 failed`; \
                a step passes `started`, `finished`, `completed`, `failed`, `cancelled`, \
                `skipped` and `cached`";
    let text = decoder.text(place, "a step and what it passes")?;
    let parsed = text.split_once(' ').and_then(|(subject, passed)| {
        let passed = match passed.trim() {
            "started" => Passed::Started,
            "finished" => Passed::Finished,
            word => {
                let known = STEP_ENDS.into_iter();
                Passed::Ended(known.into_iter().find(|status| status.word() == word)?)
            }
        };
        let (step, attempt) = match subject.split_once('#') {
            Some((step, attempt)) => (step, Some(attempt.parse().ok()?)),
            None => (subject, None),
        };
        Some((step, attempt, passed))
    });
    let Some((step, attempt, passed)) = parsed else {
        decoder.mismatch(place, "a step and what it passes", help);
        return None;
    };
    names.check(decoder, place, step).then(|| Milestone {
        step: step.to_owned(),
        attempt,
        passed,
    })
}

fn calls(decoder: &mut Decoder<'_>, place: Place<'_>) -> Option<BTreeMap<String, Count>> {
    let fields = decoder.fields(place, "methods and how often they are called", METHODS)?;
    let counts = METHODS.iter().filter_map(|method| {
        let count = count(decoder, fields.get(method)?)?;
        Some(((*method).to_owned(), count))
    });
    Some(counts.collect())
}

/// A number, or a least and a most.
fn count(decoder: &mut Decoder<'_>, place: Place<'_>) -> Option<Count> {
    range(decoder, place, |decoder, place| {
        number(decoder, place, 0..=u64::MAX)
    })
}

fn duration(decoder: &mut Decoder<'_>, place: Place<'_>) -> Option<Range<Duration>> {
    range(decoder, place, seconds)
}

fn range<T: PartialOrd + Copy>(
    decoder: &mut Decoder<'_>,
    place: Place<'_>,
    mut value: impl FnMut(&mut Decoder<'_>, Place<'_>) -> Option<T>,
) -> Option<Range<T>> {
    if !place.is_map() {
        return value(decoder, place).map(Range::exactly);
    }
    let fields = decoder.fields(place, "a least and a most", &["at_least", "at_most"])?;
    let least = fields
        .get("at_least")
        .and_then(|place| value(decoder, place));
    let most = fields
        .get("at_most")
        .and_then(|place| value(decoder, place));
    let is_empty = least.zip(most).is_some_and(|(least, most)| most < least);
    if is_empty || fields.keys().next().is_none() {
        let what = "there is nothing that this is about";
        decoder.report(
            place,
            what,
            "write `at_least`, `at_most` or both, the smaller first",
        );
    }
    Some(Range { least, most })
}

type RunAndSteps = (
    serde_json::Map<String, serde_json::Value>,
    BTreeMap<String, serde_json::Map<String, serde_json::Value>>,
);

fn metadata(decoder: &mut Decoder<'_>, place: Place<'_>, names: &StepNames) -> Option<RunAndSteps> {
    let fields = decoder.fields(
        place,
        "facts about the run and its steps",
        &["run", "steps"],
    )?;
    let run = fields.get("run").and_then(|place| decoder.map(place));
    let steps = fields.get("steps").and_then(|place| {
        names.map(
            decoder,
            place,
            "steps and facts about them",
            |decoder, place| decoder.map(place),
        )
    });
    Some((run.unwrap_or_default(), steps.unwrap_or_default()))
}
