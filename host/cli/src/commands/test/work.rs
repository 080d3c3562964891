//! Runs scenarios, several at a time.

use super::find::Case;
use super::report::Tested;
use flavor_harness::{Outcome, Simulation, broken_rules, shrink};
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// A case with one seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'c> {
    case: &'c Case,
    seed: u64,
}

/// Runs that a thread has before results are shown: what comes early waits for what
/// comes before it.
const AHEAD: usize = 16;

/// Failures that are shrunk. Each takes hundreds of runs, and the first ones are those
/// that people look at.
const SHRUNK: usize = 3;

/// Every case with so many seeds in a row; the first is the given one, or the case's
/// own.
pub(crate) fn runs<'c>(
    cases: &'c [Case],
    first: Option<u64>,
    seeds: Option<NonZeroU64>,
) -> impl Iterator<Item = Run<'c>> {
    let count = seeds.map_or(1, NonZeroU64::get);
    cases.iter().flat_map(move |case| {
        let first = first.unwrap_or(case.scenario.seed);
        (0..count).map(move |number| Run {
            case,
            seed: first.wrapping_add(number),
        })
    })
}

/// Hands what comes of each run to `take`, in the order of the runs, until that wants
/// no more.
pub(crate) fn each<'c>(
    simulation: &Simulation,
    mut runs: impl Iterator<Item = Run<'c>>,
    mut take: impl FnMut(Tested<'c>) -> bool,
) {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let left_to_shrink = AtomicUsize::new(SHRUNK);
    loop {
        let some: Vec<Run<'c>> = runs.by_ref().take(threads * AHEAD).collect();
        if some.is_empty() {
            return;
        }
        for tested in side_by_side(simulation, &some, threads, &left_to_shrink) {
            if !take(tested) {
                return;
            }
        }
    }
}

fn side_by_side<'c>(
    simulation: &Simulation,
    runs: &[Run<'c>],
    threads: usize,
    left_to_shrink: &AtomicUsize,
) -> Vec<Tested<'c>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(runs.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads.min(runs.len()) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(run) = runs.get(place) else { return };
                    let mut tested = once(simulation, *run);
                    shrunk(simulation, &mut tested, left_to_shrink);
                    let mut done = done.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    done.push((place, tested));
                }
            });
        }
    });
    let mut done = done
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, tested)| tested).collect()
}

/// One run.
pub(crate) fn once<'c>(simulation: &Simulation, run: Run<'c>) -> Tested<'c> {
    let begin = Instant::now();
    let scenario = &run.case.scenario;
    let outcome = simulation.run(scenario, run.seed);
    Tested {
        case: run.case,
        seed: run.seed,
        differences: outcome.differences(scenario),
        took: begin.elapsed(),
        outcome,
        shrunk: None,
    }
}

/// Looks for the faults that it takes, where chance had a hand in a failure.
fn shrunk(simulation: &Simulation, tested: &mut Tested<'_>, left_to_shrink: &AtomicUsize) {
    let scenario = &tested.case.scenario;
    if tested.passed() || scenario.chance.is_none() {
        return;
    }
    let one_less = |left: usize| left.checked_sub(1);
    let mine = left_to_shrink.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
    if mine.is_err() {
        return;
    }
    let rules = broken_rules(&tested.outcome);
    let is_same = |other: &Outcome| match rules.is_empty() {
        true => !other.differences(scenario).is_empty(),
        false => !rules.is_disjoint(&broken_rules(other)),
    };
    tested.shrunk = shrink(simulation, scenario, tested.seed, &tested.outcome, is_same);
}
