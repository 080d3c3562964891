//! `flavor step`: single steps that outlive the commands that look after them.

use std::fs;

use rustix::process::Signal;

use crate::harness::{Fifo, Flavor, Home, Outcome, Server, Stream, all, assert_told};

/// `flavor step` on a server.
struct Steps<'h> {
    home: &'h Home,
    server: Server,
}

impl<'h> Steps<'h> {
    fn new(home: &'h Home) -> Self {
        let server = Server::start(home);
        Self { home, server }
    }

    fn step(&self, words: &[&str]) -> Flavor<'h> {
        let (verb, rest) = words.split_first().unwrap();
        let words = [&["step", verb, "--on", self.server.url()], rest].concat();
        self.home.flavor(words).with_token()
    }

    /// Starts a step of a shell's script, and notes what finds it again in `step.json`.
    fn submit(&self, script: &str) -> Outcome {
        let submitted = self.step(&["submit", "--run-id", "r", "sh", "-c", script]);
        let submitted = submitted.run().expect(0);
        self.home.write("step.json", &submitted.stdout);
        submitted
    }
}

#[test]
fn a_step_is_found_again_by_file_by_input_and_by_its_sandbox() {
    let home = Home::new();
    let steps = Steps::new(&home);
    let gate = Fifo::new(&home, "gate");
    let submitted = steps.submit(&format!("read x <{}; exit 0", gate.path()));
    let metadata = submitted.objects().remove(0);
    let sandbox = metadata["sandbox_id"].as_str().unwrap().to_owned();
    let by_file = steps.step(&["status", "step.json"]).run().expect(0);
    let by_input = steps
        .step(&["status", "-"])
        .with_input(&submitted.stdout[..]);
    let by_input = by_input.run().expect(0);
    let by_id = steps.step(&["status", &sandbox, "--json"]).run().expect(0);
    let waiting = steps.step(&["wait", "step.json"]).start();
    let mut gate = gate;
    gate.release();
    let waited = waiting.finish().expect(0);
    let after = steps.step(&["status", "step.json"]).run().expect(0);
    let again = steps.step(&["wait", &sandbox, "--json"]).run().expect(0);
    steps.server.stop().expect(0);
    assert_told!(all(&[
        submitted, by_file, by_input, by_id, waited, after, again
    ]));
    assert_eq!(fs::read_dir(home.root().join("state")).unwrap().count(), 0);
}

#[test]
fn a_step_that_fails_is_1() {
    let home = Home::new();
    let steps = Steps::new(&home);
    steps.submit("echo out; exit 3");
    let waited = steps.step(&["wait", "step.json"]).run().expect(1);
    let status = steps.step(&["status", "step.json"]).run().expect(0);
    steps.server.stop().expect(0);
    assert_told!(all(&[waited, status]));
}

#[test]
fn a_step_can_be_ended() {
    let home = Home::new();
    let steps = Steps::new(&home);
    let mut here = Fifo::new(&home, "here");
    steps.submit(&format!("echo >{}; sleep 1000", here.path()));
    here.line();
    let cancelled = steps.step(&["cancel", "step.json"]).run().expect(0);
    let waited = steps.step(&["wait", "step.json"]).run().expect(1);
    let again = steps.step(&["cancel", "step.json"]).run().expect(0);
    steps.server.stop().expect(0);
    assert_told!(all(&[cancelled, waited, again]));
}

#[test]
fn an_interrupt_leaves_the_step_alone() {
    let home = Home::new();
    let steps = Steps::new(&home);
    let mut here = Fifo::new(&home, "here");
    let mut gate = Fifo::new(&home, "gate");
    steps.submit(&format!("echo >{}; read x <{}", here.path(), gate.path()));
    here.line();
    let waiting = steps
        .step(&["wait", "step.json"])
        .env("FLAVOR_LOG", "debug");
    let waiting = waiting.start();
    // It is listening for interrupts by then.
    waiting.line(Stream::Stderr, "send frame");
    waiting.signal(Signal::INT);
    let interrupted = waiting.finish().expect(130);
    assert!(
        interrupted
            .stderr()
            .ends_with("error: interrupted; the step goes on\n")
    );
    gate.release();
    steps.step(&["wait", "step.json"]).run().expect(0);
    steps.server.stop().expect(0);
}

#[test]
fn a_step_gets_what_it_is_given() {
    let home = Home::new();
    let steps = Steps::new(&home);
    home.write("settings.yaml", "timeout: 600\nregion: us-east-1\n");
    let file = home.work().join("out");
    let script = format!("echo \"$A|$B|$0\" >{}", file.display());
    let words = [
        "submit",
        "--env",
        "A=1",
        "--env",
        "B=x=y",
        "--env",
        "A=2",
        "--settings",
        "settings.yaml",
        "--timeout",
        "60",
        "--cpu",
        "0.5",
        "--memory",
        "1GB",
        "--name",
        "train",
        "--",
        "sh",
        "-c",
        &script,
        "--flag",
    ];
    let submitted = steps.step(&words).run().expect(0);
    home.write("step.json", &submitted.stdout);
    steps.step(&["wait", "step.json"]).run().expect(0);
    steps.server.stop().expect(0);
    assert_eq!(fs::read_to_string(file).unwrap(), "2|x=y|--flag\n");
}

#[test]
fn what_makes_no_sense_is_2() {
    let home = Home::new();
    let steps = Steps::new(&home);
    home.write("list.json", "[]");
    home.write("empty.json", "{}");
    home.write("settings.yaml", "gpus: 1\n");
    let told: Vec<Outcome> = [
        &["status", "missing.json"][..],
        &["status", "list.json"],
        &["status", "empty.json"],
        &["submit", "--name", "a/b", "true"],
        &["submit", "--run-id", "-", "true"],
        &["submit", "--settings", "missing.yaml", "true"],
        &["submit", "--timeout", "0", "true"],
        &["submit", "--gpu", "A100:2", "--gpu-count", "3", "true"],
        &["submit", "--memory", "much", "true"],
    ]
    .iter()
    .map(|words| steps.step(words).run().expect(2))
    .collect();
    let local = home.flavor(["step", "submit", "true"]).run().expect(2);
    steps.server.stop().expect(0);
    assert_told!(format!("{}\n\n{local}", all(&told)));
}

#[test]
fn what_the_service_refuses_is_4() {
    let home = Home::new();
    let steps = Steps::new(&home);
    let wrong = steps
        .step(&["submit", "true"])
        .env("MODAL_TOKEN_SECRET", "as-wrong");
    let wrong = wrong.run().expect(4);
    let unknown = steps.step(&["cancel", "sb-00000000000000000000000000"]);
    let unknown = unknown.run();
    let none = steps
        .step(&["submit", "true"])
        .without("MODAL_TOKEN_ID")
        .run()
        .expect(4);
    steps.server.stop().expect(0);
    assert_told!(all(&[wrong, unknown, none]));
    let words = ["step", "submit", "--on", "http://127.0.0.2:9", "true"];
    let unreachable = home.flavor(words).with_token().run().expect(4);
    assert!(
        unreachable
            .stderr()
            .contains("http://127.0.0.2:9 cannot be reached")
    );
}
