//! A run store that is damaged, newer, full, or cannot be written to.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
};

use crate::harness::{Fifo, Home, Outcome, Process, Server, all, assert_told, names};

const GOOD: &str = "name: good\nsteps: {a: {command: ['true']}}\n";

/// Where SQLite keeps the version of a schema in its file.
const VERSION_AT: u64 = 60;

/// Every command that opens the store, none of which does anything.
fn refused(home: &Home) -> Vec<Outcome> {
    let commands: [&[&str]; 7] = [
        &["runs", "list"],
        &["status", "r"],
        &["resume", "r"],
        &["stop", "r"],
        &["runs", "prune", "--keep", "0"],
        &["reap"],
        &["run", "p.yaml", "--run-id", "next"],
    ];
    home.write("p.yaml", GOOD);
    let run = |words: &[&str]| home.flavor(words).run().expect(1);
    commands.iter().map(|words| run(words)).collect()
}

fn change(home: &Home, change: impl FnOnce(&mut fs::File)) {
    let file = home.state().join("runs.db");
    change(&mut OpenOptions::new().write(true).open(file).unwrap());
}

#[test]
fn a_store_that_makes_no_sense_is_refused() {
    let home = Home::new();
    home.run("r", GOOD).expect(0);
    assert_eq!(names(&home.state()), ["runs", "runs.db"]);
    let file = home.state().join("runs.db");
    let whole = fs::read(&file).unwrap();

    let newer = u32::to_be_bytes(1000);
    change(&home, |file| {
        file.seek(SeekFrom::Start(VERSION_AT)).unwrap();
        file.write_all(&newer).unwrap();
    });
    let mut told = refused(&home);
    told.truncate(2);
    for length in [0, 40, 4096, whole.len() as u64 / 2] {
        fs::write(&file, &whole).unwrap();
        change(&home, |file| file.set_len(length).unwrap());
        for outcome in refused(&home) {
            let message = outcome.stderr();
            assert!(message.contains("runs.db is damaged: "), "{outcome}");
            assert!(message.contains("Put a copy of it back"), "{outcome}");
            assert!(!message.contains("panicked"), "{outcome}");
        }
        assert_eq!(fs::metadata(&file).unwrap().len(), length);
        told.push(home.flavor(["runs", "list"]).run().expect(1));
    }
    assert_told!(all(&told));
    fs::write(&file, &whole).unwrap();
    assert_eq!(home.status("r"), "completed");
}

/// A step that runs until it is ended, and some that fill the store.
fn filling(here: &Fifo) -> String {
    let mut text = format!(
        "name: p\nexecution_mode: fail_fast\nsteps:\n  long: {{command: [sh, -c, 'echo $$ >{}; exec sleep 1000']}}\n",
        here.path()
    );
    for number in 0..200 {
        let after = match number {
            0 => "long-begun".to_owned(),
            number => format!("c{}", number - 1),
        };
        text += &format!("  c{number}: {{command: ['true'], after: [{after}]}}\n");
    }
    text + "  long-begun: {command: ['true']}\n"
}

/// Runs it with files that cannot grow any more before it is over. Its sandboxes are
/// gone then.
fn run_on_full_disk(home: &Home, id: &str, on: &str) -> Outcome {
    let mut here = Fifo::new(home, id);
    home.write("p.yaml", filling(&here));
    let words = ["run", "p.yaml", "--run-id", id, "--on", on];
    let run = home.flavor(words).with_token().limiting_files(384 * 1024);
    let run = run.start();
    let step = Process::find(here.line().trim().parse().unwrap()).unwrap();
    let run = run.finish().expect(1);
    assert!(step.is_gone(), "{run}");
    assert!(!run.stderr().contains("panicked"), "{run}");
    // What was recorded before is there.
    let status = home.flavor(["status", id, "--json"]).run().expect(0);
    let status = &status.objects()[0];
    let steps = status["steps"].as_object().unwrap();
    let completed = steps.values().filter(|step| step["status"] == "completed");
    assert!(completed.count() > 2, "{status}");
    run
}

#[test]
fn a_full_disk_ends_the_run_and_its_sandboxes() {
    let home = Home::new();
    let server = Server::start(&home);
    let run = run_on_full_disk(&home, "r", server.url());
    let message = "the run store failed: disk I/O error; see whether there is room on the disk";
    assert!(run.stderr().contains(message), "{run}");
    // Its end could not be recorded.
    assert!(run.stderr().contains("`flavor resume r`"), "{run}");
    assert_eq!(home.status("r"), "interrupted");
    server.stop().expect(0);
}

/// Here the local Modal's own file may be the first that is full.
#[test]
fn a_full_disk_ends_a_run_on_this_machine() {
    let home = Home::new();
    let run = run_on_full_disk(&home, "r", "local");
    assert!(run.stderr().contains("disk I/O error"), "{run}");
    home.run("next", GOOD).expect(0);
}

#[test]
fn a_directory_that_cannot_be_written_to_is_told() {
    let home = Home::new();
    home.run("r", GOOD).expect(0);
    let state = home.state();
    fs::set_permissions(&state, Permissions::from_mode(0o500)).unwrap();
    let commands: [&[&str]; 3] = [&["runs", "list"], &["status", "r"], &["reap"]];
    let told: Vec<Outcome> = match rustix::process::getuid().is_root() {
        false => commands
            .map(|words| home.flavor(words).run().expect(1))
            .into(),
        // Root may write anywhere, so somebody else has to try.
        true => {
            give_away(home.root());
            let program = home.root().join("flavor");
            fs::copy(env!("CARGO_BIN_EXE_flavor"), &program).unwrap();
            let told = commands.map(|words| {
                let flavor = home.flavor(words).copied_to(&program, NOBODY);
                flavor.run().expect(1)
            });
            told.into()
        }
    };
    fs::set_permissions(&state, Permissions::from_mode(0o700)).unwrap();
    assert_told!(all(&told));
}

/// A user that owns nothing.
const NOBODY: u32 = 65534;

fn give_away(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give_away(&entry.unwrap().path());
        }
    }
}
