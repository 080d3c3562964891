//! What holds for every input.

use pipeline_file::PipelineFile;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Texts that YAML could take for something else, among all others.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[^\\x00]{0,20}",
        prop::sample::select(vec![
            "no",
            "yes",
            "~",
            "null",
            "1",
            "1.10",
            "0o7",
            "0x1F",
            "1_000",
            ".inf",
            ".nan",
            "1e3",
            "true",
            "- a",
            "a: b",
            "#",
            "*a",
            "&a",
            "!a",
            "<<",
            "|",
            ">",
            "'",
            "\"",
            "\\",
            "%",
            "@",
            "`",
            "{",
            "[",
            " a ",
            "\n",
            "\t",
            "a\nb\n",
            "2026-11-22",
            "=",
            "?",
            ":",
            "-",
            "---",
            "...",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "\u{7f}",
            "\r",
            "🚀",
            "\u{1b}[31m",
        ])
        .prop_map(str::to_owned),
    ]
}

fn filled() -> impl Strategy<Value = String> {
    text().prop_map(|text| format!("x{text}"))
}

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_][A-Za-z0-9._-]{0,63}"
}

fn optional(
    key: &'static str,
    value: impl Strategy<Value = Value> + 'static,
) -> BoxedStrategy<(String, Option<Value>)> {
    prop::option::of(value)
        .prop_map(move |value| (key.to_owned(), value))
        .boxed()
}

/// A map of those keys that are there.
fn object(keys: Vec<BoxedStrategy<(String, Option<Value>)>>) -> impl Strategy<Value = Value> {
    keys.prop_map(|keys| {
        let given = keys
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)));
        Value::Object(given.collect::<Map<_, _>>())
    })
}

fn environment() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[A-Za-z_][A-Za-z0-9_]{0,8}", text(), 0..4)
        .prop_map(|map| json!(map))
}

fn settings() -> impl Strategy<Value = Value> {
    let text = || prop::option::of(text()).prop_map(|text| json!(text));
    object(vec![
        optional("gpu", text()),
        optional("region", text()),
        optional("cloud", text()),
        optional("modal_environment", text()),
        optional("timeout", any::<i64>().prop_map(Value::from)),
    ])
}

fn resources() -> impl Strategy<Value = Value> {
    let cpu = prop_oneof![
        (1_u32..100_000).prop_map(|thousandths| json!(f64::from(thousandths) / 1000.0)),
        prop::sample::select(vec![1e-300, 1e18, 5e-324, f64::MAX, 0.1]).prop_map(Value::from),
    ];
    let memory = (
        "[0-9]{1,30}",
        prop::sample::select(vec!["B", "KB", "MiB", "PiB"]),
    )
        .prop_map(|(digits, unit)| json!(format!("{digits}{unit}")));
    object(vec![
        optional("cpu_count", cpu),
        optional("gpu_count", any::<u32>().prop_map(Value::from)),
        optional("memory", memory),
    ])
}

fn step() -> impl Strategy<Value = Value> {
    let arguments = prop::collection::vec(text(), 0..4);
    let command = (filled(), arguments).prop_map(|(program, mut words)| {
        words.insert(0, program);
        Some(json!(words))
    });
    let retry = object(vec![
        optional("max_retries", any::<u32>().prop_map(Value::from)),
        optional(
            "delay",
            (0_u32..86_400_000).prop_map(|ms| json!(f64::from(ms) / 1000.0)),
        ),
        optional(
            "backoff",
            (0_u32..100).prop_map(|tenths| json!(f64::from(tenths) / 10.0)),
        ),
    ]);
    object(vec![
        command
            .prop_map(|command| ("command".to_owned(), command))
            .boxed(),
        optional(
            "after",
            prop::collection::vec(name(), 0..3).prop_map(|names| json!(names)),
        ),
        optional("image", filled().prop_map(Value::from)),
        optional("settings", settings()),
        optional("resources", resources()),
        optional("environment", environment()),
        optional("retry", retry),
        optional("enable_cache", Just(Value::from(false))),
    ])
}

