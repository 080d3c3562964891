//! Every scenario of the repository, with the plugin that is shipped.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking, their helpers too"
)]

use flavor_harness::Simulation;
use flavor_harness::scenario::{CallFault, Fault, Moment, Rpc, Scenario, When};
use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeSet;
use std::mem::{Discriminant, discriminant};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios");
    let files = files(&root);
    let simulation = Simulation::new(default_plugin::COMPONENT).expect("the plugin loads");
    let mut trials: Vec<Trial> = files
        .iter()
        .map(|file| {
            let name = file
                .strip_prefix(&root)
                .unwrap_or(file)
                .display()
                .to_string();
            let (file, simulation) = (file.clone(), simulation.clone());
            Trial::test(name, move || holds(&simulation, &file))
        })
        .collect();
    let simulation = simulation.clone();
    trials.push(Trial::test("every_fault_at_every_call", move || {
        every_fault_at_every_call(&simulation, &files)
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// Scenario files, but not the pipelines that they name.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the scenarios are there");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        match path.is_dir() {
            true if path.ends_with("pipelines") => {}
            true => files.extend(self::files(&path)),
            false => files.push(path),
        }
    }
    files
}

fn load(file: &Path) -> Result<Scenario, Failed> {
    Scenario::load(file).map_err(|error| error.to_string().into())
}

fn holds(simulation: &Simulation, file: &Path) -> Result<(), Failed> {
    let scenario = load(file)?;
    let outcome = simulation.run(&scenario, scenario.seed);
    if outcome.passes(&scenario) {
        return Ok(());
    }
    let violations = outcome.violations.iter().map(ToString::to_string);
    let differences = outcome.differences(&scenario);
    let differences = differences.iter().map(ToString::to_string);
    let complaints: Vec<String> = violations.chain(differences).collect();
    Err(complaints.join("\n").into())
}

/// What the scenarios call, and what goes wrong there: together nothing is left out.
fn every_fault_at_every_call(simulation: &Simulation, files: &[PathBuf]) -> Result<(), Failed> {
    let mut called: BTreeSet<String> = BTreeSet::new();
    let mut wrong: Vec<(String, Discriminant<CallFault>)> = Vec::new();
    let mut killed: BTreeSet<(u64, bool)> = BTreeSet::new();
    for file in files {
        let scenario = load(file)?;
        for fault in &scenario.faults {
            match fault {
                Fault::Call { calls, what } => {
                    if let Rpc::Named(method) = &calls.rpc {
                        wrong.push((method.clone(), discriminant(what)));
                    }
                }
                Fault::Kill {
                    at: When::Nth(which),
                    moment,
                    ..
                } => {
                    killed.insert((which.nth, *moment == Moment::After));
                }
                _ => {}
            }
        }
        // Without faults: what a run calls when all goes well.
        if scenario.faults.is_empty() {
            let outcome = simulation.run(&scenario, scenario.seed);
            called.extend(outcome.calls.into_keys());
        }
    }
    let time = Duration::ZERO;
    let faults = [
        CallFault::LostRequest,
        CallFault::LostReply,
        CallFault::Duplicate,
        CallFault::DelayedRequest(time),
        CallFault::DelayedReply(time),
        CallFault::Overtaken,
        CallFault::ResetRequest,
        CallFault::ResetReply,
        CallFault::Throttled(None),
        CallFault::Unavailable,
        CallFault::ExpiredToken,
    ];
    let mut missing = Vec::new();
    for method in &called {
        for fault in &faults {
            if !wrong.contains(&(method.clone(), discriminant(fault))) {
                missing.push(format!("no scenario has {fault:?} at {method}"));
            }
        }
    }
    for nth in 1..=20 {
        for after in [false, true] {
            if !killed.contains(&(nth, after)) {
                missing.push(format!(
                    "no scenario kills the controller at import call {nth}"
                ));
            }
        }
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(missing.join("\n").into()),
    }
}
