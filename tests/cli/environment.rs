//! What a step is handed: arguments and variables, byte for byte, and nothing
//! else of the caller's.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};

use crate::harness::{Home, assert_told};

/// Texts that something on the way could take for more than a text.
const ODD: [&str; 22] = [
    "",
    " ",
    "  leading and trailing  ",
    "two\nlines\n",
    "\r\n\t",
    "-n",
    "--",
    "--help",
    "'single'",
    "\"double\"",
    "back\\slash\\n",
    "$HOME ${HOME} $(id) `id`",
    "* ? [a-z] ~",
    "a=b=c",
    "a;b & c | d > e",
    "#not a comment",
    "!history",
    "%s %n {} {{}}",
    "жäñ 漢字 🦀",
    "e\u{301}",
    "\u{1}\u{1b}[31m\u{7f}",
    "\u{feff}bom and \u{202e}override",
];

fn items(bytes: &[u8]) -> Vec<&[u8]> {
    let mut items: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    assert_eq!(items.pop(), Some(b"".as_slice()), "after the last NUL");
    items
}

fn run_json(home: &Home, id: &str, pipeline: &Value) {
    home.write("p.json", pipeline.to_string());
    let arguments = ["run", "p.json", "--run-id", id];
    home.flavor(arguments).run().expect(0);
}

/// The environment that `/proc` shows of a step's process.
fn variables(home: &Home, run: &str) -> BTreeMap<String, String> {
    let bytes = fs::read(home.shared(run).join("environ")).unwrap();
    let pair = |item: &&[u8]| {
        let item = String::from_utf8(item.to_vec()).unwrap();
        let (key, value) = item.split_once('=').unwrap();
        (key.to_owned(), value.to_owned())
    };
    items(&bytes).iter().map(pair).collect()
}

const NOTE_ENVIRONMENT: &str = "cat /proc/$$/environ >$FLAVOR_RUN_DIR/environ";

#[test]
fn arguments_arrive_byte_for_byte() {
    let home = Home::new();
    let script = r#"printf '%s\0' "$@" >"$FLAVOR_RUN_DIR/arguments""#;
    let mut command = vec!["sh", "-c", script, "sh"];
    command.extend(ODD);
    let steps = json!({"a": {"command": command}});
    run_json(
        &home,
        "r",
        &json!({"name": "p", "run_dir": true, "steps": steps}),
    );
    let bytes = fs::read(home.shared("r").join("arguments")).unwrap();
    let expected: Vec<&[u8]> = ODD.iter().map(|text| text.as_bytes()).collect();
    assert_eq!(items(&bytes), expected);
}

#[test]
fn variables_arrive_byte_for_byte() {
    let home = Home::new();
    let given = ODD.iter().enumerate();
    let given: BTreeMap<String, String> = given
        .map(|(number, text)| (format!("ODD_{number:02}"), (*text).to_owned()))
        .collect();
    let step = json!({"command": ["sh", "-c", NOTE_ENVIRONMENT], "environment": given});
    run_json(
        &home,
        "r",
        &json!({"name": "p", "run_dir": true, "steps": {"a": step}}),
    );
    let mut found = variables(&home, "r");
    found.retain(|key, _| key.starts_with("ODD_"));
    assert_eq!(found, given);
}

#[test]
fn large_arguments_and_variables_arrive() {
    let home = Home::new();
    // The most that Modal takes as arguments, and nearly what Linux takes as one
    // variable.
    let script = "printf %s \"$1\" | wc -c; printf %s \"$LARGE\" | wc -c";
    let argument = "x".repeat(65_536 - "sh".len() * 2 - "-c".len() - script.len());
    let value = "y".repeat(128 * 1024 - "LARGE=".len() - 1);
    let step = json!({
        "command": ["sh", "-c", script, "sh", argument],
        "environment": {"LARGE": value},
    });
    run_json(&home, "r", &json!({"name": "p", "steps": {"a": step}}));
    let logs = home.flavor(["logs", "r", "a"]).run().expect(0);
    assert_eq!(
        logs.stdout(),
        format!("{}\n{}\n", argument.len(), value.len())
    );

    let step = json!({"command": ["echo", "x".repeat(65_536)]});
    home.write(
        "p.json",
        json!({"name": "p", "steps": {"a": step}}).to_string(),
    );
    assert_told!(home.flavor(["run", "p.json"]).run().expect(2));
}

#[test]
fn a_step_has_its_own_variables_over_the_pipelines() {
    let home = Home::new();
    let pipeline = format!(
        "
name: p
run_dir: true
environment: {{A: pipeline, B: pipeline, HOME: pipeline}}
steps:
  a:
    command: [sh, -c, '{NOTE_ENVIRONMENT}']
    environment: {{B: step, C: step, FLAVOR_RUN_DIR: step}}
"
    );
    home.run("r", &pipeline).expect(0);
    let found = variables(&home, "r");
    for (key, value) in [
        ("A", "pipeline"),
        ("B", "step"),
        ("C", "step"),
        ("HOME", "pipeline"),
        ("FLAVOR_RUN_DIR", home.shared("r").to_str().unwrap()),
    ] {
        assert_eq!(found[key], value, "{key}");
    }
}

#[test]
fn nothing_of_the_caller_reaches_a_step() {
    let home = Home::new();
    let pipeline = format!(
        "name: p\nrun_dir: true\nsteps: {{a: {{command: [sh, -c, '{NOTE_ENVIRONMENT}; pwd; ls -a']}}}}\n"
    );
    home.write("p.yaml", pipeline);
    let run = home
        .flavor(["run", "p.yaml", "--run-id", "r"])
        .with_token()
        .env("FLAVOR_REGISTRY_PASSWORD", "registry-secret")
        .env("FLAVOR_REGISTRY_USERNAME", "me")
        .env("OF_THE_CALLER", "something");
    let run = run.run().expect(0);
    let found = variables(&home, "r");
    let keys: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_told!(keys.join("\n"));
    // The sandbox's directory, empty but for its TMPDIR, is where it begins.
    assert!(run.stdout().contains(&format!("a | {}\n", found["HOME"])));
    assert!(found["TMPDIR"].starts_with(&found["HOME"]));
    let listed = run.stdout().lines().skip(2).collect::<Vec<_>>();
    assert_eq!(listed, ["a | .", "a | ..", "a | .tmp"]);
    assert!(found["HOME"].starts_with(home.run_dir("r").to_str().unwrap()));
}

#[test]
fn a_step_inherits_nothing_and_its_input_is_its_own() {
    let home = Home::new();
    // The third descriptor is the directory that `ls` itself reads.
    let pipeline = "
name: p
steps:
  input: {command: [sh, -c, 'readlink /proc/self/fd/0']}
  descriptors: {command: [sh, -c, 'ls /proc/self/fd'], after: [input]}
";
    home.run("r", pipeline).expect(0);
    let input = home.flavor(["logs", "r", "input"]).run().expect(0);
    // Open, as at Modal: nobody writes to it, and nobody closes it.
    assert!(input.stdout().starts_with("pipe:"), "{input}");
    let descriptors = home.flavor(["logs", "r", "descriptors"]).run().expect(0);
    assert_eq!(descriptors.stdout(), "0\n1\n2\n3\n");
}
