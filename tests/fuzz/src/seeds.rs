//! Seeds: what the recorded cases give to the parsers.

use anyhow::Context as _;
use modal_flavor::config::class::CLASSES;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Seeds of one check.
pub type Seeds = BTreeSet<Vec<u8>>;

/// The seeds of a check, out of a directory of recorded cases.
///
/// # Errors
///
/// When the cases cannot be read.
pub fn of(check: &str, cases: &Path) -> anyhow::Result<Seeds> {
    let inputs = |area: &str| inputs(&cases.join(format!("{area}.json")));
    Ok(match check {
        "cache_step" => inputs("server")?.iter().filter_map(cache_step).collect(),
        "command_words" => inputs("sandbox")?.iter().flat_map(commands).collect(),
        "config_document" => inputs("config")?.iter().filter_map(document).collect(),
        "entrypoint_arguments" => inputs("names")?.iter().filter_map(arguments).collect(),
        "grant" => GRANTS
            .into_iter()
            .map(|text| text.as_bytes().to_vec())
            .collect(),
        "line_buffer" => inputs("line_buffer")?.iter().flat_map(outputs).collect(),
        "pipeline_file" => PIPELINES
            .into_iter()
            .map(|text| text.as_bytes().to_vec())
            .collect(),
        "pipeline_graph" => inputs("dag")?.iter().filter_map(graph).collect(),
        "references" => {
            let mut seeds: Seeds = inputs("config")?.iter().filter_map(reference).collect();
            seeds.extend(inputs("validator")?.iter().filter_map(image));
            seeds
        }
        "resources" => {
            let mut seeds: Seeds = inputs("memory")?.iter().flat_map(memory).collect();
            seeds.extend(inputs("gpu")?.iter().filter_map(gpu));
            seeds
        }
        other => anyhow::bail!("there is no check {other}"),
    })
}

fn inputs(file: &Path) -> anyhow::Result<Vec<Value>> {
    let place = || file.display().to_string();
    let bytes = fs::read(file).with_context(place)?;
    let cases: Vec<Value> = serde_json::from_slice(&bytes).with_context(place)?;
    Ok(cases
        .into_iter()
        .map(|case| case["input"].clone())
        .collect())
}

fn bytes(text: &Value) -> Option<Vec<u8>> {
    Some(text.as_str()?.as_bytes().to_vec())
}

fn cache_step(input: &Value) -> Option<Vec<u8>> {
    input["step"].is_object().then(|| {
        let document = serde_json::json!({"step": input["step"], "inputs": input["inputs"]});
        document.to_string().into_bytes()
    })
}

fn commands(input: &Value) -> Vec<Vec<u8>> {
    let actions = input["actions"].as_array().into_iter().flatten();
    actions
        .filter_map(|action| bytes(&action["command"]))
        .collect()
}

fn document(input: &Value) -> Option<Vec<u8>> {
    let class = input["class"].as_str()?;
    let place = CLASSES.iter().position(|known| known.name == class)?;
    let mut seed = vec![u8::try_from(place).ok()?];
    seed.extend(input["values"].to_string().into_bytes());
    Some(seed)
}

fn arguments(input: &Value) -> Option<Vec<u8>> {
    let arguments = input["argv"].as_array()?.iter();
    let arguments: Option<Vec<&str>> = arguments.map(Value::as_str).collect();
    Some(arguments?.join("\n").into_bytes())
}

/// All pieces as one, cut finely and not at all.
fn outputs(input: &Value) -> Vec<Vec<u8>> {
    let chunks = input["chunks"].as_array().into_iter().flatten();
    let output: Vec<u8> = chunks
        .flat_map(
            |chunk| match (chunk["hex"].as_str(), chunk["text"].as_str()) {
                (Some(digits), _) => (0..digits.len())
                    .step_by(2)
                    .filter_map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
                    .collect(),
                (_, text) => text.unwrap_or_default().as_bytes().to_vec(),
            },
        )
        .collect();
    [1, 255]
        .into_iter()
        .map(|length| [vec![length], output.clone()].concat())
        .collect()
}

