//! What a virtual day costs: wall time of whole runs in the simulation.
//!
//! `cargo bench --bench days` prints one line per run; `cargo bench --bench days -- 48`
//! runs other sizes. Aimed at: 1,000 steps in 0.3 s, 10,000 in 3 s. Not reached: a call
//! costs about 0.1 ms of CPU, most of it in the engine, and a sandbox that runs all day
//! is asked about 8,640 times.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark: it prints its results, and a failure ends it"
)]

use flavor_harness::Simulation;
use flavor_harness::scenario::{RunEnd, Scenario};
use flavor_host::contract::RunStatus;
use std::fmt::Write as _;
use std::time::Instant;

/// As `flavor` has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let simulation = Simulation::new(default_plugin::COMPONENT).unwrap();
    let wanted = std::env::args().skip(1);
    let mut sizes: Vec<usize> = wanted.filter_map(|text| text.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![1_000, 10_000];
    }
    for steps in sizes {
        let scenario = day(steps);
        for round in 1..=3 {
            let start = Instant::now();
            let outcome = simulation.run(&scenario, round);
            let elapsed = start.elapsed();
            assert_eq!(outcome.end, RunEnd::Ended(RunStatus::Completed));
            assert_eq!(outcome.violations, []);
            println!(
                "{steps} steps, round {round}: {:.2} s of wall time for {:.1} virtual hours; {} trace \
                 entries, calls {:?}",
                elapsed.as_secs_f64(),
                outcome.duration.as_secs_f64() / 3600.0,
                outcome.trace_entries,
                outcome.calls,
            );
        }
    }
}

/// A day of hourly batches: the steps of one run side by side for some seconds, and
/// one step fills the rest of the hour.
fn day(steps: usize) -> Scenario {
    let mut text = "name: day\nother_steps: {runs: 10}\nsteps:\n".to_owned();
    for hour in 0..HOURS {
        writeln!(text, "  hour{hour}: {{runs: 3590}}").unwrap();
    }
    text += "pipeline:\n  name: day\n  steps:\n";
    for hour in 0..HOURS {
        let after = match hour {
            0 => String::new(),
            hour => format!("hour{}", hour - 1),
        };
        writeln!(
            text,
            "    hour{hour}: {{command: [wait], after: [{after}]}}"
        )
        .unwrap();
        for step in (0..steps - HOURS).filter(|step| step % HOURS == hour) {
            writeln!(text, "    s{step}: {{command: [run], after: [{after}]}}").unwrap();
        }
    }
    Scenario::parse("day.yaml", text.as_bytes(), |path| {
        panic!("{path} is not there")
    })
    .unwrap()
}

const HOURS: usize = 24;
