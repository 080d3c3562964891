//! `flavor sandbox exec`: bytes in, bytes out, and the command's own exit code.

use std::fs::File;
use std::process::Stdio;

use rustix::process::Signal;

use crate::harness::{Fifo, Home, Outcome, Stream, all, assert_told};
use crate::sandboxes::{Sandboxes, bytes};

#[test]
fn the_exit_code_is_the_command_s() {
    let home = Home::new();
    let sandboxes = Sandboxes::new(&home);
    let id = sandboxes.create(&[]);
    for (script, code) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 125", 125),
        ("exit 255", 255),
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
    ] {
        let ended = sandboxes
            .sandbox(&["exec", &id, "sh", "-c", script])
            .run()
            .expect(code);
        assert_eq!((ended.stdout(), ended.stderr()), ("", ""));
    }
    sandboxes.stop();
}

#[test]
fn both_outputs_and_the_input_are_handed_on_byte_for_byte() {
    let home = Home::new();
    let sandboxes = Sandboxes::new(&home);
    let id = sandboxes.create(&[]);
    let data = bytes(5_000_000);
    let copied = sandboxes
        .sandbox(&["exec", &id, "cat"])
        .with_input(&data[..])
        .run()
        .expect(0);
    assert!(
        copied.stdout == data,
        "{} bytes came back",
        copied.stdout.len()
    );
    assert_eq!(copied.stderr(), "");
    let words = ["exec", &id, "sh", "-c", "cat >&2; echo done"];
    let copied = sandboxes
        .sandbox(&words)
        .with_input(&data[..])
        .run()
        .expect(0);
    assert!(
        copied.stderr == data,
        "{} bytes came back",
        copied.stderr.len()
    );
    assert_eq!(copied.stdout(), "done\n");
    sandboxes.stop();
}

#[test]
fn a_command_gets_what_it_is_given() {
    let home = Home::new();
    let sandboxes = Sandboxes::new(&home);
    let id = sandboxes.create(&["--env", "OF_SANDBOX=s", "--env", "BOTH=s"]);
    let script = "echo \"$OF_SANDBOX $BOTH $0 $1\"; pwd; wc -c";
    let words = [
        "exec", "--cwd", "/", "--env", "BOTH=c", &id, "--", "sh", "-c", script, "--json", "*",
    ];
    let told = sandboxes.sandbox(&words).run().expect(0);
    assert_eq!(told.stdout(), "s c --json *\n/\n0\n");
    sandboxes.stop();
}

/// A command need not read what it is given, and its end is the end.
#[test]
fn an_input_without_end_does_not_keep_a_command() {
    let home = Home::new();
    let sandboxes = Sandboxes::new(&home);
    let id = sandboxes.create(&[]);
    let exec = || sandboxes.sandbox(&["exec", &id, "sh", "-c", "echo x; exit 4"]);
    let ended = exec().with_endless_input().run().expect(4);
    assert_eq!(ended.stdout(), "x\n");
    exec().with_input(bytes(3_000_000)).run().expect(4);
    sandboxes.stop();
}

#[test]
fn what_is_not_run_is_125() {
    let home = Home::new();
    let sandboxes = Sandboxes::new(&home);
    let id = sandboxes.create(&[]);
    let exec = |words: &[&str]| sandboxes.sandbox(&[&["exec"], words].concat());
    let told: Vec<Outcome> = vec![
        exec(&["sb-00000000000000000000000000", "true"])
            .run()
            .expect(125),
        exec(&["no-such-name", "true"]).run().expect(125),
        exec(&["--cwd", "relative", &id, "true"]).run().expect(125),
        exec(&["--tty", &id, "true"]).run().expect(125),
        exec(&[&id]).run().expect(125),
        exec(&["--timeout", "soon", &id, "true"]).run().expect(125),
        exec(&[&id, "true"])
            .env("MODAL_TOKEN_SECRET", "as-wrong")
            .run()
            .expect(125),
        exec(&[&id, "true"])
            .without("MODAL_TOKEN_SECRET")
            .run()
            .expect(125),
        home.flavor(["sandbox", "exec", "sb-1", "true"])
            .run()
            .expect(125),
    ];
    sandboxes.stop();
    assert_told!(all(&told));
}