fn pipeline() -> impl Strategy<Value = Value> {
    let steps = prop::collection::vec((name(), step()), 1..4)
        .prop_map(|steps| Value::Object(steps.into_iter().collect()));
    let path = prop::collection::vec("[a-z.ü ]{0,5}[a-zé]", 1..4).prop_map(|parts| parts.join("/"));
    let mode = prop::sample::select(vec!["fail_fast", "stop_on_failure", "continue_on_failure"]);
    object(vec![
        filled()
            .prop_map(|name| ("name".to_owned(), Some(json!(name))))
            .boxed(),
        steps
            .prop_map(|steps| ("steps".to_owned(), Some(steps)))
            .boxed(),
        optional("execution_mode", mode.prop_map(Value::from)),
        optional("image", filled().prop_map(Value::from)),
        optional("registry", filled().prop_map(Value::from)),
        optional("settings", settings()),
        optional("resources", resources()),
        optional("environment", environment()),
        optional("enable_cache", Just(Value::from(false))),
        optional("run_dir", any::<bool>().prop_map(Value::from)),
        optional(
            "files",
            prop::collection::vec(path, 0..3).prop_map(|paths| json!(paths)),
        ),
    ])
}

/// YAML that comes close to a pipeline.
fn near_yaml() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "name",
        "steps",
        "command",
        "environment",
        "resources",
        "memory",
        ": ",
        ":",
        "\n",
        "\n  ",
        "\n    ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "- ",
        "a",
        "1",
        "~",
        "'",
        "\"",
        "&x ",
        "*x",
        "<<: *x",
        "!!str ",
        "|\n",
        "#",
        "\t",
        "\u{feff}",
        "---\n",
        "\\",
        "é",
    ]);
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(document in pipeline()) {
        let json = document.to_string();
        let from_json = PipelineFile::from_slice("p.json", json.as_bytes());
        let yaml = serde_saphyr::to_string(&document).unwrap();
        let from_yaml = PipelineFile::from_slice("p.yaml", yaml.as_bytes());
        prop_assert!(from_json.is_ok(), "{}\n{}", json, from_json.unwrap_err());
        prop_assert_eq!(&from_yaml, &from_json, "{}", yaml);
        // And once more through our own form.
        let pipeline = from_json.unwrap();
        let again = serde_json::to_vec(&pipeline).unwrap();
        prop_assert_eq!(PipelineFile::from_slice("p.json", &again), Ok(pipeline.clone()));
        let again = serde_saphyr::to_string(&pipeline).unwrap();
        prop_assert_eq!(PipelineFile::from_slice("p.yaml", again.as_bytes()), Ok(pipeline));
    }

    #[test]
    fn keys_keep_their_order(document in pipeline()) {
        let pipeline = PipelineFile::from_slice("p.json", document.to_string().as_bytes()).unwrap();
        let names: Vec<&str> = pipeline.steps.iter().map(|step| step.name.as_str()).collect();
        let written: Vec<&String> = document["steps"].as_object().unwrap().keys().collect();
        prop_assert_eq!(names, written);
        let settings: Vec<&String> = pipeline.settings.as_json().keys().collect();
        let written = document.get("settings").and_then(Value::as_object);
        prop_assert_eq!(settings, written.map_or(Vec::new(), |map| map.keys().collect()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_sequence_of_bytes_has_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for name in ["p.yaml", "p.json", "p"] {
            if let Err(error) = PipelineFile::from_slice(name, &bytes) {
                prop_assert!(!error.problems().is_empty());
            }
        }
    }

    #[test]
    fn every_text_has_an_answer(text in prop_oneof![near_yaml(), ".{0,100}"]) {
        for name in ["p.yaml", "p.json"] {
            let Err(error) = PipelineFile::from_slice(name, text.as_bytes()) else {
                continue;
            };
            let lines = text.lines().count().max(1);
            for problem in error.problems() {
                let line = problem.location().map_or(1, |location| location.line);
                prop_assert!((1..=lines + 1).contains(&line), "{}", error);
                // One line each, with nothing in it that moves a cursor.
                prop_assert!(!problem.to_string().contains(char::is_control), "{}", error);
            }
        }
    }
}
