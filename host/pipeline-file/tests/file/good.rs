//! Good files, and what they come to.

use pipeline_file::{ExecutionMode, PipelineFile, Retry, StepName};
use serde_json::json;

fn parse(name: &str, document: &str) -> PipelineFile {
    PipelineFile::from_slice(name, document.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

const FULL: &str = r#"
name: Café — training
execution_mode: stop_on_failure
image: python:3.13-slim
registry: registry.example.com
settings: {gpu: T4, region: us-east-1, cloud: ~, modal_environment: main, timeout: 3600}
resources: {cpu_count: 0.5, gpu_count: 1, memory: 4GiB}
environment:
  LOG_LEVEL: debug
  SEED: "7"
run_dir: true
files: [data/in.csv, ./conf//a.toml]
steps:
  prepare:
    command: [sh, -c, "echo \"hi\"\n", "", 'it''s', "🚀 \u00fc"]
  train:
    command: [python, train.py]
    after: [prepare, prepare]
    image: example/train:1
    settings: {timeout: 60, gpu: ~}
    resources: {gpu_count: 0}
    environment: {SEED: "8", EXTRA: x}
    retry: {max_retries: 3, delay: 1.5, backoff: 2}
  eval: {command: [python, eval.py], after: [train]}
"#;

#[test]
fn the_documented_file_is_one() {
    let documented: String = include_str!("../../src/lib.rs")
        .lines()
        .skip_while(|line| *line != "//! ```yaml")
        .skip(1)
        .take_while(|line| *line != "//! ```")
        .map(|line| {
            format!(
                "{}\n",
                line.trim_start_matches("//!")
                    .strip_prefix(' ')
                    .unwrap_or("")
            )
        })
        .collect();
    let pipeline = parse("p.yaml", &documented);
    assert_eq!(pipeline.steps.len(), 2);
    assert_eq!(pipeline.settings.as_json().len(), 5);
}

#[test]
fn every_key_arrives() {
    let pipeline = parse("p.yaml", FULL);
    assert_eq!(pipeline.name, "Café — training");
    assert_eq!(pipeline.execution_mode, ExecutionMode::StopOnFailure);
    assert_eq!(pipeline.image.as_deref(), Some("python:3.13-slim"));
    assert_eq!(pipeline.registry.as_deref(), Some("registry.example.com"));
    assert!(pipeline.run_dir);
    let files: Vec<&str> = pipeline.files.iter().map(|path| path.as_str()).collect();
    assert_eq!(files, ["data/in.csv", "conf/a.toml"]);
    let names: Vec<&str> = pipeline
        .steps
        .iter()
        .map(|step| step.name.as_str())
        .collect();
    assert_eq!(names, ["prepare", "train", "eval"]);
    let [prepare, train, _] = pipeline.steps.as_slice() else {
        panic!("{:?}", pipeline.steps);
    };
    assert_eq!(
        prepare.command,
        ["sh", "-c", "echo \"hi\"\n", "", "it's", "🚀 ü"]
    );
    let after: Vec<&str> = train.after.iter().map(StepName::as_str).collect();
    assert_eq!(after, ["prepare", "prepare"]);
    let retry = Retry {
        max_retries: 3,
        delay_seconds: 1.5,
        backoff: 2.0,
    };
    assert_eq!(train.retry, Some(retry));
    assert_eq!(prepare.retry, None);
}

#[test]
fn step_goes_over_pipeline_key_by_key() {
    let pipeline = parse("p.yaml", FULL);
    let effective: Vec<_> = pipeline
        .steps
        .iter()
        .map(|step| step.effective(&pipeline))
        .collect();
    let [prepare, train, _] = effective.as_slice() else {
        panic!("{effective:?}");
    };
    assert_eq!(prepare.image, Some("python:3.13-slim"));
    assert_eq!(prepare.settings, pipeline.settings);
    assert_eq!(prepare.resources, pipeline.resources);
    assert_eq!(prepare.environment, pipeline.environment);

    assert_eq!(train.image, Some("example/train:1"));
    let settings = json!({
        "gpu": null,
        "region": "us-east-1",
        "cloud": null,
        "modal_environment": "main",
        "timeout": 60,
    });
    assert_eq!(
        serde_json::Value::from(train.settings.as_json().clone()),
        settings
    );
    let resources = json!({"cpu_count": 0.5, "gpu_count": 0, "memory": "4GiB"});
    assert_eq!(serde_json::to_value(&train.resources).unwrap(), resources);
    let environment: Vec<_> = train
        .environment
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        environment,
        [("LOG_LEVEL", "debug"), ("SEED", "8"), ("EXTRA", "x")]
    );
}

#[test]
fn the_least_file_has_defaults() {
    let pipeline = parse("p.yaml", "name: p\nsteps: {s: {command: [a]}}\n");
    assert_eq!(pipeline.execution_mode, ExecutionMode::ContinueOnFailure);
    assert!(!pipeline.run_dir);
    let effective = pipeline.steps[0].effective(&pipeline);
    assert_eq!(effective.image, None);
    assert!(effective.settings.is_empty());
    assert!(effective.resources.is_empty());
    assert!(effective.environment.is_empty());
}

#[test]
fn keys_without_a_value_count_as_left_out() {
    let document = "name: p\nimage:\nregistry: ~\nresources: {memory: null}\nsettings:\nenvironment:\n  # A: x\nrun_dir:\nfiles:\nexecution_mode:\nsteps:\n  s:\n    command: [a]\n    after:\n    retry:\n    image:\n";
    let least = "name: p\nsteps: {s: {command: [a]}}\n";
    assert_eq!(parse("p.yaml", document), parse("p.yaml", least));
}

#[test]
fn json_and_yaml_say_the_same() {
    let pipeline = parse("p.yaml", FULL);
    let json = serde_json::to_string_pretty(&pipeline).unwrap();
    assert_eq!(parse("p.json", &json), pipeline);
    // Without the ending, and as YAML's flow style.
    assert_eq!(parse("pipeline", &json), pipeline);
    assert_eq!(
        parse("p.yaml", &format!("# a comment, so YAML\n{json}")),
        pipeline
    );
    let yaml = serde_saphyr::to_string(&pipeline).unwrap();
    assert_eq!(parse("p.yaml", &yaml), pipeline);
}

#[test]
fn json_keeps_what_yaml_cannot_have() {
    let long = "k".repeat(2_000);
    let document = format!(
        r#"{{"name":"\ud83d\ude80\/","steps":{{"s":{{"command":["{long}"]}}}},"environment":{{"{long}":""}}}}"#
    );
    let pipeline = parse("stdin", &document);
    assert_eq!(pipeline.name, "🚀/");
    assert_eq!(pipeline.environment.get(&long).unwrap().as_str(), "");
}

#[test]
fn flow_style_is_yaml_when_it_is_no_json() {
    let pipeline = parse("p.yml", "{name: p, steps: {s: {command: [a]}}}");
    assert_eq!(pipeline.name, "p");
}

#[test]
fn plain_words_that_older_yaml_converts_stay_texts() {
    let document = "name: no\nenvironment: {A: no, B: off, C: Yes, D: 2026-11-22, E: 1:30, F: '0o7', G: y}\nsteps: {on: {command: [n, N, yes]}}\n";
    let pipeline = parse("p.yaml", document);
    assert_eq!(pipeline.name, "no");
    let values: Vec<&str> = pipeline
        .environment
        .iter()
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(
        values,
        ["no", "off", "Yes", "2026-11-22", "1:30", "0o7", "y"]
    );
    assert_eq!(pipeline.steps[0].name.as_str(), "on");
    assert_eq!(pipeline.steps[0].command, ["n", "N", "yes"]);
}

#[test]
fn whole_numbers_have_several_spellings() {
    for spelling in ["2", "2.0", "+2", "0x2", "0o2", "2e0"] {
        let document = format!(
            "name: p\nresources: {{gpu_count: {spelling}}}\nsteps: {{s: {{command: [a]}}}}\n"
        );
        assert_eq!(
            parse("p.yaml", &document).resources.gpu_count,
            Some(2),
            "{spelling}"
        );
    }
}

#[test]
fn anchors_aliases_and_merges_work() {
    let document = "
name: p
environment: &env {A: '1', B: '2'}
steps:
  a: &a
    command: &cmd [run, it]
    environment: *env
  b: {command: *cmd, after: [a]}
  c:
    <<: *a
    environment: {<<: *env, B: '3'}
    after: [b]
";
    let pipeline = parse("p.yaml", document);
    let [a, b, c] = pipeline.steps.as_slice() else {
        panic!("{pipeline:?}");
    };
    assert_eq!(a.command, ["run", "it"]);
    assert_eq!(b.command, a.command);
    assert_eq!(c.command, a.command);
    assert_eq!(c.after, ["b".parse::<StepName>().unwrap()]);
    assert_eq!(c.environment.get("A").unwrap().as_str(), "1");
    assert_eq!(c.environment.get("B").unwrap().as_str(), "3");
}

#[test]
fn block_texts_arrive_byte_for_byte() {
    let document = "name: p\nsteps:\n  s:\n    command:\n      - sh\n      - -c\n      - |\n        set -e\n          indented\n        echo 'é'\n";
    let pipeline = parse("p.yaml", document);
    assert_eq!(
        pipeline.steps[0].command[2],
        "set -e\n  indented\necho 'é'\n"
    );
}

#[test]
fn files_of_editors_that_mark_them_are_read() {
    let document = "\u{feff}name: p\r\nsteps:\r\n  s:\r\n    command: [a]\r\n";
    assert_eq!(parse("p.yaml", document).name, "p");
    assert_eq!(
        parse(
            "p.json",
            "\u{feff}{\"name\":\"p\",\"steps\":{\"s\":{\"command\":[\"a\"]}}}"
        )
        .name,
        "p"
    );
}

#[test]
fn readers_are_read() {
    let pipeline = PipelineFile::from_reader("p.yaml", FULL.as_bytes()).unwrap();
    assert_eq!(pipeline, parse("p.yaml", FULL));
}

#[test]
fn a_step_caches_when_it_or_the_pipeline_says_so() {
    for (pipeline, step, caches) in [
        ("", "", false),
        ("enable_cache: true", "", true),
        ("enable_cache: true", ", enable_cache: false", false),
        ("enable_cache: false", ", enable_cache: true", true),
        ("", ", enable_cache: true", true),
        ("enable_cache:", ", enable_cache: ~", false),
    ] {
        let document = format!("name: p\n{pipeline}\nsteps: {{a: {{command: [a]{step}}}}}\n");
        let pipeline = parse("p.yaml", &document);
        let effective = pipeline.steps[0].effective(&pipeline);
        assert_eq!(effective.enable_cache, caches, "{document}");
        let again = serde_json::to_string(&pipeline).unwrap();
        assert_eq!(parse("p.json", &again), pipeline);
    }
}
