//! From many faults to the few that matter.

use crate::limits::SHRINKING_RUNS;
use crate::outcome::{Outcome, Rule};
use crate::scenario::{Chance, Fault, Scenario};
use crate::simulation::Simulation;
use std::collections::BTreeSet;

/// A failure with as few faults as it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Shrunk {
    /// The scenario: its faults stand in it, and nothing is left to chance.
    pub scenario: Scenario,
    /// What comes of it.
    pub outcome: Outcome,
    /// How many runs it took.
    pub runs: usize,
}

/// Looks for the smallest schedule of faults with which a scenario still fails in the
/// same way: `fails` says whether an outcome is that failure. The faults of the first
/// outcome take the place of chance; `None` when they do not fail again, which
/// happens when chance decides about more than faults.
pub fn shrink(
    simulation: &Simulation,
    scenario: &Scenario,
    seed: u64,
    outcome: &Outcome,
    fails: impl Fn(&Outcome) -> bool,
) -> Option<Shrunk> {
    let scripted = |faults: Vec<Fault>| Scenario {
        seed,
        faults,
        chance: Chance::default(),
        ..scenario.clone()
    };
    let mut search = Search {
        runs: 0,
        judge: |faults: &[Fault]| {
            let outcome = simulation.run(&scripted(faults.to_vec()), seed);
            fails(&outcome).then_some(outcome)
        },
    };
    let mut best = (outcome.faults.clone(), search.attempt(&outcome.faults)?);
    let mut size = best.0.len().div_ceil(2).max(1);
    while !best.0.is_empty() && search.runs < SHRINKING_RUNS {
        match search.without_some(&best.0, size) {
            Some(smaller) => best = smaller,
            None if size == 1 => break,
            None => size = size.div_ceil(2),
        }
        size = size.min(best.0.len().max(1));
    }
    let (faults, outcome) = best;
    Some(Shrunk {
        scenario: scripted(faults),
        outcome,
        runs: search.runs,
    })
}

/// The rules that an outcome breaks: what makes two failures the same.
#[must_use]
pub fn broken_rules(outcome: &Outcome) -> BTreeSet<Rule> {
    outcome
        .violations
        .iter()
        .map(|violation| violation.rule)
        .collect()
}

struct Search<J> {
    runs: usize,
    judge: J,
}

impl<J: FnMut(&[Fault]) -> Option<Outcome>> Search<J> {
    fn attempt(&mut self, faults: &[Fault]) -> Option<Outcome> {
        self.runs += 1;
        (self.judge)(faults)
    }

    /// The same failure without one stretch of so many faults, if there is one.
    fn without_some(&mut self, faults: &[Fault], size: usize) -> Option<(Vec<Fault>, Outcome)> {
        let stretches = faults.len().div_ceil(size);
        for stretch in 0..stretches {
            if self.runs >= SHRINKING_RUNS {
                return None;
            }
            let (start, end) = (stretch * size, (stretch + 1) * size);
            let rest = faults.iter().enumerate();
            let rest: Vec<_> = rest
                .filter(|(index, _)| *index < start || *index >= end)
                .map(|(_, fault)| fault.clone())
                .collect();
            if let Some(outcome) = self.attempt(&rest) {
                return Some((rest, outcome));
            }
        }
        None
    }
}
