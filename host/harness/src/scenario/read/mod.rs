//! Scenario files to scenarios, with every problem on the way.

mod behaviour;
mod expect;
mod fault;
mod values;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use flavor_host::contract::StopMode;
use pipeline_file::decode::{Decoder, Fields, Place, document};
use pipeline_file::limits::DOCUMENT_BYTES;
use pipeline_file::{InvalidFile, LoadError, PipelineFile};

pub(super) use self::expect::RUN_ENDS;
use self::values::{StepNames, fraction, number, seconds, word};
use super::{Capacity, Chance, Scenario};

const KEYS: &[&str] = &[
    "name",
    "pipeline",
    "max_parallelism",
    "seed",
    "service",
    "steps",
    "other_steps",
    "cached",
    "stop",
    "faults",
    "chance",
    "expect",
];

const SERVICE_KEYS: &[&str] = &[
    "gpus",
    "sandboxes",
    "image_build",
    "image_build_fails",
    "latency",
    "token_lifetime",
];

const CHANCE_KEYS: &[&str] = &["calls", "store", "sandboxes", "kills", "clock_jumps"];

impl Scenario {
    /// Reads a scenario file. A pipeline that it names by a path is looked for from
    /// the file's own folder.
    ///
    /// # Errors
    ///
    /// [`LoadError::Read`] when the file cannot be read, and [`LoadError::Invalid`]
    /// with everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let name = path.display().to_string();
        let bytes = read(path).map_err(|source| LoadError::Read {
            file: name.clone(),
            source,
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let scenario = Self::parse(&name, &bytes, |pipeline| read(&folder.join(pipeline)))?;
        Ok(scenario)
    }

    /// Parses the bytes of a scenario file. `name` is what messages call it;
    /// `pipelines` reads a pipeline that it names by a path.
    ///
    /// # Errors
    ///
    /// [`InvalidFile`] with everything that is wrong, each with its place.
    pub fn parse(
        name: &str,
        bytes: &[u8],
        pipelines: impl Fn(&str) -> io::Result<Vec<u8>>,
    ) -> Result<Self, InvalidFile> {
        let stem = Path::new(name).file_stem().unwrap_or_default();
        let stem = stem.to_string_lossy();
        document(
            name,
            bytes,
            "write at least `pipeline` and `expect`",
            |decoder, root| scenario(decoder, root, &stem, &pipelines),
        )
    }
}

/// At most one byte more than a document may have.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(DOCUMENT_BYTES).unwrap_or(u64::MAX);
    File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn scenario(
    decoder: &mut Decoder<'_>,
    root: Place<'_>,
    stem: &str,
    pipelines: &impl Fn(&str) -> io::Result<Vec<u8>>,
) -> Option<Scenario> {
    let fields = decoder.fields(root, "a scenario's keys", KEYS)?;
    let help = "write a pipeline below it, or the path of a pipeline file";
    let pipeline = decoder.required(&fields, "pipeline", help, |decoder, place| {
        pipeline(decoder, place, pipelines)
    });
    let (pipeline, pipeline_path) = pipeline.unzip();
    let names = StepNames::of(pipeline.as_ref());
    let name = fields
        .get("name")
        .and_then(|place| decoder.filled_text(place, "the scenario's name"));
    let max_parallelism = fields
        .get("max_parallelism")
        .and_then(|place| number(decoder, place, 1..=u32::MAX))
        .and_then(NonZeroU32::new);
    let seed = fields
        .get("seed")
        .and_then(|place| number(decoder, place, 0..=u64::MAX));
    let service = fields
        .get("service")
        .and_then(|place| service(decoder, place));
    let behaviours = fields.get("steps").and_then(|place| {
        names.map(
            decoder,
            place,
            "steps and what they do",
            behaviour::attempts,
        )
    });
    let default_behaviour = fields
        .get("other_steps")
        .and_then(|place| behaviour::behaviour(decoder, place));
    let cached = fields
        .get("cached")
        .and_then(|place| names.list(decoder, place));
    let stops = fields.get("stop").and_then(|place| stops(decoder, place));
    let faults = fields
        .get("faults")
        .and_then(|place| fault::faults(decoder, place, &names));
    let chance = fields
        .get("chance")
        .and_then(|place| chance(decoder, place));
    let expect = fields
        .get("expect")
        .and_then(|place| expect::expectations(decoder, place, &names));
    Some(Scenario {
        name: name.unwrap_or_else(|| stem.to_owned()),
        pipeline: pipeline?,
        pipeline_path: pipeline_path?,
        max_parallelism,
        seed: seed.unwrap_or_default(),
        service: service.unwrap_or_default(),
        behaviours: behaviours.unwrap_or_default(),
        default_behaviour: default_behaviour.unwrap_or_default(),
        cached: cached.unwrap_or_default(),
        stops: stops.unwrap_or_default(),
        faults: faults.unwrap_or_default(),
        chance: chance.unwrap_or_default(),
        expect: expect.unwrap_or_default(),
    })
}

/// A pipeline, here or in a file of its own; and the path of that file.
fn pipeline(
    decoder: &mut Decoder<'_>,
    place: Place<'_>,
    pipelines: &impl Fn(&str) -> io::Result<Vec<u8>>,
) -> Option<(PipelineFile, Option<String>)> {
    if !place.is_text() {
        return Some((decoder.pipeline(place)?, None));
    }
    let path = decoder.filled_text(place, "the path of a pipeline file")?;
    let bytes = match pipelines(&path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let what = format!("`{path}` cannot be read: {error}");
            let help = "write a path that starts at the folder of this file";
            decoder.report(place, what, help);
            return None;
        }
    };
    match PipelineFile::from_slice(&path, &bytes) {
        Ok(pipeline) => Some((pipeline, Some(path))),
        Err(invalid) => {
            let help = "repair that file; `flavor validate` says all that is wrong with it";
            decoder.report(place, first_problem(&invalid), help);
            None
        }
    }
}

