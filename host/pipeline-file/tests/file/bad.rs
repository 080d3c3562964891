//! Bad files, with the full text of what their author is told.
//!
//! Each test is one group of documents; its snapshot shows every document and,
//! below it, every line of the error.

use std::fmt::Write;

use pipeline_file::{LoadError, PipelineFile};

/// Compares with a snapshot, which holds documents enough without our code.
macro_rules! assert_told {
    ($text:expr) => {
        insta::with_settings!({ omit_expression => true }, {
            insta::assert_snapshot!($text);
        })
    };
}

/// Documents and their errors, for a snapshot.
fn told(documents: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, document) in documents {
        let error = PipelineFile::from_slice(name, document.as_bytes()).unwrap_err();
        writeln!(text, "{}", shown(document).trim_end()).unwrap();
        writeln!(text, "--------").unwrap();
        writeln!(text, "{error}\n\n").unwrap();
    }
    text
}

/// A document with nothing in it that an editor would hide.
fn shown(document: &str) -> String {
    let hidden = |c: char| c != '\n' && (c.is_control() || c == '\u{feff}');
    let escape = |c: char| {
        if hidden(c) {
            c.escape_debug().collect()
        } else {
            c.to_string()
        }
    };
    document.chars().map(escape).collect()
}

/// As [`told`], for YAML steps of a document that is fine otherwise.
fn told_of_steps(steps: &[&str]) -> String {
    let documents: Vec<String> = steps
        .iter()
        .map(|step| format!("name: p\nsteps:\n{step}\n"))
        .collect();
    let named: Vec<(&str, &str)> = documents
        .iter()
        .map(|document| ("p.yaml", document.as_str()))
        .collect();
    told(&named)
}

#[test]
fn files_that_hold_no_pipeline() {
    assert_told!(told(&[
        ("p.yaml", ""),
        ("p.yaml", " \n\t\n"),
        ("p.yaml", "# nothing yet\n"),
        ("p.yaml", "---\n"),
        ("p.json", ""),
        ("p.json", "null"),
        ("p.yaml", "[]"),
        ("p.yaml", "just text\n"),
        ("p.yaml", "42"),
        ("p.yaml", "{}"),
        ("p.yaml", "name:\nsteps:\n"),
        ("p.yaml", "name: p\nsteps: {}\n"),
        ("p.yaml", "name: \"  \"\nsteps: [a, b]\n"),
    ]));
}

#[test]
fn several_problems_at_once() {
    let document = r#"
name: 2024
execution_mode: fail-fast
image: ""
registy: registry.example.com
settings: {gpu: 4, timeout: 1h, region: [us], zone: a}
resources: {cpu_count: 0, gpu_count: -1, memory: 512mb, cpus: 4}
environment: {PORT: 8080, DEBUG: true, "1A": x, EMPTY: , LIST: [a]}
run_dir: yes
files: [/etc/passwd, ../x, a/../b, "", 7]
steps:
  ../up: {command: a}
  train:
    comand: [python]
    after: prepare
    retry: {max_retries: -1, delay: .inf, backoff: fast, jitter: 1}
  train: {command: [b]}
  eval:
    command: python eval.py
    resources:
      memory: [1GB]
      gpu_count: 1.5
"#;
    assert_told!(told(&[("pipelines/p.yaml", document)]));
}

#[test]
fn keys_that_repeat() {
    assert_told!(told(&[
        (
            "p.yaml",
            "name: a\nname: b\nname: c\nsteps: {s: {command: [a]}}\n"
        ),
        (
            "p.yaml",
            "name: a\nsteps:\n  s: {command: [a]}\n  s: {command: [b]}\n"
        ),
        (
            "p.yaml",
            "name: a\nenvironment: {A: x, A: x}\nsteps: {s: {command: [a]}}\n"
        ),
        (
            "p.yaml",
            "name: a\nsteps: {s: {command: [a], \"command\": [b]}}\n"
        ),
        (
            "p.json",
            r#"{"name": "a", "steps": {"s": {"command": ["a"]}, "\u0073": {"command": ["b"]}}, "name": "b"}"#
        ),
        (
            "p.yaml",
            "name: a\nsteps:\n  s: &s\n    command: [a]\n  t:\n    <<: *s\n    after: [s]\n    after: [s]\n"
        ),
    ]));
}

#[test]
fn keys_that_are_unknown() {
    assert_told!(told(&[
        (
            "p.yaml",
            "Name: a\nname: a\nstep: {}\nsteps: {s: {command: [a]}}\n"
        ),
        (
            "p.yaml",
            "name: a\nenv: {}\nschedule: daily\nsteps: {s: {command: [a]}}\n"
        ),
        (
            "p.yaml",
            "name: a\nsteps: {s: {command: [a], depends_on: [], retries: 3, run_dir: true}}\n"
        ),
        (
            "p.yaml",
            "name: a\nsettings: {GPU: T4, env: main}\nsteps: {s: {command: [a]}}\n"
        ),
        (
            "p.yaml",
            "name: a\n\"a.b\": 1\n\"\": 2\n\"\\e[31m\": 3\nsteps: {s: {command: [a]}}\n"
        ),
    ]));
}

