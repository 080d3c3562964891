//! Controllers and servers that are killed.

use rustix::process::Signal;

use crate::harness::{Fifo, Home, Process, Server, Stream, all, assert_told};

const GOOD: &str = "name: good\nsteps: {a: {command: ['true']}}\n";

/// Kills the controller of run `r` while a step of it runs, of which two
/// processes are left. One of them ignores SIGTERM.
fn crash(home: &Home) -> Vec<Process> {
    let others = home.processes();
    let mut here = Fifo::new(home, "here");
    let pipeline = format!(
        "
name: crashing
steps:
  before: {{command: [echo, kept]}}
  running:
    command: [sh, -c, 'trap \"\" TERM; setsid sleep 1000 & echo here >{}; while :; do wait; done']
    after: [before]
  below: {{command: ['true'], after: [running]}}
",
        here.path()
    );
    let run = home.start("r", &pipeline);
    here.line();
    run.line(Stream::Stdout, "before | kept");
    home.wait_until_running("r", "running");
    run.signal(Signal::KILL);
    run.finish();
    let mut left = home.processes();
    left.retain(|process| !others.contains(process));
    assert_eq!(left.len(), 2, "{left:?}");
    left
}

#[test]
fn a_run_whose_controller_is_gone_is_interrupted() {
    let home = Home::new();
    let left = crash(&home);
    let commands: [&[&str]; 5] = [
        &["status", "r"],
        &["runs", "list"],
        &["runs", "list", "--json"],
        &["logs", "r"],
        &["validate", "p.yaml"],
    ];
    let told = commands.map(|words| home.flavor(words).run().expect(0));
    let stop = home.flavor(["stop", "r"]).run().expect(1);
    let again = home
        .flavor(["run", "p.yaml", "--run-id", "r"])
        .run()
        .expect(2);
    assert_told!(all(&[&told[..], &[stop, again]].concat()));
    let status = home.flavor(["status", "r", "--json"]).run().expect(0);
    assert_eq!(status.objects()[0]["status"], "interrupted");
    // Those who look at once do not take each other for a controller.
    let looks = [(); 6].map(|()| home.flavor(["status", "r"]).start());
    for look in looks {
        let look = look.finish().expect(0);
        assert!(look.stdout().starts_with("interrupted\n"), "{look}");
    }
    // Looking at it changes nothing.
    assert!(left.iter().all(Process::is_running));

    home.run("next", GOOD).expect(0);
    assert!(left.iter().all(Process::is_gone));
    home.assert_clean();
    assert_eq!(home.status("r"), "interrupted");
}

#[test]
fn a_living_run_is_left_alone_by_the_next() {
    let home = Home::new();
    let (mut here, mut gate) = (Fifo::new(&home, "here-2"), Fifo::new(&home, "gate"));
    let script = format!("echo here >{}; read x <{}", here.path(), gate.path());
    let pipeline = format!("name: p\nsteps: {{a: {{command: [sh, -c, '{script}']}}}}\n");
    let living = home.start("living", &pipeline);
    here.line();
    let left = crash(&home);
    home.run("next", GOOD).expect(0);
    assert!(left.iter().all(Process::is_gone));
    gate.release();
    living.finish().expect(0);
}

#[test]
fn what_a_killed_server_left_is_ended_by_the_next() {
    let home = Home::new();
    let directory = home.root().join("server");
    let mut here = Fifo::new(&home, "here");
    let script = format!(
        "trap \"\" TERM; setsid sleep 1000 & echo here >{}; while :; do wait; done",
        here.path()
    );
    home.write(
        "p.yaml",
        format!("name: p\nsteps: {{a: {{command: [sh, -c, '{script}']}}}}\n"),
    );
    let server = Server::in_directory(&home, &directory);
    let arguments = ["run", "p.yaml", "--run-id", "r", "--on", server.url()];
    let run = home.flavor(arguments).with_token().start();
    here.line();
    // Its sandboxes outlive the server, and the run waits for it to come back.
    server.kill();
    run.signal(Signal::KILL);
    run.finish();
    let left = home.processes();
    assert_eq!(left.len(), 2, "{left:?}");

    let server = Server::in_directory(&home, &directory);
    // Before it listens.
    assert!(left.iter().all(|process| !process.is_running()));
    server.stop().expect(0);
}

#[test]
fn a_directory_has_one_server() {
    let home = Home::new();
    let directory = home.root().join("server");
    let server = Server::in_directory(&home, &directory);
    let words = ["modal-local", "--state", directory.to_str().unwrap()];
    let second = home.flavor(words).run().expect(1);
    assert_told!(second);
    server.stop().expect(0);
    Server::in_directory(&home, &directory).stop().expect(0);
}
