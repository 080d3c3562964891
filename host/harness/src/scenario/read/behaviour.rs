//! What steps do.

use std::time::Duration;

use flavor_host::contract::OutputStream;
use pipeline_file::decode::{Decoder, Fields, Place};

use super::super::{Behaviour, End, Written};
use super::values::{number, seconds, word};

const KEYS: &[&str] = &[
    "starts_after",
    "runs",
    "exit",
    "signal",
    "ends",
    "cannot_start",
    "stdout",
    "stderr",
    "output",
    "lingers",
];

const OUTPUT_KEYS: &[&str] = &["after", "stdout", "stderr"];

/// What a step does in each of its attempts: one behaviour for all, or a list.
pub(super) fn attempts(decoder: &mut Decoder<'_>, place: Place<'_>) -> Option<Vec<Behaviour>> {
    if !place.is_list() {
        return Some(vec![behaviour(decoder, place)?]);
    }
    let help = "write what happens in each attempt, such as `[{exit: 1}, {exit: 0}]`";
    let attempts = decoder.list(place, "a list of attempts", help, behaviour)?;
    if attempts.is_empty() {
        decoder.report(place, "there is no attempt in the list", help);
        return None;
    }
    Some(attempts)
}

/// What happens to the sandbox of an attempt.
pub(super) fn behaviour(decoder: &mut Decoder<'_>, place: Place<'_>) -> Option<Behaviour> {
    let fields = decoder.fields(place, "what a step does", KEYS)?;
    let default = Behaviour::default();
    let starts_after = fields
        .get("starts_after")
        .and_then(|place| time_or(decoder, place, "never"));
    let runs = fields
        .get("runs")
        .and_then(|place| time_or(decoder, place, "forever"));
    let runs = runs.unwrap_or(default.runs);
    let lingers = fields
        .get("lingers")
        .and_then(|place| seconds(decoder, place));
    let end = end(decoder, place, &fields, runs);
    let mut output = Vec::new();
    for (key, stream) in [
        ("stdout", OutputStream::Stdout),
        ("stderr", OutputStream::Stderr),
    ] {
        output.extend(
            fields
                .get(key)
                .and_then(|place| written(decoder, place, stream, Duration::ZERO)),
        );
    }
    let later = fields.get("output").and_then(|place| {
        let help = "write `{after: 2, stdout: \"half done\"}`";
        decoder.list(place, "a list of what is written", help, piece)
    });
    output.extend(later.unwrap_or_default());
    output.sort_by_key(|written| written.after);
    Some(Behaviour {
        starts_after: starts_after.unwrap_or(default.starts_after),
        runs,
        end,
        output,
        lingers: lingers.unwrap_or_default(),
    })
}

/// A time, or the word for one that does not come.
fn time_or(decoder: &mut Decoder<'_>, place: Place<'_>, never: &str) -> Option<Option<Duration>> {
    if place.is_text() {
        let expected = format!("a number of seconds, or `{never}`");
        return word(decoder, place, &expected, [(never, None)]);
    }
    seconds(decoder, place).map(Some)
}

/// How it ends; at most one key says so.
fn end(
    decoder: &mut Decoder<'_>,
    place: Place<'_>,
    fields: &Fields<'_>,
    runs: Option<Duration>,
) -> End {
    const ENDS: [&str; 4] = ["exit", "signal", "ends", "cannot_start"];
    let given: Vec<&str> = fields.keys().filter(|key| ENDS.contains(key)).collect();
    if let [first, second, ..] = given.as_slice() {
        let what = format!("`{first}` and `{second}` both say how it ends");
        decoder.report(place, what, "keep one of them");
    }
    if let (Some(key), None) = (given.first(), runs) {
        let what = format!("what runs forever does not come to `{key}`");
        decoder.report(place, what, "leave one of them out");
    }
    let end = match given.first() {
        Some(&"exit") => fields
            .get("exit")
            .and_then(|place| number(decoder, place, 0..=255))
            .map(End::Exit),
        Some(&"signal") => fields
            .get("signal")
            .and_then(|place| number(decoder, place, 1..=64))
            .map(End::Signal),
        Some(&"ends") => fields.get("ends").and_then(|place| {
            let ends = [("lost", End::Lost), ("evicted", End::Evicted)];
            word(decoder, place, "how it ends", ends)
        }),
        Some(_) => fields
            .get("cannot_start")
            .and_then(|place| decoder.filled_text(place, "why it cannot start"))
            .map(End::NeverRan),
        None => None,
    };
    end.unwrap_or(End::Exit(0))
}

/// Something that is written at some time.
fn piece(decoder: &mut Decoder<'_>, place: Place<'_>) -> Option<Written> {
    let fields = decoder.fields(place, "what is written, and when", OUTPUT_KEYS)?;
    let after = fields
        .get("after")
        .and_then(|place| seconds(decoder, place));
    let after = after.unwrap_or_default();
    let stdout = fields.get("stdout");
    let stderr = fields.get("stderr");
    match (stdout, stderr) {
        (Some(text), None) => written(decoder, text, OutputStream::Stdout, after),
        (None, Some(text)) => written(decoder, text, OutputStream::Stderr, after),
        _ => {
            let what = "one of `stdout` and `stderr` says where it is written to";
            decoder.report(place, what, "write one of them, with the text");
            None
        }
    }
}

fn written(
    decoder: &mut Decoder<'_>,
    place: Place<'_>,
    stream: OutputStream,
    after: Duration,
) -> Option<Written> {
    let text = decoder.text(place, "a text")?;
    Some(Written {
        after,
        stream,
        data: text.as_bytes().to_vec(),
    })
}
