//! What is shown on a terminal, and that nothing is drawn elsewhere.

use std::fs;

use rustix::process::Signal;

use crate::harness::{Fifo, Home, Shown, assert_told};

/// Two steps, one of which waits to be let go.
fn pipeline(gate: &Fifo) -> String {
    format!(
        "
name: shown
steps:
  prepare: {{command: ['true']}}
  train: {{command: [sh, -c, 'echo epoch 1; read x <{}; echo epoch 2'], after: [prepare]}}
  report: {{command: ['true'], after: [train]}}
",
        gate.path()
    )
}

const RUN: [&str; 4] = ["run", "p.yaml", "--run-id", "r"];

fn has_escapes(bytes: &[u8]) -> bool {
    bytes.contains(&0x1b)
}

/// The lines on a terminal, which all are to stay: messages, and then what steps
/// wrote, which comes whenever it comes.
fn told(shown: &Shown) -> String {
    assert!(shown.cursor, "the cursor is hidden");
    assert!(shown.at_line_start, "the next prompt would not stand alone");
    let lines = shown.text.lines().map(str::trim_end);
    let (data, messages): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.contains(" | "));
    [messages, data].concat().join("\n")
}

#[test]
fn a_live_view_comes_and_goes() {
    let home = Home::new();
    let mut gate = Fifo::new(&home, "gate");
    home.write("p.yaml", pipeline(&gate));
    let mut terminal = home.flavor(RUN).on_terminal();
    let during = terminal.wait("a step that runs, and a count", |shown| {
        shown.contains("epoch 1") && shown.contains("1/3 1 running")
    });
    // Below what stays: the running step, and the run.
    let last: Vec<&str> = during.lines().rev().take(2).collect();
    assert!(last[0].contains("1/3 1 running"), "{during}");
    assert!(last[1].contains("train"), "{during}");
    gate.release();
    let shown = terminal.finish();
    assert_eq!(shown.code, Some(0));
    assert_told!(told(&shown));
}

#[test]
fn a_failure_and_a_stop_leave_plain_lines_too() {
    let home = Home::new();
    home.write(
        "p.yaml",
        "name: p\nsteps: {a: {command: ['false']}, b: {command: ['true'], after: [a]}}\n",
    );
    let failed = home
        .flavor(["run", "p.yaml", "--run-id", "f"])
        .on_terminal()
        .finish();
    assert_eq!(failed.code, Some(1));
    let gate = Fifo::new(&home, "gate");
    home.write("p.yaml", pipeline(&gate));
    let mut terminal = home.flavor(RUN).on_terminal();
    terminal.wait("a step that runs", |shown| shown.contains("epoch 1"));
    terminal.signal(Signal::INT);
    let stopped = terminal.finish();
    assert_eq!(stopped.code, Some(130));
    assert_told!(format!("{}\n\n{}", told(&failed), told(&stopped)));
}

#[test]
fn a_run_that_cannot_start_leaves_plain_lines() {
    let home = Home::new();
    home.write("p.yaml", "name: p\nsteps: {a: {command: ['true']}}\n");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let words = ["run", "p.yaml", "--run-id", "r", "--on", &url];
    let mut terminal = home.flavor(words).with_token().on_terminal();
    terminal.wait("a count", |shown| shown.contains("0/1"));
    terminal.signal(Signal::INT);
    let shown = terminal.finish();
    assert_eq!(shown.code, Some(130));
    assert_told!(told(&shown));
}

#[test]
fn what_a_step_writes_cannot_move_the_cursor() {
    let home = Home::new();
    let pipeline = r#"
name: p
steps:
  a:
    command:
      - printf
      - 'clear \033[2J\033[H, title \033]0;x\007, up \033[5A\n\033[31mred\033[0m\nback\rover\n\b\n\302\233 31m\n'
"#;
    home.write("p.yaml", pipeline);
    let shown = home.flavor(RUN).on_terminal().finish();
    assert_eq!(shown.code, Some(0));
    assert_told!(told(&shown));
    let written = String::from_utf8_lossy(&shown.written);
    assert!(
        written.contains("\u{1b}[31mred\u{1b}[0m"),
        "colours are kept"
    );

    // A terminal that shows data, though not messages.
    let words = ["run", "p.yaml", "--run-id", "s"];
    let shown = home
        .flavor(words)
        .stderr_to("messages")
        .on_terminal()
        .finish();
    assert_told!(told(&shown));
    let messages = fs::read(home.work().join("messages")).unwrap();
    assert!(
        !has_escapes(&messages),
        "{}",
        String::from_utf8_lossy(&messages)
    );
}

