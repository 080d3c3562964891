//! Chance from a seed: every question has an answer of its own, whatever else was
//! asked before it.

use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// All chance of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dice {
    seed: u64,
}

impl Dice {
    /// The dice of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// 32 bytes for one purpose.
    pub(crate) fn bytes(self, purpose: &str) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.seed.to_le_bytes())
            .chain_update(purpose)
            .finalize()
            .into()
    }

    /// Throws for one question: what about, and which of them.
    pub(crate) fn throw(self, about: &str, number: u64) -> Throw {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(self.seed.to_le_bytes())
            .chain_update((about.len() as u64).to_le_bytes())
            .chain_update(about)
            .chain_update(number.to_le_bytes())
            .finalize()
            .into();
        Throw { digest, used: 0 }
    }
}

/// Some numbers that answer one question.
#[derive(Debug)]
pub(crate) struct Throw {
    digest: [u8; 32],
    used: usize,
}

impl Throw {
    fn number(&mut self) -> u64 {
        // Four numbers, and then the same again: no question needs more.
        let start = self.used % 32;
        self.used += 8;
        let bytes = self.digest.iter().skip(start).take(8);
        bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// Whether something of this probability happens.
    #[allow(
        clippy::cast_precision_loss,
        reason = "53 bits are exact, and enough for a probability"
    )]
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        let share = (self.number() >> 11) as f64 / (1_u64 << 53) as f64;
        share < probability
    }

    /// A number below a limit; 0 when the limit is.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.number().checked_rem(limit).unwrap_or(0)
    }

    /// A duration of at least a millisecond, mostly short.
    pub(crate) fn millis(&mut self, longest: u64) -> Duration {
        let span = match self.below(3) {
            0 => longest.min(50),
            1 => longest.min(2_000),
            _ => longest,
        };
        Duration::from_millis(1 + self.below(span))
    }

    /// One of several.
    pub(crate) fn pick<'c, T>(&mut self, choices: &'c [T]) -> Option<&'c T> {
        let index = self.below(choices.len() as u64);
        choices.get(usize::try_from(index).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn answers_are_fixed_and_spread() {
        let share = |seed| {
            let dice = Dice::new(seed);
            (0..10_000)
                .filter(|number| dice.throw("call", *number).happens(0.1))
                .count()
        };
        assert_eq!(share(1), share(1));
        assert!((800..1200).contains(&share(1)), "{}", share(1));
        let picks: std::collections::BTreeSet<u64> = (0..100)
            .map(|number| Dice::new(7).throw("x", number).below(5))
            .collect();
        assert_eq!(picks.len(), 5);
        assert_eq!(Dice::new(7).throw("x", 0).below(0), 0);
    }
}
