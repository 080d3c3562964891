//! What the command line says about itself, and about words it does not know.

use crate::harness::{Home, all, assert_told};

const COMMANDS: [&str; 29] = [
    "",
    "run",
    "resume",
    "validate",
    "status",
    "logs",
    "stop",
    "runs",
    "runs list",
    "runs prune",
    "reap",
    "step",
    "step submit",
    "step status",
    "step wait",
    "step cancel",
    "sandbox",
    "sandbox create",
    "sandbox exec",
    "sandbox cp",
    "sandbox snapshot",
    "sandbox restore",
    "sandbox attach",
    "sandbox list",
    "sandbox destroy",
    "test",
    "flavors",
    "doctor",
    "modal-local",
];

#[test]
fn every_command_explains_itself() {
    let home = Home::new();
    let help = COMMANDS.map(|command| {
        let words = command.split_whitespace().chain(["--help"]);
        home.flavor(words).run().expect(0)
    });
    assert!(help.iter().all(|outcome| outcome.stderr.is_empty()));
    assert_told!(all(&help));
    home.assert_untouched();
}

#[test]
fn the_version_is_told() {
    let home = Home::new();
    let version = home.flavor(["--version"]).run().expect(0);
    let expected = format!("flavor {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(version.stdout(), expected);
}

#[test]
fn wrong_usage_is_2() {
    let home = Home::new();
    let wrong: [&[&str]; 26] = [
        &[],
        &["rum"],
        &["run"],
        &["run", "p.yaml", "--paralelism", "3"],
        &["run", "p.yaml", "--max-parallelism", "0"],
        &["run", "p.yaml", "--max-parallelism", "many"],
        &["run", "p.yaml", "q.yaml"],
        &["run", "p.yaml", "--on"],
        &["stop", "r", "--graceful", "--force"],
        &["runs"],
        &["status"],
        &["step"],
        &["step", "submit"],
        &["step", "submit", "--env", "1A=x", "true"],
        &["step", "submit", "--env", "A", "true"],
        &["step", "wait"],
        &["sandbox"],
        &["sandbox", "create", "--tag", "x"],
        &["sandbox", "create", "--cpu", "0"],
        &["sandbox", "cp", "a"],
        &["sandbox", "cp", "sb-1:relative", "b"],
        &["sandbox", "cp", "", "sb-1:/b"],
        &["sandbox", "destroy"],
        &["sandbox", "restore"],
        &["modal-local", "--listen", "localhost"],
        &["modal-local", "--listen", "127.0.0.1:70000"],
    ];
    let told = wrong.map(|arguments| home.flavor(arguments).run().expect(2));
    assert!(told.iter().all(|outcome| outcome.stdout.is_empty()));
    assert_told!(all(&told));
    home.assert_untouched();
}

#[test]
fn a_target_that_is_none_is_2() {
    let home = Home::new();
    home.write("p.yaml", "name: p\nsteps: {a: {command: ['true']}}\n");
    let targets = [
        "",
        "Local",
        "ftp://127.0.0.1",
        "127.0.0.1:80",
        "http://",
        "http://127.0.0.1:99999",
        "http://user:secret@127.0.0.1:80",
        "http://127.0.0.1:80/path",
    ];
    let told = targets.map(|target| {
        let run = home.flavor(["run", "p.yaml", "--on", target]).with_token();
        run.run().expect(2)
    });
    assert_told!(all(&told));
    home.assert_untouched();
}

#[test]
fn without_a_home_there_is_no_state() {
    let home = Home::new();
    let list = home.flavor(["runs", "list"]).without("XDG_STATE_HOME");
    let none = list.without("HOME").run().expect(2);
    let list = home.flavor(["runs", "list"]).without("HOME");
    let relative = list.env("XDG_STATE_HOME", "state").run().expect(2);
    assert_told!(all(&[none, relative]));
    home.assert_untouched();
}

#[test]
fn state_and_cache_are_below_home_by_default() {
    let home = Home::new();
    let doctor = home.bare(["doctor"]).without("XDG_STATE_HOME");
    let doctor = doctor.run().expect(0);
    let below = home.root().join("home");
    for directory in [".local/state/flavor", ".cache/flavor"] {
        let directory = below.join(directory);
        assert!(directory.is_dir(), "{directory:?}");
        assert!(doctor.stdout().contains(directory.to_str().unwrap()));
    }
}
