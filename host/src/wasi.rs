//! The parts of WASI that answer from an instance's [`Surroundings`]: waiting and
//! chance. What is not set there is left to wasmtime's own.
//!
//! [`Surroundings`]: crate::surroundings::Surroundings

use crate::guest::GuestState;
use crate::surroundings::ImportCall;
use std::time::Duration;
use wasmtime::Result;
use wasmtime::component::{Accessor, HasData, Linker};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::clocks::WasiClocksView as _;
use wasmtime_wasi::p2::bindings::random::insecure_seed as seed_p2;
use wasmtime_wasi::p3::bindings::clocks::{monotonic_clock, system_clock, types};
use wasmtime_wasi::p3::bindings::random::{insecure, insecure_seed, random};

/// Marks these imports in the linker.
struct Surrounded;

impl HasData for Surrounded {
    type Data<'a> = &'a mut GuestState;
}

/// Clocks and chance of WASI 0.3, and the seed of WASI 0.2.
pub(crate) fn link(linker: &mut Linker<GuestState>) -> Result<()> {
    types::add_to_linker::<_, Surrounded>(linker, |state| state)?;
    monotonic_clock::add_to_linker::<_, Surrounded>(linker, |state| state)?;
    system_clock::add_to_linker::<_, Surrounded>(linker, |state| state)?;
    random::add_to_linker::<_, Surrounded>(linker, |state| state)?;
    insecure::add_to_linker::<_, Surrounded>(linker, |state| state)?;
    insecure_seed::add_to_linker::<_, Surrounded>(linker, |state| state)?;
    seed_p2::add_to_linker::<_, Surrounded>(linker, |state| state)
}

impl types::Host for &mut GuestState {}

impl system_clock::Host for &mut GuestState {
    fn now(&mut self) -> Result<system_clock::Instant> {
        system_clock::Host::now(&mut self.clocks())
    }

    fn get_resolution(&mut self) -> Result<types::Duration> {
        system_clock::Host::get_resolution(&mut self.clocks())
    }
}

impl monotonic_clock::Host for &mut GuestState {
    fn now(&mut self) -> Result<monotonic_clock::Mark> {
        monotonic_clock::Host::now(&mut self.clocks())
    }

    fn get_resolution(&mut self) -> Result<types::Duration> {
        monotonic_clock::Host::get_resolution(&mut self.clocks())
    }
}

impl monotonic_clock::HostWithStore<GuestState> for Surrounded {
    async fn wait_until(
        accessor: &Accessor<GuestState, Self>,
        when: monotonic_clock::Mark,
    ) -> Result<()> {
        let clocks = accessor.with(|mut access| access.get().time.clone());
        let time = when.saturating_sub(clocks.elapsed());
        clocks.wait(Duration::from_nanos(time)).await;
        Ok(())
    }

    async fn wait_for(accessor: &Accessor<GuestState, Self>, time: types::Duration) -> Result<()> {
        let clocks = accessor.with(|mut access| access.get().time.clone());
        clocks.wait(Duration::from_nanos(time)).await;
        Ok(())
    }
}

impl GuestState {
    /// Random bytes from the seed, if there is one; no more than allowed.
    fn seeded(&mut self, count: u64) -> Option<Vec<u8>> {
        let count = usize::try_from(count.min(self.random_bytes)).unwrap_or(usize::MAX);
        Some(self.chance.as_mut()?.bytes(count))
    }

    fn drawn(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        self.observe(ImportCall::Random(&bytes));
        Ok(bytes)
    }

    fn drawn_number(&self, number: u64) -> Result<u64> {
        self.observe(ImportCall::Random(&number.to_le_bytes()));
        Ok(number)
    }

    /// The seed of hash tables.
    fn hash_seed(&mut self) -> Result<(u64, u64)> {
        let seed = match &mut self.chance {
            Some(chance) => halves(chance.number()),
            None => insecure_seed::Host::get_insecure_seed(self.ctx().ctx.random())?,
        };
        self.drawn_number(seed.0)?;
        self.drawn_number(seed.1)?;
        Ok(seed)
    }
}

#[allow(clippy::cast_possible_truncation, reason = "both halves are taken")]
fn halves(number: u128) -> (u64, u64) {
    (number as u64, (number >> 64) as u64)
}

impl random::Host for &mut GuestState {
    fn get_random_bytes(&mut self, count: u64) -> Result<Vec<u8>> {
        let bytes = match self.seeded(count) {
            Some(bytes) => bytes,
            None => random::Host::get_random_bytes(self.ctx().ctx.random(), count)?,
        };
        self.drawn(bytes)
    }

    fn get_random_u64(&mut self) -> Result<u64> {
        let number = match &mut self.chance {
            Some(chance) => halves(chance.number()).0,
            None => random::Host::get_random_u64(self.ctx().ctx.random())?,
        };
        self.drawn_number(number)
    }
}

impl insecure::Host for &mut GuestState {
    fn get_insecure_random_bytes(&mut self, count: u64) -> Result<Vec<u8>> {
        let bytes = match self.seeded(count) {
            Some(bytes) => bytes,
            None => insecure::Host::get_insecure_random_bytes(self.ctx().ctx.random(), count)?,
        };
        self.drawn(bytes)
    }

    fn get_insecure_random_u64(&mut self) -> Result<u64> {
        let number = match &mut self.chance {
            Some(chance) => halves(chance.number()).0,
            None => insecure::Host::get_insecure_random_u64(self.ctx().ctx.random())?,
        };
        self.drawn_number(number)
    }
}

impl insecure_seed::Host for &mut GuestState {
    fn get_insecure_seed(&mut self) -> Result<(u64, u64)> {
        self.hash_seed()
    }
}

impl seed_p2::Host for &mut GuestState {
    fn insecure_seed(&mut self) -> Result<(u64, u64)> {
        self.hash_seed()
    }
}