#[test]
fn data_that_go_elsewhere_are_left_as_they_are() {
    let home = Home::new();
    home.write(
        "p.yaml",
        "name: p\nsteps: {a: {command: [printf, '\\033[2J\\rx\\n']}}\n",
    );
    let shown = home.flavor(RUN).stdout_to("data").on_terminal().finish();
    assert_eq!(shown.code, Some(0));
    assert_told!(told(&shown));
    let data = fs::read(home.work().join("data")).unwrap();
    assert_eq!(data, b"r\na | \x1b[2J\rx\n");
}

#[test]
fn nothing_is_drawn_where_nobody_looks() {
    let home = Home::new();
    let mut gate = Fifo::new(&home, "gate");
    let run = home.start("r", &pipeline(&gate));
    gate.release();
    let mut outcomes = vec![run.finish().expect(0)];
    let commands: [&[&str]; 8] = [
        &["status", "r"],
        &["runs", "list"],
        &["logs", "r"],
        &["flavors"],
        &["doctor"],
        &["validate", "p.yaml"],
        &["run", "--help"],
        &["--help"],
    ];
    outcomes.extend(commands.map(|words| home.flavor(words).run().expect(0)));
    outcomes.push(home.flavor(["run", "missing.yaml"]).run().expect(2));
    outcomes.push(home.flavor(["rum"]).run().expect(2));
    for outcome in outcomes {
        let bytes = [&outcome.stdout[..], &outcome.stderr].concat();
        assert!(!has_escapes(&bytes), "{outcome}");
    }
}

#[test]
fn nothing_is_drawn_on_a_terminal_that_cannot() {
    let home = Home::new();
    let mut gate = Fifo::new(&home, "gate");
    home.write("p.yaml", pipeline(&gate));
    for (id, dumb) in [("r", true), ("s", false)] {
        let run = home.flavor(["run", "p.yaml", "--run-id", id]);
        let run = if dumb { run.env("TERM", "dumb") } else { run };
        let terminal = run.on_nameless_terminal();
        gate.release();
        let shown = terminal.finish();
        assert_eq!(shown.code, Some(0));
        assert!(!has_escapes(&shown.written), "{}", shown.text);
        assert!(shown.text.contains("run r completed") || id == "s");
    }
}

#[test]
fn colours_can_be_switched_off() {
    let home = Home::new();
    home.write("p.yaml", "name: p\nsteps: {a: {command: ['true']}}\n");
    let colours = |shown: Shown| {
        let written = String::from_utf8_lossy(&shown.written).into_owned();
        written.contains("\u{1b}[33m")
    };
    assert!(colours(home.flavor(RUN).on_terminal().finish()));
    let run = home.flavor(["run", "p.yaml"]).env("NO_COLOR", "1");
    assert!(!colours(run.on_terminal().finish()));
}

#[test]
fn a_run_outlives_its_terminal() {
    let home = Home::new();
    let mut gate = Fifo::new(&home, "gate");
    home.write("p.yaml", pipeline(&gate));
    let mut terminal = home.flavor(RUN).on_terminal();
    terminal.wait("a step that runs", |shown| shown.contains("epoch 1"));
    let run = terminal.close();
    gate.release();
    assert_eq!(run.wait(), Some(0));
    assert_eq!(home.status("r"), "completed");
}

#[test]
fn more_steps_than_the_terminal_has_lines() {
    let home = Home::new();
    let mut gate = Fifo::new(&home, "gate");
    let steps: String = (0..50)
        .map(|number| {
            format!(
                "  step-{number:02}: {{command: [sh, -c, 'read x <{}']}}\n",
                gate.path()
            )
        })
        .collect();
    home.write("p.yaml", format!("name: wide\nsteps:\n{steps}"));
    let mut terminal = home.flavor(RUN).on_terminal();
    terminal.wait("all steps", |shown| shown.contains("0/50 50 running"));
    for _ in 0..50 {
        gate.release();
    }
    let shown = terminal.finish();
    assert_eq!(shown.code, Some(0));
    let mut lines: Vec<&str> = shown.text.lines().map(str::trim_end).collect();
    let finished = lines
        .iter()
        .filter(|line| line.starts_with("✓ step-"))
        .count();
    assert_eq!(finished, 50, "{}", shown.text);
    lines.retain(|line| !line.starts_with("✓ step-"));
    assert_told!(lines.join("\n"));
}
