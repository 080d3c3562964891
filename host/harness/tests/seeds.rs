//! Random scenarios by seed: pipelines, behaviours, stops and faults that nobody
//! chose, judged by the rules that hold in every run.
//!
//! By hand, ten thousand of them:
//!
//! ```text
//! SEEDS=10000 cargo test --release -p flavor-harness --test seeds -- --ignored --nocapture
//! ```

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "tests, and one that is run by hand and prints"
)]

use flavor_harness::{Simulation, broken_rules, random_scenario, shrink};
use std::collections::BTreeMap;
use std::time::Instant;

fn simulation() -> Simulation {
    Simulation::new(default_plugin::COMPONENT).unwrap()
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// What violates a rule, said so that it can be looked into.
fn judge(simulation: &Simulation, seed: u64) -> Option<String> {
    let scenario = random_scenario(seed).unwrap();
    let outcome = simulation.run(&scenario, seed);
    if outcome.violations.is_empty() {
        return None;
    }
    let mut report = format!("seed {seed}: {:?} {:?}\n", outcome.end, outcome.error);
    for violation in outcome.violations.iter().take(5) {
        report += &format!("  {violation}\n");
    }
    let rules = broken_rules(&outcome);
    let fails = |outcome: &flavor_harness::Outcome| !broken_rules(outcome).is_disjoint(&rules);
    if setting("TRACE", 0) == 1 {
        let outcome = simulation.clone().keeping_trace().run(&scenario, seed);
        report += &outcome.trace.join("\n");
    }
    if let Some(shrunk) = shrink(simulation, &scenario, seed, &outcome, fails) {
        report += &format!("after {} runs:\n{}", shrunk.runs, shrunk.scenario.to_yaml());
    }
    Some(report)
}

#[test]
fn a_hundred_seeds_break_no_rule() {
    let simulation = simulation();
    let reports: Vec<_> = (0..100)
        .filter_map(|seed| judge(&simulation, seed))
        .collect();
    assert!(reports.is_empty(), "{}", reports.join("\n"));
}

/// Prints what it finds; `FIRST` and `SEEDS` say where, `TRACE=1` shows
/// all that happened.
#[test]
#[ignore = "takes minutes; run by hand"]
fn many_seeds_break_no_rule() {
    let simulation = simulation();
    let first = setting("FIRST", 0);
    let count = setting("SEEDS", 10_000);
    let start = Instant::now();
    let mut found = 0;
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    for seed in first..first + count {
        if let Some(report) = judge(&simulation, seed) {
            found += 1;
            println!("{report}");
        }
        let scenario = random_scenario(seed).unwrap();
        if setting("TALLY", 0) == 1 {
            let outcome = simulation.run(&scenario, seed);
            *ends.entry(format!("{:?}", outcome.end)).or_default() += 1;
        }
        if found >= setting("MOST", 20) {
            println!("{found} findings are enough, up to seed {seed}");
            break;
        }
    }
    println!(
        "{found} of {count} seeds from {first} on, in {:?}; {ends:?}",
        start.elapsed()
    );
    assert_eq!(found, 0);
}
