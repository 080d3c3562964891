//! The ids of runs.

use std::fs;

use crate::harness::{Fifo, Home, all, assert_told, names};

const PIPELINE: &str = "name: p\nsteps: {a: {command: [echo, hello]}}\n";

#[test]
fn an_id_is_made_up_and_told_first() {
    let home = Home::new();
    home.write("p.yaml", PIPELINE);
    let ids = [(); 2].map(|()| {
        let run = home.flavor(["run", "p.yaml"]).run().expect(0);
        let id = run.stdout().lines().next().unwrap().to_owned();
        assert_eq!(run.stdout(), format!("{id}\na | hello\n"));
        assert_eq!(home.status(&id), "completed");
        id
    });
    assert_ne!(ids[0], ids[1]);
    assert!(ids.iter().all(|id| id.len() == 36), "{ids:?}");
}

#[test]
fn the_id_is_told_before_anything_has_ended() {
    let home = Home::new();
    let mut gate = Fifo::new(&home, "gate");
    let pipeline = format!(
        "name: p\nsteps: {{a: {{command: [sh, -c, 'read x <{}']}}}}\n",
        gate.path()
    );
    let run = home.start("early", &pipeline);
    run.line(crate::harness::Stream::Stdout, "early");
    gate.release();
    run.finish().expect(0);
}

#[test]
fn an_id_is_used_once() {
    let home = Home::new();
    home.run("nightly-7", PIPELINE).expect(0);
    let before = home.flavor(["status", "nightly-7", "--json"]).run();
    assert_told!(home.run("nightly-7", PIPELINE).expect(2));
    let after = home.flavor(["status", "nightly-7", "--json"]).run();
    assert_eq!(before.stdout(), after.stdout());
}

#[test]
fn an_id_that_runs_is_taken() {
    let home = Home::new();
    let mut gate = Fifo::new(&home, "gate");
    let mut here = Fifo::new(&home, "here");
    let pipeline = format!(
        "name: p\nsteps: {{a: {{command: [sh, -c, 'echo a >{}; read x <{}']}}}}\n",
        here.path(),
        gate.path()
    );
    let run = home.start("r", &pipeline);
    here.line();
    assert_told!(home.run("r", &pipeline).expect(2));
    gate.release();
    run.finish().expect(0);
}

#[test]
fn of_several_that_want_an_id_at_once_one_gets_it() {
    let home = Home::new();
    home.write(
        "p.yaml",
        "name: p\nrun_dir: true\nsteps: {a: {command: [sh, -c, 'echo a >>$FLAVOR_RUN_DIR/ran']}}\n",
    );
    for id in ["a", "b", "c"] {
        let start = || home.flavor(["run", "p.yaml", "--run-id", id]).start();
        let mut codes = [start(), start(), start()].map(|run| run.finish().status.code());
        codes.sort();
        assert_eq!(codes, [Some(0), Some(2), Some(2)]);
        let ran = fs::read_to_string(home.shared(id).join("ran")).unwrap();
        assert_eq!(ran, "a\n");
    }
}

#[test]
fn an_id_can_be_anything_that_is_no_path() {
    let home = Home::new();
    let longest = "x".repeat(58);
    for id in ["_", "0", "a.b-c_D", "a..", &longest] {
        home.run(id, PIPELINE).expect(0);
        assert_eq!(home.status(id), "completed");
    }
    home.assert_clean();

    let home = Home::new();
    home.write("p.yaml", PIPELINE);
    let too_long = "x".repeat(59);
    let told = [
        "", ".", "..", ".a", "-a", "a/b", "../a", "/a", "a b", "a\nb", "ж", &too_long,
    ]
    .map(|id| {
        let option = format!("--run-id={id}");
        home.flavor(["run", "p.yaml", &option]).run().expect(2)
    });
    assert_told!(all(&told));
    home.assert_untouched();
}

#[test]
fn a_run_that_was_never_recorded_can_be_started() {
    let home = Home::new();
    // What a process leaves that dies between the two.
    fs::create_dir_all(home.run_dir("r")).unwrap();
    fs::write(home.run_dir("r").join("lock"), "").unwrap();
    let status = home.flavor(["status", "r"]).run().expect(2);
    assert!(status.stderr().contains("no run `r`"), "{status}");
    home.run("r", PIPELINE).expect(0);
    assert_eq!(names(&home.run_dir("r")), ["lock", "outputs"]);
}
