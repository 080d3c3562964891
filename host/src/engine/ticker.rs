//! Moves the engine's epoch on while instances live.

use crate::limits::EPOCH_TICK;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use wasmtime::Engine;

/// A thread of its own: a guest that spins may hold every thread of the async
/// runtime, but not this one. It sleeps while no instance lives.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
}

/// Keeps the ticker ticking while it lives.
#[derive(Debug)]
pub(crate) struct Ticking {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    instances: usize,
    ended: bool,
}

impl Ticker {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let engine = engine.weak();
        thread::Builder::new()
            .name("flavor-epoch".to_owned())
            .spawn(move || {
                while of_thread.wait_for_tick() {
                    match engine.upgrade() {
                        Some(engine) => engine.increment_epoch(),
                        None => return,
                    }
                }
            })?;
        Ok(Self { shared })
    }

    /// Ticks until the result is dropped.
    pub(crate) fn tick(&self) -> Ticking {
        self.shared.update(|state| state.instances += 1);
        Ticking {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.update(|state| state.ended = true);
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.shared
            .update(|state| state.instances = state.instances.saturating_sub(1));
    }
}

impl Shared {
    /// Returns after a tick's time with an instance alive; false at the end.
    fn wait_for_tick(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |state: &mut State| state.instances == 0 && !state.ended;
        let state = self
            .changed
            .wait_while(state, idle)
            .unwrap_or_else(PoisonError::into_inner);
        let (state, _) = self
            .changed
            .wait_timeout_while(state, EPOCH_TICK, |state| !state.ended)
            .unwrap_or_else(PoisonError::into_inner);
        !state.ended
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}
