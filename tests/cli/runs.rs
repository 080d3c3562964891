//! `flavor runs list` and `flavor status`.

use rustix::process::Signal;

use crate::harness::{Fifo, Home, all, assert_told, names};

#[test]
fn runs_are_listed_newest_first() {
    let home = Home::new();
    let none = home.flavor(["runs", "list"]).run().expect(0);
    home.run("first", "name: one\nsteps: {a: {command: ['true']}}\n")
        .expect(0);
    home.run(
        "second-of-all",
        "name: another one\nsteps: {a: {command: ['false']}}\n",
    )
    .expect(1);
    let (mut here, mut gate) = (Fifo::new(&home, "here"), Fifo::new(&home, "gate"));
    let script = format!("echo here >{}; read x <{}", here.path(), gate.path());
    let run = home.start("3", &format!("name: p\nsteps: {{a: {{command: [sh, -c, '{script}']}}, b: {{command: ['true'], after: [a]}}}}\n"));
    here.line();
    home.wait_until_running("3", "a");
    let list = home.flavor(["runs", "list"]).run().expect(0);
    let status = home.flavor(["status", "3"]).run().expect(0);
    gate.release();
    run.finish().expect(0);
    assert_told!(all(&[none, list, status]));
}

#[test]
fn many_can_make_a_state_directory_at_once() {
    let home = Home::new();
    let lists = [(); 12].map(|()| home.flavor(["runs", "list"]).start());
    for list in lists {
        list.finish().expect(0);
    }
}

#[test]
fn a_run_that_there_is_not_is_2() {
    let home = Home::new();
    let ids = ["r", "../runs", "", "a/b"];
    assert_told!(all(
        &ids.map(|id| home.flavor(["status", id]).run().expect(2))
    ));
    let object = home.flavor(["status", "r", "--json"]).run().expect(2);
    assert_eq!(object.stdout(), "");
}

#[test]
fn what_has_ended_is_forgotten_by_rule() {
    let home = Home::new();
    let good = "name: p\nsteps: {a: {command: [echo, hello]}}\n";
    for id in ["1", "2", "3"] {
        home.run(id, good).expect(0);
    }
    let mut here = Fifo::new(&home, "here");
    let script = format!("echo here >{}; exec sleep 1000", here.path());
    let living = home.start(
        "living",
        &format!("name: p\nsteps: {{a: {{command: [sh, -c, '{script}']}}}}\n"),
    );
    here.line();
    let prune = |words: &[&str]| {
        let words = [&["runs", "prune"], words].concat();
        home.flavor(words).run()
    };
    let told = [
        prune(&[]).expect(2),
        prune(&["--older-than", "1"]).expect(0),
        prune(&["--older-than", "0", "--keep", "2", "--dry-run"]).expect(0),
        prune(&["--keep", "1"]).expect(0),
        prune(&["--older-than", "0", "--json"]).expect(0),
        prune(&["--keep", "0"]).expect(0),
        home.flavor(["status", "1"]).run().expect(2),
    ];
    assert_eq!(names(&home.state().join("runs")), ["living"]);
    living.signal(Signal::KILL);
    living.finish();
    home.flavor(["reap", "--on", "local"]).run().expect(0);
    prune(&["--keep", "0"]).expect(0);
    assert_eq!(home.status("living"), "interrupted");
    let interrupted = prune(&["--keep", "0", "--interrupted"]).expect(0);
    assert_eq!(interrupted.stdout(), "living\n");
    assert_eq!(names(&home.state().join("runs")), [""; 0]);
    // The id is free again.
    home.run("1", good).expect(0);
    assert_told!(all(&told));
}
