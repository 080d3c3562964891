//! The scripts of the harvest, each on its own.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use crate::world::{World, examples};

#[test]
fn the_data_is_what_its_script_makes() {
    let world = World::new();
    let data = examples().join("harvest/data");
    let made = Command::new("sh")
        .arg(data.join("make-data.sh"))
        .arg(world.root())
        .status()
        .unwrap();
    assert!(made.success());
    for file in ["fields.csv", "harvests.csv"] {
        let made = fs::read_to_string(world.root().join(file)).unwrap();
        assert_eq!(made, fs::read_to_string(data.join(file)).unwrap(), "{file}");
    }
}

/// Runs a step's script by hand.
fn by_hand(arguments: &[&str], variables: &[(&str, &Path)]) -> Output {
    Command::new("sh")
        .args(arguments)
        .current_dir(examples().join("harvest"))
        .env_remove("FLAVOR_RUN_DIR")
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

#[track_caller]
fn assert_complains(output: &Output, message: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), message);
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn a_step_without_what_it_needs_says_what_is_missing() {
    let world = World::new();
    let directory = world.root();
    assert_complains(
        &by_hand(&["steps/ingest.sh"], &[]),
        "error: FLAVOR_RUN_DIR is not set: start this with `flavor run pipeline.yaml`\n",
    );
    let scripts: [&[&str]; 5] = [
        &["steps/validate.sh"],
        &["steps/split.sh"],
        &["steps/train.sh", "linear"],
        &["steps/compare.sh", "mean", "linear"],
        &["steps/report.sh"],
    ];
    let needed = [
        "fields.csv",
        "clean.csv",
        "train.csv",
        "answers.csv",
        "ingest.facts",
    ];
    for (script, needed) in scripts.into_iter().zip(needed) {
        let variables = [
            ("FLAVOR_RUN_DIR", directory),
            ("TEST_SEASON", Path::new("2024")),
        ];
        let place = directory.display();
        assert_complains(
            &by_hand(script, &variables),
            &format!("error: {needed} is missing in {place}: run the steps before this one\n"),
        );
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let world = World::new();
    for file in ["fields.csv", "harvests.csv", "clean.csv"] {
        fs::write(world.root().join(file), "").unwrap();
    }
    let refused = |script: &str, variable: &str, value: &str| {
        let variables = [
            ("FLAVOR_RUN_DIR", world.root()),
            (variable, Path::new(value)),
        ];
        String::from_utf8(by_hand(&[script], &variables).stderr).unwrap()
    };
    assert_eq!(
        refused("steps/validate.sh", "MAX_REJECTED_PERCENT", "few"),
        "error: MAX_REJECTED_PERCENT is `few`: write a whole number of percent\n"
    );
    assert_eq!(
        refused("steps/split.sh", "TEST_SEASON", "next"),
        "error: TEST_SEASON is `next`: write a year such as 2024\n"
    );
}
