//! `flavor stop`: from another process.

use crate::harness::{Fifo, Home, Server, Stream, all, assert_each_told, assert_told};

/// A step that runs until it is let go, and one below it.
fn pipeline(here: &Fifo, gate: &Fifo) -> String {
    format!(
        "
name: stoppable
steps:
  running: {{command: [sh, -c, 'echo here >{}; read x <{}; echo finished']}}
  below: {{command: ['true'], after: [running]}}
",
        here.path(),
        gate.path()
    )
}

#[test]
fn a_graceful_stop_lets_running_steps_finish() {
    let home = Home::new();
    let (mut here, mut gate) = (Fifo::new(&home, "here"), Fifo::new(&home, "gate"));
    let run = home.start("r", &pipeline(&here, &gate));
    here.line();
    let stop = home.flavor(["stop", "r", "--graceful"]).run().expect(0);
    assert_eq!(home.status("r"), "stopping");
    // The controller looks for stops now and then, and has seen this one.
    run.line(Stream::Stderr, "below skipped");
    gate.release();
    let run = run.finish().expect(130);
    let after = home.flavor(["status", "r"]).run().expect(0);
    assert_told!(all(&[stop, run, after]));
}

#[test]
fn a_forced_stop_ends_running_steps() {
    let stopped = [&[][..], &["--force"]].map(|option| {
        let home = Home::new();
        let (mut here, gate) = (Fifo::new(&home, "here"), Fifo::new(&home, "gate"));
        let run = home.start("r", &pipeline(&here, &gate));
        here.line();
        let stop = home
            .flavor([&["stop", "r"], option].concat())
            .run()
            .expect(0);
        // It returns when the run has ended.
        assert_eq!(stop.stdout(), "stopped\n");
        assert_eq!(home.status("r"), "stopped");
        let run = run.finish().expect(130);
        let after = home.flavor(["status", "r"]).run().expect(0);
        all(&[run, after])
    });
    assert_each_told!(stopped);
}

#[test]
fn a_graceful_stop_can_be_forced() {
    let home = Home::new();
    let (mut here, gate) = (Fifo::new(&home, "here"), Fifo::new(&home, "gate"));
    let run = home.start("r", &pipeline(&here, &gate));
    here.line();
    home.flavor(["stop", "r", "--graceful"]).run().expect(0);
    assert_eq!(home.status("r"), "stopping");
    let stop = home.flavor(["stop", "r", "--force"]).run().expect(0);
    assert_eq!(stop.stdout(), "stopped\n");
    run.finish().expect(130);
}

#[test]
fn a_run_on_a_server_is_stopped_there() {
    let home = Home::new();
    let server = Server::start(&home);
    let (mut here, gate) = (Fifo::new(&home, "here"), Fifo::new(&home, "gate"));
    home.write("p.yaml", pipeline(&here, &gate));
    let arguments = ["run", "p.yaml", "--run-id", "r", "--on", server.url()];
    let run = home.flavor(arguments).with_token().start();
    here.line();
    let controllers = home.processes().len();
    let stop = home.flavor(["stop", "r"]).run().expect(0);
    assert_eq!(stop.stdout(), "stopped\n");
    run.finish().expect(130);
    // The sandbox is gone, the server is not.
    assert_eq!((controllers, home.processes().len()), (3, 1));
    server.stop().expect(0);
}

#[test]
fn what_cannot_be_stopped() {
    let home = Home::new();
    home.run("done", "name: p\nsteps: {a: {command: ['true']}}\n")
        .expect(0);
    home.run("failed", "name: p\nsteps: {a: {command: ['false']}}\n")
        .expect(1);
    assert_told!(all(&[
        home.flavor(["stop", "done"]).run().expect(0),
        home.flavor(["stop", "failed", "--graceful"])
            .run()
            .expect(0),
        home.flavor(["stop", "unknown"]).run().expect(2),
        home.flavor(["stop", "../done"]).run().expect(2),
    ]));
    assert_eq!(home.status("done"), "completed");
    assert_eq!(home.status("failed"), "failed");
}
