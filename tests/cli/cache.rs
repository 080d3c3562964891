//! Results of earlier runs that stand for later ones.

use std::fs;

use crate::harness::{Home, Outcome, all, assert_told};

/// Two steps that cache and one that does not, each of which says that it ran.
fn pipeline(home: &Home, environment: &str) -> String {
    let ran = home.root().join("ran");
    let step = |name: &str, more: &str| {
        format!(
            "  {name}: {{command: [sh, -c, 'echo {name} >>{}']{more}}}\n",
            ran.display()
        )
    };
    format!(
        "name: p\nenable_cache: true\nenvironment: {environment}\nsteps:\n{}{}{}",
        step("first", ""),
        step("second", ", after: [first]"),
        step("always", ", after: [second], enable_cache: false"),
    )
}

fn ran(home: &Home) -> String {
    let file = home.root().join("ran");
    let ran = fs::read_to_string(&file).unwrap_or_default();
    let _ = fs::remove_file(&file);
    ran
}

fn explain(home: &Home, run: &str) -> Outcome {
    home.flavor(["status", run, "--explain-cache"])
        .run()
        .expect(0)
}

#[test]
fn what_has_completed_does_not_run_again() {
    let home = Home::new();
    let same = pipeline(&home, "{SEED: '7'}");
    home.run("1", &same).expect(0);
    assert_eq!(ran(&home), "first\nsecond\nalways\n");
    let cached = home.run("2", &same).expect(0);
    assert_eq!(ran(&home), "always\n");
    // Secrets may be in an environment: what differs is named and not shown.
    home.run("3", &pipeline(&home, "{SEED: 'ultramarine'}"))
        .expect(0);
    assert_eq!(ran(&home), "first\nsecond\nalways\n");
    let told = ["1", "2", "3"].map(|run| explain(&home, run));
    assert!(!told[2].stdout().contains("ultramarine"));

    let status = home.flavor(["status", "2", "--json"]).run().expect(0);
    let steps = &status.objects()[0]["steps"];
    assert_eq!(steps["first"]["status"], "cached");
    assert_eq!(steps["always"]["status"], "completed");
    let words = ["status", "3", "--json", "--explain-cache"];
    let status = home.flavor(words).run().expect(0);
    let steps = &status.objects()[0]["steps"];
    assert_eq!(steps["first"]["cache"]["last"]["run"], "1");
    let differs = &steps["second"]["cache"]["last"]["differs_in"];
    assert_eq!(
        *differs,
        serde_json::json!(["after first", "environment.SEED"])
    );
    assert_eq!(steps["always"]["cache"]["enabled"], false);
    assert_told!(all(&[&[cached.sorted()], &told[..]].concat()));
}

#[test]
fn what_failed_or_was_forgotten_runs_again() {
    let home = Home::new();
    let text = pipeline(&home, "{SEED: '7'}").replace("echo second", "false; exit 1; echo");
    home.run("1", &text).expect(1);
    home.run("2", &text).expect(1);
    assert_eq!(ran(&home), "first\n");
    home.flavor(["runs", "prune", "--keep", "0"])
        .run()
        .expect(0);
    home.run("3", &text).expect(1);
    assert_eq!(ran(&home), "first\n");
}

#[test]
fn steps_that_share_a_directory_cannot_be_cached() {
    let home = Home::new();
    home.write(
        "p.yaml",
        "name: p\nrun_dir: true\nsteps: {a: {command: ['true'], enable_cache: true}}\n",
    );
    assert_told!(home.flavor(["validate", "p.yaml"]).run().expect(2));
}