fn graph(input: &Value) -> Option<Vec<u8>> {
    let steps = input["nodes"]
        .as_array()
        .or_else(|| input["steps"].as_array())?
        .iter();
    let lines: Option<Vec<String>> = steps
        .map(|step| {
            let name = step["id"].as_str().or_else(|| step["name"].as_str())?;
            let upstream = step["upstream"].as_array().into_iter().flatten();
            let names = [name].into_iter().chain(upstream.filter_map(Value::as_str));
            Some(names.collect::<Vec<_>>().join(" "))
        })
        .collect();
    Some(lines?.join("\n").into_bytes())
}

fn reference(input: &Value) -> Option<Vec<u8>> {
    let text = &input["text"];
    let read = || {
        input["values"]
            .as_object()?
            .values()
            .find(|value| value.is_string())
    };
    bytes(text).or_else(|| bytes(read()?))
}

fn image(input: &Value) -> Option<Vec<u8>> {
    let registry = input["registry"]
        .as_str()
        .or_else(|| input["uri"].as_str())?;
    let image = input["image"].as_str()?;
    Some(format!("{registry}\n{image}").into_bytes())
}

fn memory(input: &Value) -> Vec<Vec<u8>> {
    let whole = input["settings"]
        .is_object()
        .then(|| input["settings"].to_string().into_bytes());
    let text = bytes(&input["settings"]["memory"]).or_else(|| bytes(&input["memory"]));
    let text = text.map(|text| [b"T4\n".to_vec(), text].concat());
    whole.into_iter().chain(text).collect()
}

fn gpu(input: &Value) -> Option<Vec<u8>> {
    Some([bytes(&input["gpu"])?, b"\n1GB".to_vec()].concat())
}

/// There are no recordings of these: the original has nothing like them.
const GRANTS: [&str; 6] = [
    r#"{"scheme":"https","host":"api.example.com","port":8443,"credential":"account","grpc":{"service":"example.v1.Jobs","methods":["Create","Wait"],"lanes":{"Wait":"waits"}},"learn":[{"method":"Create","url":"5.2","key":"response:1","grpc":{"service":"example.v1.Worker","methods":"*"}}]}"#,
    r#"{"scheme":"http","host":"127.0.0.1","port":80,"private":true,"http":{"method":"GET","path":"/api/v1","lane":"reads"}}"#,
    "https://API.example.com:443/a%2Fb/../c?d=e",
    "http://[::ffff:127.0.0.1]:8080",
    "5.2\n\u{2a}\u{9}\u{12}\u{7}http://",
    "https://user@host./",
];

const PIPELINES: [&str; 4] = [
    "name: example\nexecution_mode: stop_on_failure\nimage: python:3.11-slim\nregistry: reg.io\nsettings: {region: us-east-1, timeout: 3600}\nsteps:\n  prepare:\n    command: [python, -c, \"print('hi')\"]\n  train:\n    command: [python, train.py]\n    after: [prepare]\n    settings: {gpu: A100}\n    resources: {cpu_count: 4, gpu_count: 2, memory: 32GB}\n    environment: {EPOCHS: \"10\"}\n    retry: {max_retries: 2, delay: 10, backoff: 2}\n",
    "# a\n---\nname: \"p\\x41\"\nrun_dir: true\nfiles: [data/in.csv]\nsteps: {a: {command: [sh, -c, |\n  x]}}\n",
    r#"{"name": "p", "steps": {"a": {"command": ["true"], "retry": {"max_retries": 2, "delay": 1, "backoff": 2}}}, "execution_mode": "fail_fast"}"#,
    "name: &n p\nsteps:\n  a: &a {command: [x], environment: {A: \"1\"}}\n  b:\n    <<: *a\n    after: [a]\n    image: *n\n    resources: {cpu_count: 0.5, memory: 1GiB}\n",
];
