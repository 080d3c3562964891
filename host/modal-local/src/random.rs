//! The one source of chance: ids, credentials and token keys.

use std::{io, sync::Mutex};

use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest, Sha256};

use crate::sync::lock;

/// SHA-256 in counter mode: unpredictable with a secret seed, repeatable with a
/// given one.
#[derive(Debug)]
pub(crate) struct Random {
    seed: [u8; 32],
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Random {
    /// Seeded by the operating system.
    pub(crate) fn from_os() -> io::Result<Self> {
        let mut seed = [0; 32];
        let mut filled = 0;
        while let Some(rest) = seed.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += getrandom(rest, GetRandomFlags::empty())?;
        }
        Ok(Self::seeded(seed))
    }

    /// Repeatable: the same seed gives the same values in the same order.
    pub(crate) fn seeded(seed: [u8; 32]) -> Self {
        Self {
            seed,
            state: Mutex::new(State {
                counter: 0,
                block: [0; 32],
                used: 32,
            }),
        }
    }

    /// As many random bytes as asked for.
    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut state = lock(&self.state);
        std::array::from_fn(|_| state.byte(&self.seed))
    }

    /// Text of digits and letters of both cases, every one equally likely.
    pub(crate) fn alphanumeric(&self, length: usize) -> String {
        let mut state = lock(&self.state);
        let mut text = String::with_capacity(length);
        while text.len() < length {
            text.extend(letter(state.byte(&self.seed)));
        }
        text
    }
}

impl State {
    fn byte(&mut self, seed: &[u8; 32]) -> u8 {
        if self.used == self.block.len() {
            self.block = Sha256::new()
                .chain_update(seed)
                .chain_update(self.counter.to_le_bytes())
                .finalize()
                .into();
            self.counter = self.counter.wrapping_add(1);
            self.used = 0;
        }
        let byte = self.block.get(self.used).copied().unwrap_or_default();
        self.used += 1;
        byte
    }
}

/// The digit or letter a byte stands for; 2 of 64 values stand for none, so
/// that the others stay equally likely.
pub(crate) fn letter(byte: u8) -> Option<char> {
    match byte & 63 {
        value @ 0..=9 => Some(char::from(b'0' + value)),
        value @ 10..=35 => Some(char::from(b'A' + value - 10)),
        value @ 36..=61 => Some(char::from(b'a' + value - 36)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_the_system_does_not() {
        let text = |random: &Random| (random.alphanumeric(40), random.bytes::<20>());
        assert_eq!(
            text(&Random::seeded([7; 32])),
            text(&Random::seeded([7; 32]))
        );
        assert_ne!(
            text(&Random::seeded([7; 32])),
            text(&Random::seeded([8; 32]))
        );
        assert_ne!(
            text(&Random::from_os().unwrap()),
            text(&Random::from_os().unwrap())
        );
    }

    #[test]
    fn every_letter_comes_up() {
        let text = Random::seeded([0; 32]).alphanumeric(10_000);
        assert_eq!(text.len(), 10_000);
        let letters: std::collections::BTreeSet<char> = text.chars().collect();
        assert_eq!(letters.len(), 62);
    }
}
