//! Bounds the CPU that a guest uses before it returns to the host.

use crate::limits::EPOCH_TICK;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use wasmtime::{Store, UpdateDeadline};

/// Counts epoch ticks that find the guest at work without a return in between.
///
/// At each tick the guest is made to yield, so that the host's other work gets
/// its turn. Yielding is no return: the count begins anew when the guest has
/// nothing to do for a moment, or when it has asked the host for something that
/// it has to wait for. One that looks after thousands of requests may always have
/// something to do.
#[derive(Debug, Clone)]
pub(crate) struct CpuMeter {
    shared: Arc<Shared>,
}

/// What a tick means to a guest that computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turns {
    /// It yields.
    Shared,
    /// It goes on, up to its limit: what it does depends on no real time.
    Uninterrupted,
}

#[derive(Debug)]
struct Shared {
    turns: Turns,
    limit: u64,
    ticks: AtomicU64,
    yielded: AtomicBool,
    exceeded: AtomicBool,
    asked: Arc<AtomicBool>,
}

impl CpuMeter {
    /// `asked` is set by whatever the guest has to wait for.
    pub(crate) fn new(limit: Duration, asked: Arc<AtomicBool>, turns: Turns) -> Self {
        let ticks = limit.as_millis().div_ceil(EPOCH_TICK.as_millis().max(1));
        Self {
            shared: Arc::new(Shared {
                turns,
                limit: u64::try_from(ticks).unwrap_or(u64::MAX),
                ticks: AtomicU64::new(0),
                yielded: AtomicBool::new(false),
                exceeded: AtomicBool::new(false),
                asked,
            }),
        }
    }

    /// Puts a store under this meter.
    pub(crate) fn govern<T: 'static>(&self, store: &mut Store<T>) {
        let shared = Arc::clone(&self.shared);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            if shared.asked.swap(false, Ordering::Relaxed) {
                shared.ticks.store(0, Ordering::Relaxed);
            }
            if shared.ticks.fetch_add(1, Ordering::Relaxed) >= shared.limit {
                shared.exceeded.store(true, Ordering::Relaxed);
                return Ok(UpdateDeadline::Interrupt);
            }
            if shared.turns == Turns::Uninterrupted {
                return Ok(UpdateDeadline::Continue(1));
            }
            shared.yielded.store(true, Ordering::Relaxed);
            Ok(UpdateDeadline::Yield(1))
        });
    }

    /// Whether a guest was ended by it.
    pub(crate) fn exceeded(&self) -> bool {
        self.shared.exceeded.load(Ordering::Relaxed)
    }

    /// Wraps all work of a store. Polled again after anything but a yield, the
    /// guest had returned.
    pub(crate) fn metered<F: Future>(&self, work: F) -> Metered<F> {
        Metered {
            shared: Arc::clone(&self.shared),
            work: Box::pin(work),
        }
    }
}

/// Work of a store, metered.
#[derive(Debug)]
pub(crate) struct Metered<F> {
    shared: Arc<Shared>,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if !self.shared.yielded.swap(false, Ordering::Relaxed) {
            self.shared.ticks.store(0, Ordering::Relaxed);
        }
        self.work.as_mut().poll(cx)
    }
}
