//! `files` and `run_dir`: what steps share with the pipeline file and with each
//! other.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use crate::harness::{Home, all, assert_told, names};

#[test]
fn files_are_copied_into_every_step() {
    let home = Home::new();
    home.write("code/train.sh", "#!/bin/sh\ncat data/rows.csv\n");
    let script = home.work().join("code/train.sh");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    home.write("code/data/rows.csv", "1,2\n");
    home.write("code/data/deep/er/x.csv", "3\n");
    home.write("code/other", "not asked for");
    home.write(
        "code/p.yaml",
        "
name: p
files: [train.sh, data, data/deep/er/x.csv]
steps:
  change: {command: [sh, -c, 'echo changed >>data/rows.csv; ./train.sh']}
  train: {command: [./train.sh], after: [change]}
  list: {command: [find, ., -type, f]}
",
    );
    // Relative to the file, wherever it is run from.
    let run = home.flavor(["run", "code/p.yaml", "--run-id", "r"]).run();
    run.expect(0);
    let logs = |step| home.flavor(["logs", "r", step]).run().expect(0);
    assert_eq!(logs("change").stdout(), "1,2\nchanged\n");
    assert_eq!(logs("train").stdout(), "1,2\n", "of its own copy");
    let list = logs("list").sorted();
    let files = ["./data/deep/er/x.csv", "./data/rows.csv", "./train.sh"];
    assert_eq!(list.stdout().lines().collect::<Vec<_>>(), files);
    let original = home.work().join("code/data/rows.csv");
    assert_eq!(fs::read_to_string(original).unwrap(), "1,2\n");
}

#[test]
fn files_that_cannot_be_copied_are_2() {
    let home = Home::new();
    symlink("/etc/hostname", home.work().join("outside")).unwrap();
    symlink("missing", home.work().join("dangling")).unwrap();
    let files = [
        "missing",
        "../p.yaml",
        "/etc/hostname",
        "outside",
        "dangling",
        "''",
    ];
    let told = files.map(|file| {
        let steps = "steps: {a: {command: ['true']}}";
        home.write("p.yaml", format!("name: p\nfiles: [{file}]\n{steps}\n"));
        let run = home.flavor(["run", "p.yaml"]).run().expect(2);
        let validate = home.flavor(["validate", "p.yaml"]).run().expect(2);
        assert_eq!(validate.stderr(), run.stderr());
        run
    });
    assert_told!(all(&told));
    home.assert_untouched();
}

#[test]
fn a_link_that_leads_outside_is_not_followed() {
    let home = Home::new();
    home.write("data/rows.csv", "1\n");
    symlink("/etc", home.work().join("data/outside")).unwrap();
    let pipeline = "name: p\nfiles: [data]\nsteps: {a: {command: [ls, data]}}\n";
    let run = home.run("r", pipeline).expect(1);
    assert_told!(run);
}

#[test]
fn a_directory_that_contains_itself_has_an_end() {
    let home = Home::new();
    home.write("data/rows.csv", "1\n");
    for name in ["one", "two"] {
        symlink(".", home.work().join("data").join(name)).unwrap();
    }
    let pipeline = "name: p\nfiles: [data]\nsteps: {a: {command: [ls, data]}}\n";
    let run = home.run("r", pipeline).expect(1);
    let reason = "the link leads to a directory that it is in";
    assert!(run.stderr().contains(reason), "{run}");
}

#[test]
fn steps_share_a_directory_that_is_kept() {
    let home = Home::new();
    let pipeline = "
name: p
run_dir: true
steps:
  a: {command: [sh, -c, 'echo from a >$FLAVOR_RUN_DIR/a']}
  b: {command: [sh, -c, 'cat $FLAVOR_RUN_DIR/a; echo from b >$FLAVOR_RUN_DIR/b'], after: [a]}
";
    let run = home.run("r", pipeline).expect(0);
    assert!(run.stdout().contains("b | from a\n"), "{run}");
    assert_eq!(names(&home.shared("r")), ["a", "b"]);
    let kept = fs::read_to_string(home.shared("r").join("b")).unwrap();
    assert_eq!(kept, "from b\n");
    let mode = fs::metadata(home.shared("r")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn without_run_dir_there_is_none() {
    let home = Home::new();
    let script = "echo ${FLAVOR_RUN_DIR-none}";
    let pipeline = format!("name: p\nsteps: {{a: {{command: [sh, -c, '{script}']}}}}\n");
    let run = home.run("r", &pipeline).expect(0);
    assert_eq!(run.stdout(), "r\na | none\n");
    assert!(!home.shared("r").exists());
}

#[test]
fn both_are_refused_where_steps_are_elsewhere() {
    let home = Home::new();
    home.write("data", "1\n");
    home.write(
        "files.yaml",
        "name: p\nfiles: [data]\nsteps: {a: {command: ['true']}}\n",
    );
    home.write(
        "dir.yaml",
        "name: p\nrun_dir: true\nsteps: {a: {command: ['true']}}\n",
    );
    let mut told = Vec::new();
    for target in ["modal", "http://127.0.0.1:9"] {
        for file in ["files.yaml", "dir.yaml"] {
            let run = home.flavor(["run", file, "--on", target]).with_token();
            told.push(run.run().expect(2));
        }
    }
    assert_told!(all(&told));
    home.assert_untouched();
}