/// A part of an output is not all of it, whatever the command says of itself.
#[test]
fn an_output_that_cannot_be_written_is_a_failure() {
    let home = Home::new();
    let sandboxes = Sandboxes::new(&home);
    let id = sandboxes.create(&[]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut exec = sandboxes
        .sandbox(&["exec", &id, "echo", "x"])
        .into_command();
    let ended = exec.stdout(full).stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(125), "{told}");
    assert!(told.contains("cannot be written: No space left"), "{told}");
    sandboxes.stop();
}

#[test]
fn an_interrupt_detaches() {
    let home = Home::new();
    let sandboxes = Sandboxes::new(&home);
    let id = sandboxes.create(&["--name", "work"]);
    let mut here = Fifo::new(&home, "here");
    let mut gate = Fifo::new(&home, "gate");
    for signal in [Signal::INT, Signal::TERM] {
        let script = format!(
            "echo begun; read x <{}; echo it went on >{}",
            gate.path(),
            here.path()
        );
        let running = sandboxes
            .sandbox(&["exec", &id, "sh", "-c", &script])
            .start();
        running.line(Stream::Stdout, "begun");
        running.signal(signal);
        let detached = running.finish().expect(130);
        assert_eq!(detached.stdout(), "begun\n");
        let expected = format!(
            "error: detached; the command may still run in {id}: end it and the sandbox with \
             `flavor sandbox destroy {id}`\n"
        );
        assert_eq!(detached.stderr(), expected);
        gate.release();
        assert_eq!(here.line(), "it went on");
    }
    sandboxes.stop();
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let home = Home::new();
    let sandboxes = Sandboxes::new(&home);
    let id = sandboxes.create(&[]);
    let words = ["exec", &id, "sh", "-c", "yes | head -c 3000000; exit 6"];
    let mut command = sandboxes.sandbox(&words).into_command();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(6));
    sandboxes.stop();
}

#[test]
fn a_terminal_is_handed_on() {
    let home = Home::new();
    let sandboxes = Sandboxes::new(&home);
    let id = sandboxes.create(&[]);
    let script = "stty size; echo \"$TERM\"; trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.1; done";
    let exec = sandboxes.sandbox(&["exec", "--tty", &id, "sh", "-c", script]);
    let mut terminal = exec.on_terminal();
    terminal.wait("a command that waits", |shown| shown.contains("ready"));
    assert!(terminal.is_raw());
    terminal.press("\x03");
    let shown = terminal.finish();
    assert_eq!(shown.code, Some(9), "{}", shown.text);
    let lines: Vec<&str> = shown.text.lines().map(str::trim_end).collect();
    assert_eq!(
        lines[..3],
        ["30 120", "xterm-256color", "ready"],
        "{}",
        shown.text
    );
    assert!(shown.text.contains("caught"), "{}", shown.text);
    assert!(shown.is_as_before, "keys do something else now");
    sandboxes.stop();
}

#[test]
fn keys_reach_the_command_and_the_terminal_is_restored_on_any_way_out() {
    let home = Home::new();
    let sandboxes = Sandboxes::new(&home);
    let id = sandboxes.create(&[]);
    let tty = |script: &str| {
        let exec = sandboxes.sandbox(&["exec", "--tty", &id, "sh", "-c", script]);
        exec.on_terminal()
    };
    let mut terminal = tty("echo ready; read line; echo \"read $line\"");
    terminal.wait("a prompt", |shown| shown.contains("ready"));
    terminal.press("some words\r");
    let shown = terminal.finish();
    assert_eq!(shown.code, Some(0));
    assert!(shown.text.contains("read some words"), "{}", shown.text);
    assert!(shown.is_as_before);

    let mut terminal = tty("echo ready; sleep 1000");
    terminal.wait("a command that waits", |shown| shown.contains("ready"));
    terminal.signal(Signal::TERM);
    let shown = terminal.finish();
    assert_eq!(shown.code, Some(130), "{}", shown.text);
    assert!(shown.text.contains("detached; the command may still run"));
    assert!(shown.is_as_before && shown.at_line_start);

    let mut terminal = tty("echo ready; sleep 1000");
    terminal.wait("a command that waits", |shown| shown.contains("ready"));
    sandboxes.sandbox(&["destroy", &id]).run().expect(0);
    let shown = terminal.finish();
    assert!(shown.is_as_before, "{}", shown.text);
    sandboxes.stop();
}
