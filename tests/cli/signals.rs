//! SIGINT and SIGTERM: a run that is interrupted ends, and all of it.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::harness::{
    Fifo, Home, Outcome, Running, Server, Stream, all, assert_each_told, assert_told,
};

/// The promises are 10 s and 2 s. On top of them comes what a busy machine takes
/// to start and to end processes.
const FIRST: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(2);
const BUSY: Duration = Duration::from_secs(5);

/// A pipeline of which two steps run for ever, each with a child, and one with a
/// daemon besides; `trap` is what they do about SIGTERM.
fn endless(here: &Fifo, trap: &str) -> String {
    format!(
        "
name: endless
environment: {{HERE: '{}'}}
steps:
  one: {{command: [sh, -c, '{trap}; sleep 1000 & echo one >$HERE; while :; do wait; done']}}
  two: {{command: [sh, -c, '{trap}; setsid sleep 1000 & sleep 1000 & echo two >$HERE; while :; do wait; done']}}
  below: {{command: ['true'], after: [one]}}
",
        here.path()
    )
}

/// Starts it, and waits until both steps run.
fn start(home: &Home, here: &mut Fifo, trap: &str, more: &[&str]) -> Running {
    home.write("p.yaml", endless(here, trap));
    let arguments = [&["run", "p.yaml", "--run-id", "r"], more].concat();
    let run = home.flavor(arguments).with_token().start();
    here.line();
    here.line();
    run
}

#[test]
fn an_interrupt_stops_a_run_and_all_of_its_processes() {
    let stopped = [Signal::INT, Signal::TERM].map(|signal| {
        let home = Home::new();
        let mut here = Fifo::new(&home, "here");
        let run = start(&home, &mut here, "trap : HUP", &[]);
        let others = home.processes().len() - 1;
        assert!(others >= 5, "{:?}", home.processes());
        let interrupted = Instant::now();
        run.signal(signal);
        let run = run.finish().expect(130);
        assert!(interrupted.elapsed() < FIRST + BUSY, "{run}");
        home.assert_clean();
        let status = home.flavor(["status", "r"]).run().expect(0);
        all(&[run.sorted(), status])
    });
    assert_each_told!(stopped);
}

#[test]
fn steps_that_ignore_it_are_ended_too() {
    let home = Home::new();
    let mut here = Fifo::new(&home, "here");
    let run = start(&home, &mut here, "trap \"\" TERM", &[]);
    let interrupted = Instant::now();
    run.signal(Signal::INT);
    let run = run.finish().expect(130);
    assert!(interrupted.elapsed() < FIRST + BUSY, "{run}");
    home.assert_clean();
    assert_eq!(home.status("r"), "stopped");
}

#[test]
fn the_last_object_says_stopped() {
    let home = Home::new();
    let mut here = Fifo::new(&home, "here");
    let run = start(&home, &mut here, "trap : HUP", &["--json"]);
    run.signal(Signal::INT);
    let run = run.finish().expect(130);
    let last = run.objects().pop().unwrap();
    let steps = serde_json::json!({"one": "cancelled", "two": "cancelled", "below": "skipped"});
    assert_eq!(last["event"], "run-finished");
    assert_eq!(
        (&last["status"], &last["steps"]),
        (&"stopped".into(), &steps)
    );
}

#[test]
fn a_second_interrupt_ends_a_run_at_once() {
    let home = Home::new();
    let mut here = Fifo::new(&home, "here");
    let run = start(&home, &mut here, "trap \"\" TERM", &[]);
    run.signal(Signal::INT);
    run.line(Stream::Stderr, "stopping");
    let interrupted = Instant::now();
    run.signal(Signal::INT);
    let run = run.finish().expect(130);
    assert!(interrupted.elapsed() < SECOND + BUSY, "{run}");
    home.assert_clean();
    assert_eq!(home.status("r"), "stopped");
}

/// Runs `endless` on a server that stops answering, and interrupts it so often.
/// How long it went on after the last time.
fn interrupt_on_frozen_server(times: usize) -> (Duration, Outcome) {
    let home = Home::new();
    let elsewhere = Home::new();
    let server = Server::start(&elsewhere);
    let mut here = Fifo::new(&home, "here");
    let run = start(&home, &mut here, "trap : HUP", &["--on", server.url()]);
    server.running().signal(Signal::STOP);
    let mut interrupted = Instant::now();
    for time in 0..times {
        interrupted = Instant::now();
        run.signal(Signal::INT);
        if time == 0 {
            run.line(Stream::Stderr, "stopping");
        }
    }
    let run = run.finish().expect(130);
    let took = interrupted.elapsed();
    let status = home.flavor(["status", "r", "--json"]).run().expect(0);
    let status = status.objects().pop().unwrap();
    assert_eq!(status["status"], "stopped");
    for (step, word) in [
        ("one", "cancelled"),
        ("two", "cancelled"),
        ("below", "skipped"),
    ] {
        assert_eq!(status["steps"][step]["status"], word, "{status}");
    }
    server.running().signal(Signal::CONT);
    // Nobody told it to end them, so it does when it ends itself.
    server.stop().expect(0);
    (took, run)
}

#[test]
fn an_interrupt_does_not_wait_for_a_server_that_is_silent() {
    let (took, run) = interrupt_on_frozen_server(1);
    assert!(took < FIRST + BUSY, "{took:?}: {run}");
    // Whoever pays for it has to hear of it.
    assert!(
        run.stderr()
            .contains("could not be ended and may still run"),
        "{run}"
    );
}

#[test]
fn a_second_interrupt_does_not_wait_for_a_server_that_is_silent() {
    let (took, run) = interrupt_on_frozen_server(2);
    assert!(took < SECOND + BUSY, "{took:?}: {run}");
    assert!(
        run.stderr()
            .contains("before its sandboxes were known to have ended"),
        "{run}"
    );
}

#[test]
fn a_run_that_has_not_begun_can_be_interrupted() {
    let home = Home::new();
    home.write("p.yaml", "name: p\nsteps: {a: {command: ['true']}}\n");
    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let run = |more: &[&str]| {
        let words = [&["run", "p.yaml", "--on", &url], more].concat();
        let run = home.flavor(words).with_token().start();
        run.line(Stream::Stdout, "");
        let (_connection, _) = silent.accept().unwrap();
        run.signal(Signal::INT);
        run.finish().expect(130)
    };
    let plain = run(&["--run-id", "r"]);
    let json = run(&["--run-id", "s", "--json"]);
    assert!(plain.took < FIRST + BUSY, "{plain}");
    let status = home.flavor(["status", "r"]).run().expect(0);
    assert_told!(all(&[plain, json, status]));
}
