//! Pipeline files that are wrong: refused with the place, before anything of
//! them exists.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::symlink,
    time::Duration,
};

use crate::harness::{Home, Outcome, all, assert_told};

/// The promise is two seconds. Debug builds on busy machines get their share.
const SOON: Duration = if cfg!(debug_assertions) {
    Duration::from_secs(30)
} else {
    Duration::from_secs(2)
};

/// Has a file refused by `run` and by `validate`, in the same words.
fn refuse(home: &Home, file: &str) -> Outcome {
    let run = home.flavor(["run", file, "--run-id", "r"]).run().expect(2);
    assert!(run.took < SOON, "{:?}: {run}", run.took);
    assert_eq!(run.stdout(), "");
    assert!(run.stderr().starts_with("error: "), "{run}");
    for line in run.stderr().lines() {
        let line = line.strip_prefix("error: ").unwrap_or(line);
        assert!(
            line.starts_with(file),
            "a line does not name the file: {run}"
        );
    }
    let validate = home.flavor(["validate", file]).run().expect(2);
    assert_eq!((validate.stdout(), validate.stderr()), ("", run.stderr()));
    home.assert_untouched();
    run
}

/// Has documents refused, and tells what was said, below each of them.
fn told(documents: &[(&str, &str)]) -> String {
    let home = Home::new();
    let told = documents.iter().map(|(name, document)| {
        home.write(name, document);
        let outcome = refuse(&home, name);
        format!("{}\n--------\n{}", document.trim(), outcome.stderr())
    });
    told.collect::<Vec<_>>().join("\n\n")
}

/// As [`told`], for pipelines that are YAML.
fn told_of_yaml<const N: usize>(documents: [&str; N]) -> String {
    told(&documents.map(|document| ("p.yaml", document)))
}

#[test]
fn cycles_are_named_step_by_step() {
    assert_told!(told_of_yaml([
        "
name: p
steps:
  ingest: {command: ['true']}
  clean: {command: ['true'], after: [ingest, report]}
  train: {command: ['true'], after: [clean]}
  report: {command: ['true'], after: [train]}
  publish: {command: ['true'], after: [report]}
",
        "
name: p
steps:
  ingest: {command: ['true'], after: [ingest]}
",
        "
name: p
steps:
  a: {command: ['true'], after: [b]}
  b: {command: ['true'], after: [a]}
  c: {command: ['true'], after: [c]}
",
    ]));
}

