//! Parsers of untrusted text, given whatever a fuzzer comes up with.
//!
//! Each function takes bytes, gives them to a parser, and panics when something does
//! not hold that must hold for all of them. What a parser refuses is fine; what it
//! accepts must be read back as itself.
//!
//! ```text
//! cargo run --example seeds                   # corpora out of the recorded cases
//! cargo +nightly fuzz run --fuzz-dir . --features libfuzzer config_document
//! cargo test                                # every check over its seeds
//! ```

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a fuzzer is told"
)]

pub mod seeds;
// Its own tests and words are those of the host library.
#[allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_imports,
    reason = "taken in as source"
)]
#[path = "../../../host/src/zenml/mod.rs"]
mod zenml;

use flavor_policy::protobuf::FieldPath;
use flavor_policy::target::Target;
use flavor_policy::{Grant, Origin};
use http::Uri;
use modal_flavor::config::class::{CLASSES, SANDBOX_CONFIG, SANDBOX_SETTINGS};
use modal_flavor::config::reference::{KeptByHost, SecretReference, component_name};
use modal_flavor::config::sandbox::SandboxSettings;
use modal_flavor::dag::graph::Graph;
use modal_flavor::entrypoint::Kind;
use modal_flavor::registry;
use modal_flavor::resources::gpu::{self, Choice};
use modal_flavor::resources::memory::{Measure, Memory};
use modal_flavor::resources::settings::ResourceSettings;
use modal_flavor::sandbox::lines::LineBuffer;
use modal_flavor::sandbox::words;
use modal_flavor::text::{first_chars, quoted, strip};
use pipeline_file::PipelineFile;
use serde_json::Value;
use std::str::from_utf8;
use uuid::Uuid;
use zenml::{ArtifactStore, StepToCache, cache_key, parse_inputs};

/// A check.
pub type Check = fn(&[u8]);

/// All checks by their names.
pub const CHECKS: [(&str, Check); 10] = [
    ("cache_step", cache_step),
    ("command_words", command_words),
    ("config_document", config_document),
    ("entrypoint_arguments", entrypoint_arguments),
    ("grant", grant),
    ("line_buffer", line_buffer),
    ("pipeline_file", pipeline_file),
    ("pipeline_graph", pipeline_graph),
    ("references", references),
    ("resources", resources),
];

/// The JSON form of a step and its inputs: `{"step": …, "inputs": …}`.
pub fn cache_step(data: &[u8]) {
    let Ok(document) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let store = ArtifactStore {
        id: Uuid::nil(),
        path: "s3://bucket".to_owned(),
        custom_key: None,
    };
    let (Some(step), Some(inputs)) = (document.get("step"), document.get("inputs")) else {
        return;
    };
    let (Ok(step), Ok(inputs)) = (StepToCache::parse(step), parse_inputs(inputs)) else {
        return;
    };
    if let Ok(key) = cache_key(Uuid::nil(), &store, &step, &inputs) {
        assert_eq!(key.len(), 32);
        assert!(key.bytes().all(|digit| digit.is_ascii_hexdigit()));
    }
}

/// A command line. Words that were found are found again.
pub fn command_words(data: &[u8]) {
    let Ok(text) = from_utf8(data) else {
        return;
    };
    assert_eq!(
        words::split(&words::join([text])),
        Ok(vec![text.to_owned()])
    );
    if let Ok(found) = words::split(text) {
        let joined = words::join(found.iter().map(String::as_str));
        assert_eq!(words::split(&joined), Ok(found));
    }
}

/// A document of a configuration or of settings; the first byte says which. One
/// that was accepted is read back as itself.
pub fn config_document(data: &[u8]) {
    let Some((first, document)) = data.split_first() else {
        return;
    };
    let Ok(document) = from_utf8(document) else {
        return;
    };
    let Some(class) = CLASSES.get(usize::from(*first) % CLASSES.len()) else {
        return;
    };
    match class.parse(document, &KeptByHost) {
        Ok(document) => {
            let again = class.read(document.values().clone(), &KeptByHost).result;
            let again = again.expect("a document that was accepted before");
            assert_eq!(again.values(), document.values());
            if [SANDBOX_CONFIG.name, SANDBOX_SETTINGS.name].contains(&class.name) {
                assert!(SandboxSettings::from(&document).timeout > 0);
            }
            document.required_secrets();
        }
        Err(faults) => assert!(!faults.is_empty()),
    }
}

