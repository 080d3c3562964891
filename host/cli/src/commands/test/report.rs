//! What came of the tests.

use super::find::Case;
use flavor_harness::{Difference, Outcome, Shrunk};
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

/// A case with one seed, and what came of it.
#[derive(Debug)]
pub(crate) struct Tested<'c> {
    pub(crate) case: &'c Case,
    pub(crate) seed: u64,
    pub(crate) outcome: Outcome,
    pub(crate) differences: Vec<Difference>,
    /// Real time.
    pub(crate) took: Duration,
    /// The failure with as few faults as it takes, where chance was at work.
    pub(crate) shrunk: Option<Shrunk>,
}

impl Tested<'_> {
    pub(crate) fn passed(&self) -> bool {
        self.outcome.violations.is_empty() && self.differences.is_empty()
    }

    /// What is wrong, one thing each.
    pub(crate) fn complaints(&self) -> impl Iterator<Item = String> {
        let violations = self.outcome.violations.iter();
        let violations = violations.map(|violation| format!("violated: {violation}"));
        violations.chain(self.differences.iter().map(Difference::to_string))
    }

    /// The smallest failure as a scenario file.
    pub(crate) fn smallest(&self) -> Option<String> {
        Some(self.shrunk.as_ref()?.scenario.to_yaml())
    }

    /// What runs it again.
    pub(crate) fn again(&self) -> String {
        let file = self.case.file.display();
        let chaos = match self.case.is_chaotic {
            true => " --chaos",
            false => "",
        };
        format!("flavor test {file}{chaos} --seed {}", self.seed)
    }
}

/// All that was tested; of what passed with many seeds, only how often.
#[derive(Debug, Default)]
pub(crate) struct Report<'c> {
    cases: Vec<Results<'c>>,
    places: HashMap<&'c Path, usize>,
}

/// What came of one case.
#[derive(Debug)]
pub(crate) struct Results<'c> {
    pub(crate) case: &'c Case,
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) took: Duration,
    /// Virtual time.
    pub(crate) simulated: Duration,
    /// The first one that passed.
    pub(crate) good: Option<Tested<'c>>,
    /// The first ones that failed.
    pub(crate) failures: Vec<Tested<'c>>,
}

impl<'c> Results<'c> {
    fn add(&mut self, tested: Tested<'c>) {
        self.took += tested.took;
        self.simulated += tested.outcome.duration;
        if tested.passed() {
            self.passed += 1;
            self.good.get_or_insert(tested);
        } else {
            self.failed += 1;
            if self.failures.len() < KEPT_FAILURES {
                self.failures.push(tested);
            }
        }
    }

    /// What there is to show of it: the failures, or what went well.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &Tested<'c>> {
        let good = self.good.iter().filter(|_| self.failures.is_empty());
        self.failures.iter().chain(good)
    }
}

/// Failures of one case that are kept for the reports: a case that fails with every
/// seed says no more with the thousandth.
const KEPT_FAILURES: usize = 20;

impl<'c> Report<'c> {
    pub(crate) fn add(&mut self, tested: Tested<'c>) {
        let next = self.cases.len();
        let place = *self.places.entry(&tested.case.file).or_insert(next);
        if place == next {
            self.cases.push(Results {
                case: tested.case,
                passed: 0,
                failed: 0,
                took: Duration::ZERO,
                simulated: Duration::ZERO,
                good: None,
                failures: Vec::new(),
            });
        }
        let Some(results) = self.cases.get_mut(place) else {
            return;
        };
        results.add(tested);
    }

    /// By cases, in the order in which they were first heard of.
    pub(crate) fn cases(&self) -> &[Results<'c>] {
        &self.cases
    }

    pub(crate) fn passed(&self) -> usize {
        self.cases.iter().map(|results| results.passed).sum()
    }

    pub(crate) fn failed(&self) -> usize {
        self.cases.iter().map(|results| results.failed).sum()
    }

    /// Virtual time of all runs together.
    pub(crate) fn simulated(&self) -> Duration {
        self.cases.iter().map(|results| results.simulated).sum()
    }

    /// Real time of all runs together.
    pub(crate) fn took(&self) -> Duration {
        self.cases.iter().map(|results| results.took).sum()
    }
}
