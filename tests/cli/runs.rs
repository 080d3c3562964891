//! `flavor runs list` and `flavor status`.

use crate::harness::{Fifo, Home, all, assert_told};

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
