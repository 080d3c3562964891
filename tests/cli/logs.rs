//! `flavor logs`: what steps wrote, byte for byte.

use crate::harness::{Fifo, Home, Outcome, Stream, all, assert_told};

fn logs(home: &Home, words: &[&str]) -> Outcome {
    home.flavor([&["logs"], words].concat()).run().expect(0)
}

#[test]
fn one_step_comes_byte_for_byte() {
    let home = Home::new();
    // Every byte there is, long runs of the same, and no end of line.
    let bytes: Vec<u8> = (0..=255)
        .cycle()
        .take(100_000)
        .chain(*b"\xf0\x9f")
        .collect();
    home.write("bytes", &bytes);
    let pipeline = "
name: p
files: [bytes]
steps:
  out: {command: [cat, bytes]}
  err: {command: [sh, -c, 'cat bytes >&2']}
  none: {command: ['true']}
";
    home.run("r", pipeline).expect(0);
    assert!(logs(&home, &["r", "out"]).stdout == bytes);
    assert!(logs(&home, &["r", "err"]).stdout == bytes);
    assert!(logs(&home, &["r", "none"]).stdout.is_empty());
}

#[test]
fn a_run_has_every_line_with_its_step() {
    let home = Home::new();
    let pipeline = r#"
name: p
steps:
  a: {command: [printf, 'one\n\ntwo, no end']}
  b.2: {command: [sh, -c, 'printf "\377\n\303\244\r\n"'], after: [a]}
  c: {command: ['true'], after: [b.2]}
  d: {command: [printf, '\n'], after: [c]}
"#;
    let run = home.run("r", pipeline).expect(0);
    let expected = b"a | one\na | \na | two, no end\nb.2 | \xff\nb.2 | \xc3\xa4\r\nd | \n";
    assert_eq!(logs(&home, &["r"]).stdout, expected);
    // As it was while it ran, but for the order of steps.
    let (_, live) = run.stdout.split_at("r\n".len());
    let sorted = |bytes: &[u8]| {
        let mut lines: Vec<Vec<u8>> = bytes
            .split_inclusive(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(live), sorted(expected));
}

#[test]
fn a_run_that_goes_on_has_logs_already() {
    let home = Home::new();
    let mut gate = Fifo::new(&home, "gate");
    let script = format!("echo so far; read x <{}; echo the rest", gate.path());
    let pipeline = format!("name: p\nsteps: {{a: {{command: [sh, -c, '{script}']}}}}\n");
    let run = home.start("r", &pipeline);
    run.line(Stream::Stdout, "so far");
    assert_eq!(logs(&home, &["r", "a"]).stdout(), "so far\n");
    gate.release();
    run.finish().expect(0);
    assert_eq!(logs(&home, &["r", "a"]).stdout(), "so far\nthe rest\n");
}

#[test]
fn a_step_whose_name_begins_like_another_is_another() {
    let home = Home::new();
    let pipeline = "
name: p
steps:
  train: {command: [echo, of train]}
  train-2: {command: [echo, of train-2], after: [train]}
";
    home.run("r", pipeline).expect(0);
    assert_eq!(logs(&home, &["r", "train"]).stdout(), "of train\n");
    assert_eq!(logs(&home, &["r", "train-2"]).stdout(), "of train-2\n");
}

#[test]
fn what_is_above_the_cap_is_counted() {
    let home = Home::new();
    // More than the 64 MiB that are kept of a step.
    let total = 70_000_000;
    let pipeline = format!(
        "name: p\nsteps: {{a: {{command: [sh, -c, 'head -c {total} /dev/zero; echo end >&2']}}}}\n"
    );
    home.write("p.yaml", &pipeline);
    let run = home.flavor(["run", "p.yaml", "--run-id", "r"]);
    let mut run = run.into_command();
    run.stdout(std::process::Stdio::null());
    run.stderr(std::process::Stdio::null());
    assert!(run.status().unwrap().success());

    let logs = logs(&home, &["r", "a"]);
    let kept = logs.stdout.len();
    assert!(kept <= 64 * 1024 * 1024, "{kept}");
    let dropped: usize = logs
        .stderr()
        .lines()
        .map(|line| {
            let line = line.strip_prefix("a: ").unwrap();
            line.strip_suffix(" bytes were dropped").unwrap()
        })
        .map(|count| count.parse::<usize>().unwrap())
        .sum();
    assert_eq!(kept + dropped, total + "end\n".len());
}

#[test]
fn what_there_is_not_is_2() {
    let home = Home::new();
    let none = home.flavor(["logs", "r"]).run().expect(2);
    home.run("r", "name: p\nsteps: {train: {command: ['true']}}\n")
        .expect(0);
    let words: [&[&str]; 4] = [&["r", "tran"], &["s"], &["../r"], &["r", "../train"]];
    let told = words.map(|words| home.flavor([&["logs"], words].concat()).run().expect(2));
    assert_told!(all(&[&[none], &told[..]].concat()));
}
