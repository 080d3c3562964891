//! The WebAssembly engine: its settings, its clock for CPU limits, and the cache
//! of compiled code.

mod cache;
mod cpu;
mod ticker;

pub(crate) use cache::CompiledCache;
pub(crate) use cpu::{CpuMeter, Turns};
pub(crate) use ticker::{Ticker, Ticking};

use crate::limits::GUEST_STACK;
use wasmtime::{Config, OptLevel};

/// Settings that every instance shares. They are part of the key of compiled
/// code.
///
/// Garbage collection and exceptions are off: no plugin needs them, and what a
/// guest cannot use it cannot attack.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_component_model_async(true)
        .wasm_gc(false)
        .wasm_exceptions(false)
        .epoch_interruption(true)
        .async_stack_size(2 * GUEST_STACK)
        .max_wasm_stack(GUEST_STACK)
        .cranelift_opt_level(OptLevel::Speed);
    config
}
