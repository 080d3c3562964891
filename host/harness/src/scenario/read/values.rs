//! Times, numbers, words and names of steps.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use pipeline_file::PipelineFile;
use pipeline_file::decode::{Decoder, Keyed, Place};

use super::super::words::nearest;
use super::step_names;
use crate::limits::VIRTUAL_TIME;

/// A time in seconds.
pub(super) fn seconds(decoder: &mut Decoder<'_>, place: Place<'_>) -> Option<Duration> {
    let range = 0.0..=VIRTUAL_TIME.as_secs_f64();
    let expected = format!("a number of seconds from 0 to {}", range.end());
    decoder.number(place, &expected, |number| {
        let number = range.contains(&number).then_some(number)?;
        Duration::try_from_secs_f64(number).ok()
    })
}

/// A time in seconds that may also go backwards.
pub(super) fn jump(decoder: &mut Decoder<'_>, place: Place<'_>) -> Option<f64> {
    let most = VIRTUAL_TIME.as_secs_f64();
    let expected = format!("a number of seconds from -{most} to {most}");
    decoder.number(place, &expected, |number| {
        (number.abs() <= most).then_some(number)
    })
}

/// A share of all.
pub(super) fn fraction(decoder: &mut Decoder<'_>, place: Place<'_>) -> Option<f64> {
    decoder.number(place, "a number from 0 to 1", |number| {
        (0.0..=1.0).contains(&number).then_some(number)
    })
}

/// A whole number within a range.
pub(super) fn number<T>(
    decoder: &mut Decoder<'_>,
    place: Place<'_>,
    range: RangeInclusive<T>,
) -> Option<T>
where
    T: TryFrom<i64> + TryInto<i64> + Copy,
{
    let bound = |bound: T, beyond| bound.try_into().unwrap_or(beyond);
    let range = bound(*range.start(), i64::MIN)..=bound(*range.end(), i64::MAX);
    let number = decoder.integer(place, range)?;
    T::try_from(number).ok()
}

/// One of some words.
pub(super) fn word<'w, T>(
    decoder: &mut Decoder<'_>,
    place: Place<'_>,
    expected: &str,
    known: impl IntoIterator<Item = (&'w str, T)> + Clone,
) -> Option<T> {
    let text = decoder.text(place, expected)?;
    let found = known.clone().into_iter().find(|(word, _)| *word == text);
    if found.is_none() {
        let words: Vec<&str> = known.into_iter().map(|(word, _)| word).collect();
        let nearest = nearest(text, words.iter().copied());
        let all = words.join("`, `");
        let help =
            format!("the nearest known word is `{nearest}`; all that are known here: `{all}`");
        decoder.mismatch(place, expected, help);
    }
    found.map(|(_, value)| value)
}

/// The names of the pipeline's steps; nothing is known of them while the pipeline
/// is wrong itself.
pub(super) struct StepNames(Option<HashSet<String>>);

impl StepNames {
    pub(super) fn of(pipeline: Option<&PipelineFile>) -> Self {
        Self(pipeline.map(step_names))
    }

    /// Why a text names no step, and what to do.
    fn trouble(&self, name: &str) -> Option<(impl Display, impl Display)> {
        let known = self.0.as_ref()?;
        if known.contains(name) {
            return None;
        }
        let mut sorted: Vec<&str> = known.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        let nearest = nearest(name, sorted);
        Some((
            format!("the pipeline has no step `{}`", name.escape_debug()),
            format!("the nearest step is `{nearest}`"),
        ))
    }

    /// Whether a text names a step; it is reported if it does not.
    pub(super) fn check(&self, decoder: &mut Decoder<'_>, place: Place<'_>, name: &str) -> bool {
        let trouble = self.trouble(name);
        let is_known = trouble.is_none();
        if let Some((what, help)) = trouble {
            decoder.report(place, what, help);
        }
        is_known
    }

    /// The name of a step.
    pub(super) fn one(&self, decoder: &mut Decoder<'_>, place: Place<'_>) -> Option<String> {
        let name = decoder.text(place, "a step's name")?;
        self.check(decoder, place, name).then(|| name.to_owned())
    }

    /// A list of names of steps.
    pub(super) fn list(&self, decoder: &mut Decoder<'_>, place: Place<'_>) -> Option<Vec<String>> {
        let help = "write a list, such as `[prepare]`";
        decoder.list(place, "a list of steps", help, |decoder, item| {
            self.one(decoder, item)
        })
    }

    /// A map whose keys are names of steps.
    pub(super) fn map<T>(
        &self,
        decoder: &mut Decoder<'_>,
        place: Place<'_>,
        what: &str,
        mut value: impl FnMut(&mut Decoder<'_>, Place<'_>) -> Option<T>,
    ) -> Option<BTreeMap<String, T>> {
        let entries = decoder.entries(place, what)?;
        let values = entries.iter().filter_map(|keyed| {
            self.check_key(decoder, place, keyed);
            let value = value(decoder, keyed.value(&place))?;
            Some((keyed.key().to_owned(), value))
        });
        Some(values.collect())
    }

    fn check_key(&self, decoder: &mut Decoder<'_>, map: Place<'_>, keyed: &Keyed<'_>) {
        if let Some((what, help)) = self.trouble(keyed.key()) {
            decoder.report_key(map, keyed, what, help);
        }
    }
}