#[test]
fn keys_that_are_no_texts() {
    assert_told!(told(&[
        (
            "p.yaml",
            "name: a\n1: x\ntrue: y\n~: z\nsteps: {s: {command: [a]}}\n"
        ),
        (
            "p.yaml",
            "name: a\n? [x, y]\n: 1\n? {x: y}\n: 1\nsteps: {s: {command: [a]}}\n"
        ),
        (
            "p.yaml",
            "name: a\nsteps:\n  2024: {command: [a]}\n  0x1: {command: [a]}\n  1.10: {command: [a]}\n"
        ),
        (
            "p.yaml",
            "name: a\nenvironment: {1: x}\nsteps: {s: {command: [a]}}\n"
        ),
    ]));
}

#[test]
fn step_names() {
    let long = format!("  {}: {{command: [a]}}", "n".repeat(65));
    assert_told!(told_of_steps(&[
        "  \"\": {command: [a]}",
        "  .hidden: {command: [a]}",
        "  ..: {command: [a]}",
        "  --help: {command: [a]}",
        "  a/b: {command: [a]}",
        "  \"a b\": {command: [a]}",
        "  schön: {command: [a]}",
        "  \"a\\0b\": {command: [a]}",
        "  \"a\\nb\": {command: [a]}",
        &long,
        "  a: {command: [a], after: [../b, \"\", 1, [c]]}",
    ]));
}

#[test]
fn commands() {
    assert_told!(told_of_steps(&[
        "  a: {}",
        "  a:",
        "  a: [echo]",
        "  a: {command: }",
        "  a: {command: []}",
        "  a: {command: [\"\"]}",
        "  a: {command: [\"\", x]}",
        "  a: {command: echo hello}",
        "  a: {command: {sh: -c}}",
        "  a: {command: [sleep, 1, 1.50, 0o7, true, ~, [x], {y: z}]}",
        "  a: {command: [echo, \"a\\0b\"]}",
    ]));
}

#[test]
fn values_of_the_wrong_kind() {
    assert_told!(told_of_steps(&[
        "  a: {command: [a], image: 3.13}",
        "  a: {command: [a], image: [python]}",
        "  a: {command: [a], settings: T4}",
        "  a: {command: [a], settings: {timeout: ~}}",
        "  a: {command: [a], settings: {timeout: \"60\"}}",
        "  a: {command: [a], settings: {timeout: 1.5}}",
        "  a: {command: [a], settings: {timeout: 99999999999999999999}}",
        "  a: {command: [a], resources: {cpu_count: \"2\"}}",
        "  a: {command: [a], resources: {cpu_count: two}}",
        "  a: {command: [a], resources: {cpu_count: -0.5}}",
        "  a: {command: [a], resources: {cpu_count: .nan}}",
        "  a: {command: [a], resources: {cpu_count: .inf}}",
        "  a: {command: [a], resources: {cpu_count: 1e999}}",
        "  a: {command: [a], resources: {gpu_count: 4294967296}}",
        "  a: {command: [a], resources: {gpu_count: true}}",
        "  a: {command: [a], resources: {memory: 512}}",
        "  a: {command: [a], resources: {memory: 1.5GB}}",
        "  a: {command: [a], resources: {memory: MB}}",
        "  a: {command: [a], resources: {memory: \"512MB\\n\"}}",
        "  a: {command: [a], after: {b: c}}",
        "  a: {command: [a], retry: 3}",
        "  a: {command: [a], retry: {max_retries: 1.5, delay: 86401, backoff: -1}}",
    ]));
}

#[test]
fn environment_values_are_never_shown() {
    let text = told(&[(
        "p.yaml",
        "name: p\nenvironment:\n  A: 8675309\n  B: [8675309]\n  C: \"8675309\\0\"\n  D: 8675309.5\n  E: {x: 8675309}\n  F:\nsteps: {s: {command: [a]}}\n",
    )]);
    let (_, error) = text.split_once("--------").unwrap();
    assert!(!error.contains("8675309"), "{error}");
    assert_told!(error);
}

