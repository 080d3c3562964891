//! `flavor doctor` and `flavor flavors`: what is in force.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::harness::{Home, all, assert_told, names};

#[test]
fn what_is_in_force_is_told() {
    let home = Home::new();
    let fresh = home.bare(["doctor"]).run().expect(0);
    home.run("r", "name: p\nsteps: {a: {command: ['true']}}\n")
        .expect(0);
    let used = home.bare(["doctor"]).with_token().run().expect(0);
    assert_told!(all(&[fresh, used]));
}

#[test]
fn flavors_are_listed() {
    let home = Home::new();
    let people = home.flavor(["flavors"]).run().expect(0);
    let json = home.flavor(["flavors", "--json"]).run().expect(0);
    assert_told!(all(&[people, json]));
    home.assert_untouched();
}

#[test]
fn a_plugin_is_compiled_once() {
    let home = Home::new();
    let cache = home.root().join("home/.cache/flavor/compiled");
    let first = home.bare(["flavors"]).run().expect(0);
    let compiled = names(&cache);
    assert_eq!(compiled.len(), 1, "{compiled:?}");
    let file = cache.join(&compiled[0]);
    let made = |file| fs::metadata(file).unwrap().modified().unwrap();
    let before = made(&file);
    let second = home.bare(["flavors"]).run().expect(0);
    assert_eq!(made(&file), before);
    assert_eq!(first.stdout(), second.stdout());

    // Compiled code that others could have written is not used.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let third = home.bare(["flavors"]).run().expect(0);
    assert_eq!(first.stdout(), third.stdout());
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).unwrap();
    let fourth = home.bare(["flavors"]).run().expect(0);
    assert_told!(all(&[third, fourth]));
}

#[test]
fn a_state_directory_that_cannot_be_used_is_told() {
    let home = Home::new();
    fs::write(home.state(), "a file").unwrap();
    let commands: [&[&str]; 4] = [
        &["runs", "list"],
        &["status", "r"],
        &["logs", "r"],
        &["stop", "r"],
    ];
    let mut told = Vec::from(commands.map(|words| home.flavor(words).run().expect(1)));
    told.push(
        home.run("r", "name: p\nsteps: {a: {command: ['true']}}\n")
            .expect(1),
    );
    told.push(home.flavor(["doctor"]).run().expect(0));
    assert_told!(all(&told));
    fs::remove_file(home.state()).unwrap();
    fs::create_dir(home.state()).unwrap();
    fs::write(home.state().join("runs.db"), "no database").unwrap();
    assert_told!(home.flavor(["runs", "list"]).run().expect(1));
}

#[test]
fn what_flavor_does_is_told_on_request() {
    let home = Home::new();
    home.write("p.yaml", "name: p\nsteps: {a: {command: ['true']}}\n");
    let run = |log| {
        home.flavor(["run", "p.yaml"])
            .env("FLAVOR_LOG", log)
            .run()
            .expect(0)
    };
    let quiet = run("off");
    let loud = run("debug");
    let wrong = run("=;=");
    assert!(loud.stderr.len() > quiet.stderr.len());
    assert!(!quiet.stderr().contains("WARN"), "{quiet}");
    assert!(wrong.stderr().contains("WARN"), "{wrong}");
}
