//! Readers that go away.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::Stdio,
};

use crate::harness::{Fifo, Home, Outcome};

/// Runs a command, reads a line of its data, and no more.
fn head(home: &Home, words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = home.flavor(words).into_command();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::with_capacity(1, child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    drop(output);
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    (child.wait().unwrap().code(), line, said)
}

#[test]
fn the_rest_of_the_logs_is_dropped_quietly() {
    let home = Home::new();
    let script = "yes line | head -n 100000";
    let pipeline = format!("name: p\nsteps: {{a: {{command: [sh, -c, '{script}']}}}}\n");
    home.run("r", &pipeline).expect(0);
    for (words, first) in [
        (&["logs", "r"][..], "a | line\n"),
        (&["logs", "r", "a"], "line\n"),
    ] {
        let (code, line, said) = head(&home, words);
        assert_eq!((code, line.as_str(), said.as_str()), (Some(0), first, ""));
    }
    let (code, line, said) = head(&home, &["logs", "r", "--json"]);
    assert!(line.starts_with("{\"event\":\"log\""));
    assert_eq!((code, said.as_str()), (Some(0), ""));
}

#[test]
fn a_run_goes_on_when_nobody_reads_what_it_says() {
    let home = Home::new();
    let mut gate = Fifo::new(&home, "gate");
    let script = format!("read x <{}; yes line | head -n 100000", gate.path());
    home.write(
        "p.yaml",
        format!("name: p\nsteps: {{a: {{command: [sh, -c, '{script}']}}}}\n"),
    );
    for id in ["plain", "json"] {
        let json: &[&str] = if id == "json" { &["--json"] } else { &[] };
        let words = [&["run", "p.yaml", "--run-id", id], json].concat();
        let mut command = home.flavor(words).into_command();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut String::new()).unwrap();
        drop((output, child.stderr.take()));
        gate.release();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert_eq!(home.status(id), "completed");
        let logs: Outcome = home.flavor(["logs", id, "a"]).run().expect(0);
        assert_eq!(logs.stdout, "line\n".repeat(100_000).into_bytes());
    }
}

#[test]
fn short_answers_to_nobody_are_no_failure() {
    let home = Home::new();
    home.run("r", "name: p\nsteps: {a: {command: [echo, x]}}\n")
        .expect(0);
    let commands: [&[&str]; 7] = [
        &["status", "r"],
        &["runs", "list"],
        &["logs", "r"],
        &["flavors"],
        &["doctor"],
        &["validate", "p.yaml"],
        &["--help"],
    ];
    for words in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = home.flavor(words).into_command();
        let output = command
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), said.as_str()),
            (Some(0), ""),
            "{words:?}"
        );
    }
}