#[test]
fn broken_yaml() {
    assert_told!(told(&[
        ("p.yaml", "name: [a\nsteps: b\n"),
        ("p.yaml", "name: a\n\tsteps: b\n"),
        ("p.yaml", "name: a: b\n"),
        ("p.yaml", "name: \"a\n"),
        ("p.yaml", "name: a\n steps: b\n"),
        ("p.yaml", "name: *nowhere\n"),
        ("p.yaml", "name: &n [*n]\n"),
        ("p.yaml", "name: !secret a\n"),
        ("p.yaml", "name: !!int a\n"),
        ("p.yaml", "<<: 1\nname: a\n"),
        ("p.yaml", "name: a\n---\nname: b\n"),
        ("p.yaml", "---\n---\nname: b\n"),
        ("p.yaml", "name: a\u{0}b\n"),
        ("p.yaml", "name: a\u{7}b\n"),
        ("p.yaml", "%YAML 3.0\n---\nname: a\n"),
    ]));
}

#[test]
fn broken_json() {
    assert_told!(told(&[
        ("p.json", "{\"name\": \"a\",}"),
        ("p.json", "{\"name\": \"a\""),
        ("p.json", "{\n  \"name\": \"a\"\n  \"steps\": {}\n}"),
        ("p.json", "{} {}"),
        ("p.json", "name: a"),
        ("p.json", "{'name': 'a'}"),
        ("P.JSON", "{\"name\": \"a\tb\"}"),
        ("p.json", "{\"name\": \"\\ud800\"}"),
        ("p.json", "{\"name\": \"ä\", \"\\x\": 1}"),
        ("p.json", "{\"näme\": 1, \"name\": 01}"),
        ("p.json", "{\"name\": 1e999, \"steps\": {\"ä\": {}}}"),
        ("pipeline", "{\"name\": 5, \"steps\": {}}"),
    ]));
}

#[test]
fn bytes_that_are_no_text() {
    let told = |bytes: &[u8]| {
        let error = PipelineFile::from_slice("p.yaml", bytes).unwrap_err();
        error.to_string()
    };
    let texts = [
        told(b"name: a\nimage: \xff\xfe\n"),
        told(
            "näme: "
                .bytes()
                .chain([0xc3])
                .collect::<Vec<_>>()
                .as_slice(),
        ),
        told(b"\xff\xfen\0a\0m\0e\0"),
        told(b"\xfe\xff\0n\0a"),
        told(b"\x80"),
        told(b"name: \xed\xa0\x80"),
    ];
    assert_told!(texts.join("\n"));
}

#[test]
fn what_one_alias_repeats_is_told_once() {
    assert_told!(told(&[(
        "p.yaml",
        "name: p\nresources: &r {memory: 1GBB}\nsteps:\n  a: {command: [a], resources: *r}\n  b: {command: [a], resources: {<<: *r}}\n",
    )]));
}

#[test]
fn places_count_characters_from_one() {
    assert_told!(told(&[
        (
            "p.yaml",
            "\u{feff}näme: a\r\n\"ö\": 1\r\n  \r\nsteps: {ü-1: x}\n"
        ),
        ("p.json", "\u{feff}{\"nämé\": {}, \"x\": 1}"),
    ]));
}

#[test]
fn many_problems_are_counted() {
    let steps: String = (0..150)
        .map(|i| format!("  s{i}: {{image: x}}\n"))
        .collect();
    let document = format!("name: p\nsteps:\n{steps}");
    let error = PipelineFile::from_slice("p.yaml", document.as_bytes()).unwrap_err();
    assert_eq!(error.problems().len(), 100);
    assert_eq!(error.omitted(), 50);
    let text = error.to_string();
    assert_eq!(text.lines().count(), 101);
    assert_eq!(
        text.lines().last(),
        Some("p.yaml: 50 more problems; the first 100 are shown")
    );
}

#[test]
fn problems_can_be_read_by_programs() {
    let error =
        PipelineFile::from_slice("p.yaml", b"name: p\nsteps:\n  a: {command: [a]}\n  a: {}\n")
            .unwrap_err();
    assert_eq!(error.file(), "p.yaml");
    let [problem] = error.problems() else {
        panic!("{error}");
    };
    assert_eq!(problem.path(), "steps.a");
    let (location, first) = (problem.location().unwrap(), problem.first().unwrap());
    assert_eq!((location.line, location.column), (4, 3));
    assert_eq!((first.line, first.column), (3, 3));
}

#[test]
fn reading_may_fail_as_well() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    let error = PipelineFile::from_reader("p.yaml", Broken).unwrap_err();
    assert!(matches!(error, LoadError::Read { .. }));
    assert_eq!(
        error.to_string(),
        "p.yaml: the file could not be read: the disk is gone; check the path and its permissions"
    );
}

#[test]
fn steps_that_share_a_directory_do_not_cache() {
    assert_told!(told(&[
        (
            "p.yaml",
            "name: p\nrun_dir: true\nenable_cache: true\nsteps: {a: {command: [a]}}\n",
        ),
        (
            "p.yaml",
            "name: p\nrun_dir: true\nsteps: {a: {command: [a], enable_cache: true}}\n",
        ),
        (
            "p.yaml",
            "name: p\nsteps: {a: {command: [a], enable_cache: yes}}\n",
        ),
    ]));
}