#[test]
fn unknown_steps_are_named_with_the_nearest() {
    assert_told!(told_of_yaml(["
name: p
steps:
  ingest: {command: ['true']}
  train: {command: ['true'], after: [injest, ingest]}
  report: {command: ['true'], after: [trian, zzz]}
",]));
}

#[test]
fn keys_that_repeat() {
    assert_told!(told(&[
        (
            "p.yaml",
            "
name: p
steps:
  a: {command: [one]}
  a: {command: [two]}
"
        ),
        (
            "p.yaml",
            "
name: p
name: q
environment: {A: x, B: y, A: z}
steps:
  a: {command: [one], command: [two]}
"
        ),
        (
            "p.json",
            r#"{"name": "p", "steps": {"a": {"command": ["x"]}, "a": {"command": ["y"]}}}"#
        ),
    ]));
}

#[test]
fn keys_that_are_unknown_are_named_with_the_nearest() {
    assert_told!(told_of_yaml(["
nmae: p
name: p
env: {A: x}
settings: {gpus: T4}
resources: {memroy: 1GB}
steps:
  a: {command: [x], need: [b], retry: {max_retry: 1}}
",]));
}

#[test]
fn values_of_the_wrong_kind() {
    assert_told!(told_of_yaml([
        "
name: 7
execution_mode: fast
image: ''
registry: [a]
run_dir: perhaps
files: data
settings: {gpu: 4, timeout: 1h}
resources: {cpu_count: 0, gpu_count: 1.5, memory: lots}
environment: {PORT: 8080, 1ST: x, NONE: null}
steps:
  a:
    command: python train.py
    after: b
    retry: {max_retries: -1, delay: soon, backoff: .nan}
  b: [x]
  c:
",
        "name: p\nsteps: {}\n",
        "name: p\n",
        "[]",
        "",
    ]));
}

#[test]
fn values_that_the_platform_does_not_take() {
    assert_told!(told_of_yaml([
        "
name: p
settings: {timeout: 0}
steps:
  a: {command: [x]}
",
        "
name: p
steps:
  a: {command: [x], settings: {timeout: 86401}}
  b: {command: [x], settings: {gpu: 'A100:2'}, resources: {gpu_count: 4}}
  c: {command: [x], settings: {gpu: 'A100:many'}}
  d: {command: [x], retry: {backoff: 0.5}}
  e: {command: [x], resources: {memory: 99999999999999PB}}
",
    ]));
}

#[test]
fn commands_that_are_none() {
    assert_told!(told_of_yaml([r#"
name: p
steps:
  nothing: {}
  empty: {command: []}
  blank: {command: ['']}
  text: {command: ''}
  number: {command: [sleep, 5]}
  nul: {command: [echo, "a\0b"]}
  variable: {command: [x], environment: {A: "a\0b"}}
"#,]));
}

#[test]
fn step_names_that_could_be_paths() {
    let long = "x".repeat(65);
    assert_told!(told_of_yaml([&format!(
        "
name: p
steps:
  ..: {{command: [x]}}
  ../../outside: {{command: [x]}}
  /etc/passwd: {{command: [x]}}
  a/b: {{command: [x]}}
  .hidden: {{command: [x]}}
  -option: {{command: [x]}}
  'a b': {{command: [x]}}
  '': {{command: [x]}}
  \"a\\0b\": {{command: [x]}}
  \"a\\nb\": {{command: [x]}}
  {long}: {{command: [x]}}
"
    ),]));
}

#[test]
fn files_that_are_no_yaml_or_json() {
    assert_told!(told(&[
        ("p.yaml", "name: p\nsteps:\n\ta: {command: [x]}\n"),
        ("p.yaml", "name: p\nsteps: {a: {command: [x]}\n"),
        ("p.yaml", "name: p\nsteps: {a: {command: [*x]}}\n"),
        ("p.yaml", "name: p\n---\nname: q\n"),
        ("p.json", "{\"name\": \"p\",}"),
        ("p.json", "name: p"),
    ]));
}

#[test]
fn files_that_are_no_text() {
    let home = Home::new();
    let files: [(&str, &[u8]); 4] = [
        ("utf8.yaml", b"name: p\nsteps: {a: {command: [\xff\xfe]}}\n"),
        ("utf8.json", b"{\"name\": \"\xc3\x28\"}"),
        ("utf16.yaml", b"\xff\xfen\0a\0m\0e\0"),
        ("binary.yaml", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"),
    ];
    let told = files.map(|(name, content)| {
        home.write(name, content);
        refuse(&home, name)
    });
    assert_told!(all(&told));
}

#[test]
fn files_that_cannot_be_read() {
    let home = Home::new();
    fs::create_dir(home.work().join("directory.yaml")).unwrap();
    symlink("loop.yaml", home.work().join("loop.yaml")).unwrap();
    let files = [
        "missing.yaml",
        "directory.yaml",
        "loop.yaml",
        "no/such/p.yaml",
    ];
    assert_told!(all(&files.map(|name| refuse(&home, name))));
}

#[test]
fn files_that_are_too_large() {
    let home = Home::new();
    for name in ["large.yaml", "large.json"] {
        let mut file = File::create(home.work().join(name)).unwrap();
        file.write_all(b"{\"name\": \"p\", ").unwrap();
        let blanks = vec![b' '; 1024 * 1024];
        for _ in 0..48 {
            file.write_all(&blanks).unwrap();
        }
    }
    let files = ["large.yaml", "large.json", "/dev/zero"];
    assert_told!(all(&files.map(|name| refuse(&home, name))));
}

#[test]
fn bombs_are_refused_soon() {
    let home = Home::new();
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let aliases = format!("*a{}, ", level - 1).repeat(10);
        laughs += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    let keys: String = (0..1_000).map(|number| format!("k{number}: 1, ")).collect();
    let merges = "*a, ".repeat(90_000);
    let merges = format!("a: &a {{{keys}}}\nb: {{<<: [{merges}]}}\n");
    let (megabytes, half) = (8 << 20, 4 << 20);
    let indented: String = (0..2_000)
        .map(|level| format!("{}a:\n", " ".repeat(level)))
        .collect();
    let files = [
        ("laughs.yaml", laughs),
        ("merges.yaml", merges),
        ("lists.yaml", "[".repeat(megabytes)),
        ("maps.yaml", "{a: ".repeat(megabytes / 4)),
        ("indented.yaml", indented),
        (
            "lists.json",
            format!("{}{}", "[".repeat(half), "]".repeat(half)),
        ),
        (
            "maps.json",
            format!("{}1{}", "{\"a\":".repeat(half / 5), "}".repeat(half / 5)),
        ),
    ];
    let told = files.map(|(name, content)| {
        home.write(name, content);
        refuse(&home, name)
    });
    assert_told!(all(&told));
}

#[test]
fn of_very_many_problems_the_first_are_told() {
    let home = Home::new();
    let steps: String = (0..1000)
        .map(|number| format!("  s{number}: {{command: [x], after: [t{number}]}}\n"))
        .collect();
    home.write("p.yaml", format!("name: p\nsteps:\n{steps}"));
    let outcome = refuse(&home, "p.yaml");
    let lines: Vec<&str> = outcome.stderr().lines().collect();
    assert_eq!(lines.len(), 101);
    assert_eq!(
        lines[100],
        "p.yaml: 900 more problems; the first 100 are shown"
    );
}

#[test]
fn values_of_variables_are_never_told() {
    let home = Home::new();
    let document = "
name: p
environment: {1A: s3cret, B: [s3cret], C: {s3cret: x}}
steps: {a: {command: [x], environment: {D: {x: s3cret}, 'E F': s3cret}}}
";
    home.write("p.yaml", document);
    let outcome = refuse(&home, "p.yaml");
    assert!(!outcome.stderr().contains("s3cret"), "{outcome}");
}

#[test]
fn what_validate_finds_is_an_object_too() {
    let home = Home::new();
    home.write("good.yaml", "name: p\nsteps: {a: {command: [x]}}\n");
    home.write(
        "warned.yaml",
        "name: p\nsteps: {a: {command: [x], resources: {gpu_count: 0}, settings: {gpu: T4}}}\n",
    );
    home.write(
        "bad.yaml",
        "name: p\nsteps: {a: {command: [x], after: [b]}}\n",
    );
    let validate = |words: &[&str]| home.flavor([&["validate"], words].concat()).run();
    assert_told!(all(&[
        validate(&["good.yaml"]).expect(0),
        validate(&["good.yaml", "--json"]).expect(0),
        validate(&["warned.yaml"]).expect(0),
        validate(&["warned.yaml", "--json"]).expect(0),
        validate(&["bad.yaml", "--json"]).expect(2),
        validate(&["missing.yaml", "--json"]).expect(2),
    ]));
    home.assert_untouched();
}