/// The arguments of an entrypoint, one a line.
pub fn entrypoint_arguments(data: &[u8]) {
    let Ok(text) = from_utf8(data) else {
        return;
    };
    let arguments: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    for kind in [
        Kind::StaticController,
        Kind::DynamicPipeline,
        Kind::Step,
        Kind::StepOperator,
    ] {
        match kind.parse(&arguments) {
            Ok(values) => assert!(values.len() <= kind.options().len()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// A grant, a server, a URI, and a message that a field is read from: `path`, a
/// line end, and the rest.
pub fn grant(data: &[u8]) {
    if let Ok(grant) = serde_json::from_slice::<Grant>(data) {
        let text = serde_json::to_vec(&grant).expect("a grant as JSON");
        assert_eq!(serde_json::from_slice::<Grant>(&text).ok(), Some(grant));
    }
    if let Ok(text) = from_utf8(data) {
        if let Ok(origin) = text.parse::<Origin>() {
            assert_eq!(origin.to_string().parse::<Origin>().ok(), Some(origin));
        }
        if let Some(target) = text
            .parse::<Uri>()
            .ok()
            .and_then(|uri| Target::parse(&uri).ok())
        {
            assert_eq!(Target::parse(target.uri()).ok(), Some(target));
        }
    }
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (Some(path), Some(message)) = (parts.next(), parts.next()) else {
        return;
    };
    if let Some(path) = from_utf8(path)
        .ok()
        .and_then(|path| path.parse::<FieldPath>().ok())
    {
        // Only that it comes back matters: most bytes are no message.
        let _ = path.last_text(message);
    }
}

/// Output, cut into pieces of the length that the first byte says.
pub fn line_buffer(data: &[u8]) {
    let Some((length, output)) = data.split_first() else {
        return;
    };
    let mut buffer = LineBuffer::default();
    let pieces = output.chunks(usize::from(*length).max(1));
    let mut lines: Vec<String> = pieces.flat_map(|piece| buffer.push(piece)).collect();
    assert!(lines.iter().all(|line| line.ends_with('\n')));
    lines.extend(buffer.finish());
    assert_eq!(lines.concat(), String::from_utf8_lossy(output));
}

/// A pipeline file, in both of its forms.
pub fn pipeline_file(data: &[u8]) {
    for name in ["pipeline.yaml", "pipeline.json"] {
        match PipelineFile::from_slice(name, data) {
            Ok(file) => assert!(file.steps.iter().next().is_some()),
            Err(error) => {
                assert!(!error.problems().is_empty());
                assert!(!error.to_string().is_empty());
            }
        }
    }
}

/// The steps of a pipeline: a line each, a name and what it comes after. A graph
/// that was accepted has an order in which every step can run.
pub fn pipeline_graph(data: &[u8]) {
    let Ok(text) = from_utf8(data) else {
        return;
    };
    let steps: Vec<(&str, Vec<String>)> = text
        .lines()
        .filter_map(|line| {
            let mut names = line.split(' ');
            Some((names.next()?, names.map(ToOwned::to_owned).collect()))
        })
        .collect();
    let Ok(graph) = Graph::new(steps.iter().map(|(name, after)| (*name, after.as_slice()))) else {
        return;
    };
    assert_eq!(graph.len(), steps.len());
    let mut done: Vec<&str> = Vec::new();
    loop {
        let ready: Vec<&str> = steps
            .iter()
            .filter(|(name, after)| {
                !done.contains(name) && after.iter().all(|name| done.contains(&name.as_str()))
            })
            .map(|(name, _)| *name)
            .collect();
        if ready.is_empty() {
            break;
        }
        done.extend(ready);
    }
    assert_eq!(done.len(), steps.len(), "a cycle was accepted");
}

/// References to secrets and to images, and texts: two lines.
pub fn references(data: &[u8]) {
    let Ok(text) = from_utf8(data) else {
        return;
    };
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    if let Some(reference) = SecretReference::parse(first) {
        let written = format!("{{{{{}.{}}}}}", reference.name, reference.key);
        assert_eq!(SecretReference::parse(&written), Some(reference));
    }
    assert_eq!(
        component_name(first).is_err(),
        SecretReference::parse(first).is_some()
    );
    if registry::holds(first, second) {
        assert!(second.len() > 1 || !first.contains('/'));
        assert!(registry::holds(first, &format!("{second}-other")));
    }
    assert!(strip(first).len() <= first.len());
    assert!(quoted(first).len() >= first.chars().count() + 2);
    assert!(first.starts_with(first_chars(first, second.len())));
}

/// GPUs and memory, a line each; and a document of resource settings.
pub fn resources(data: &[u8]) {
    if let Ok(Value::Object(document)) = serde_json::from_slice::<Value>(data)
        && let Ok(settings) = ResourceSettings::read(document)
    {
        let again = ResourceSettings::read(settings.document().clone());
        let again = again.expect("settings that were accepted before");
        assert_eq!(again.document(), settings.document());
    }
    let Ok(text) = from_utf8(data) else {
        return;
    };
    let (gpu, memory) = text.split_once('\n').unwrap_or((text, text));
    if let Ok(Choice::Gpu(chosen)) = gpu::choose(Some(gpu), None, gpu::ORCHESTRATOR) {
        let again = gpu::choose(Some(&chosen.argument()), None, gpu::ORCHESTRATOR);
        assert_eq!(again, Ok(Choice::Gpu(chosen)));
    }
    if let Ok(amount) = Memory::parse(memory) {
        let written = format!("{}{}", amount.quantity(), amount.unit().name());
        assert_eq!(Memory::parse(&written), Ok(amount));
        if let (Ok(sent), Ok(exact)) = (
            amount.request(Measure::AsZenml),
            amount.request(Measure::Exact),
        ) {
            assert!(sent >= exact);
        }
    }
}