/// What is wrong with a pipeline file, on one line.
fn first_problem(invalid: &InvalidFile) -> String {
    let first = invalid.to_string();
    let first = first.lines().next().unwrap_or_default();
    format!("this is no pipeline file: {first}")
}

fn service(decoder: &mut Decoder<'_>, place: Place<'_>) -> Option<Capacity> {
    let fields = decoder.fields(place, "what the service has", SERVICE_KEYS)?;
    let default = Capacity::default();
    let gpus = fields.get("gpus").and_then(|place| {
        let entries = decoder.entries(place, "kinds of GPUs and how many there are")?;
        let counts = entries.iter().filter_map(|keyed| {
            let count = number(decoder, keyed.value(&place), 0..=u32::MAX)?;
            Some((keyed.key().to_owned(), count))
        });
        Some(counts.collect())
    });
    let sandboxes = fields
        .get("sandboxes")
        .and_then(|place| number(decoder, place, 1..=u32::MAX));
    let image_build_fails = fields
        .get("image_build_fails")
        .and_then(|place| decoder.boolean(place));
    let mut time = |key| fields.get(key).and_then(|place| seconds(decoder, place));
    Some(Capacity {
        gpus: gpus.unwrap_or_default(),
        sandboxes,
        image_build: time("image_build").unwrap_or(default.image_build),
        image_build_fails: image_build_fails.unwrap_or_default(),
        latency: time("latency").unwrap_or(default.latency),
        token_lifetime: time("token_lifetime").unwrap_or(default.token_lifetime),
    })
}

/// One stop, or a list of them.
fn stops(decoder: &mut Decoder<'_>, place: Place<'_>) -> Option<Vec<(Duration, StopMode)>> {
    if !place.is_list() {
        return Some(vec![stop(decoder, place)?]);
    }
    let help = "write `{at: 10, mode: graceful}`";
    let mut stops = decoder.list(place, "a list of stops", help, stop)?;
    stops.sort_by_key(|(at, _)| *at);
    Some(stops)
}

fn stop(decoder: &mut Decoder<'_>, place: Place<'_>) -> Option<(Duration, StopMode)> {
    let fields = decoder.fields(place, "a stop's keys", &["at", "mode"])?;
    let help = "write the seconds from the start of the run";
    let at = decoder.required(&fields, "at", help, seconds);
    let mode = fields.get("mode").and_then(|place| {
        let modes = [StopMode::Graceful, StopMode::Force];
        word(
            decoder,
            place,
            "how to stop",
            modes.map(|mode| (mode.word(), mode)),
        )
    });
    Some((at?, mode.unwrap_or(StopMode::Force)))
}

/// Faults by seed: `chaos`, or how often which.
fn chance(decoder: &mut Decoder<'_>, place: Place<'_>) -> Option<Chance> {
    if place.is_text() {
        let expected = "`chaos`, or a map of how often what goes wrong";
        return word(decoder, place, expected, [("chaos", Chance::CHAOS)]);
    }
    let fields = decoder.fields(place, "how often what goes wrong", CHANCE_KEYS)?;
    Some(Chance {
        calls: share(decoder, &fields, "calls"),
        store: share(decoder, &fields, "store"),
        sandboxes: share(decoder, &fields, "sandboxes"),
        kills: times(decoder, &fields, "kills"),
        clock_jumps: times(decoder, &fields, "clock_jumps"),
    })
}

fn share(decoder: &mut Decoder<'_>, fields: &Fields<'_>, key: &'static str) -> f64 {
    let share = fields.get(key).and_then(|place| fraction(decoder, place));
    share.unwrap_or_default()
}

fn times(decoder: &mut Decoder<'_>, fields: &Fields<'_>, key: &'static str) -> u32 {
    let times = fields.get(key);
    let times = times.and_then(|place| number(decoder, place, 0..=crate::limits::RANDOM_EVENTS));
    times.unwrap_or_default()
}

/// The names of a pipeline's steps as a set.
fn step_names(pipeline: &PipelineFile) -> HashSet<String> {
    let names = pipeline.steps.iter().map(|step| step.name.as_str());
    names.map(str::to_owned).collect()
}
