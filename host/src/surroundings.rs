//! What plugins find around them when it is not to be this machine's: for
//! simulations, and for host apps that have a network of their own.
//!
//! Nothing here widens what a plugin may do: a [`Transport`] is asked only after the
//! policy has said yes, and the credentials are the host's to add.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Where a host's plugins are. The default is this machine: its network, its time
/// of day, its chance.
///
/// Cheap to clone. Waiting always goes through tokio's clock, whatever is set here:
/// whoever pauses that one has the plugins live in virtual time.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The way to servers; none: the network.
    pub transport: Option<Arc<dyn Transport>>,
    /// The time of day; none: the system's when an instance is made, and tokio's
    /// clock from there on.
    pub clock: Option<Arc<dyn WallClock>>,
    /// All chance; none: the operating system's.
    pub seed: Option<Seed>,
    /// Hears of every import call that does not go through the transport or the run
    /// store.
    pub observer: Option<Arc<dyn Observer>>,
    /// Whether a guest that computes is made to let others have a turn now and then.
    /// When, depends on real time: simulations say no, and a guest that spins is
    /// still ended at its limit.
    pub uninterrupted: bool,
}

/// A body on its way through a [`Transport`].
pub type TransportBody = UnsyncBoxBody<Bytes, SendError>;

/// What comes of a request.
pub type Sending =
    Pin<Box<dyn Future<Output = Result<http::Response<TransportBody>, SendError>> + Send>>;

/// Carries requests that the policy has allowed, with the credentials in them, in
/// place of the network.
///
/// No name is looked up and no address judged: where a request ends up is the
/// transport's affair. The body must be read to its end, trailers included, unless
/// the request fails. A request that the guest no longer wants is dropped.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends one request. Its URI is absolute.
    fn send(&self, request: http::Request<TransportBody>) -> Sending;
}

/// Why a request, or what is left of its answer, does not arrive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Nobody listens there.
    #[error("the connection was refused")]
    Refused,
    /// Nothing was heard for too long.
    #[error("the connection timed out")]
    TimedOut,
    /// The connection broke off.
    #[error("the connection was reset")]
    Reset,
    /// The host gave the body up: it broke a limit, or the guest dropped it.
    #[error("the body was given up")]
    GivenUp,
}

/// The time of day.
pub trait WallClock: fmt::Debug + Send + Sync {
    /// Time since 1970, which may jump.
    fn now(&self) -> Duration;
}

/// The seed of all chance that plugins meet. Clones count instances together: each
/// gets chance of its own, the first one of every equal seed the same.
#[derive(Debug, Clone)]
pub struct Seed {
    bytes: [u8; 32],
    instances: Arc<AtomicU64>,
}

impl Seed {
    /// A seed.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self {
            bytes,
            instances: Arc::default(),
        }
    }

    /// The chance of the next instance.
    pub(crate) fn next_instance(&self) -> Chance {
        let number = self.instances.fetch_add(1, Ordering::Relaxed);
        let seed = Sha256::new()
            .chain_update(self.bytes)
            .chain_update(number.to_le_bytes());
        Chance {
            seed: seed.finalize().into(),
            counter: 0,
        }
    }
}

/// The chance of one instance: SHA-256 in counter mode.
#[derive(Debug)]
pub(crate) struct Chance {
    seed: [u8; 32],
    counter: u64,
}

impl Chance {
    fn block(&mut self) -> [u8; 32] {
        let block = Sha256::new()
            .chain_update(self.seed)
            .chain_update(self.counter.to_le_bytes());
        self.counter = self.counter.wrapping_add(1);
        block.finalize().into()
    }

    /// Some random bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count);
        while bytes.len() < count {
            let block = self.block();
            bytes.extend(block.into_iter().take(count - bytes.len()));
        }
        bytes
    }

    /// A random number.
    pub(crate) fn number(&mut self) -> u128 {
        let block = self.block().into_iter().take(16);
        block.fold(0, |number, byte| number << 8 | u128::from(byte))
    }
}

/// Hears what plugins ask of the host.
pub trait Observer: fmt::Debug + Send + Sync {
    /// One call, after it was answered. Called on the thread that the plugin lives
    /// on, which waits.
    fn observe(&self, call: ImportCall<'_>);
}

/// A call of a plugin with its answer. Texts are free of secrets.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum ImportCall<'a> {
    /// It read the monotonic clock: nanoseconds since the instance began.
    Monotonic(u64),
    /// It read the time of day: time since 1970.
    TimeOfDay(Duration),
    /// It begins to wait.
    Wait(Duration),
    /// It has waited.
    Waited(Duration),
    /// It got random bytes.
    Random(&'a [u8]),
    /// It wrote to the log.
    Log {
        /// Its level, in lower case.
        level: &'static str,
        /// The line, as it is written.
        line: &'a str,
    },
    /// It asked for the credentials; whether it got them.
    Credentials(bool),
    /// The policy refused a request, for this reason.
    Refused(&'a str),
    /// A memory of it grew to so many bytes.
    Grown(usize),
}

/// Time as an instance has it.
#[derive(Debug, Clone)]
pub(crate) struct Clocks {
    start: Instant,
    /// Time since 1970 at the start.
    unix: Duration,
    wall: Option<Arc<dyn WallClock>>,
    observer: Option<Arc<dyn Observer>>,
}

impl Clocks {
    /// Clocks that start now.
    pub(crate) fn new(surroundings: &Surroundings) -> Self {
        let unix = match &surroundings.clock {
            Some(_) => Duration::ZERO,
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        };
        Self {
            start: Instant::now(),
            unix,
            wall: surroundings.clock.clone(),
            observer: surroundings.observer.clone(),
        }
    }

    /// Nanoseconds since the start, without telling anyone.
    pub(crate) fn elapsed(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn observe(&self, call: ImportCall<'_>) {
        if let Some(observer) = &self.observer {
            observer.observe(call);
        }
    }

    /// Waits as a guest asked for, on tokio's clock.
    pub(crate) async fn wait(&self, time: Duration) {
        self.observe(ImportCall::Wait(time));
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
        self.observe(ImportCall::Waited(time));
    }
}

impl wasmtime_wasi::HostMonotonicClock for Clocks {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        let now = self.elapsed();
        self.observe(ImportCall::Monotonic(now));
        now
    }
}

impl wasmtime_wasi::HostWallClock for Clocks {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        let now = match &self.wall {
            Some(wall) => wall.now(),
            None => self.unix + self.start.elapsed(),
        };
        self.observe(ImportCall::TimeOfDay(now));
        now
    }
}

#[cfg(test)]
mod tests {
    use super::Seed;

    #[test]
    fn a_seed_repeats_and_instances_differ() {
        let draw = |seed: &Seed| {
            let mut chance = seed.next_instance();
            (chance.bytes(40), chance.number())
        };
        let (one, same, other) = (Seed::new([1; 32]), Seed::new([1; 32]), Seed::new([2; 32]));
        let first = draw(&one);
        assert_eq!(first.0.len(), 40);
        assert_eq!(first, draw(&same));
        assert_ne!(first, draw(&other));
        // The second instance of a clone is not the first again.
        assert_ne!(first, draw(&one.clone()));
        assert_eq!(draw(&one), {
            draw(&same);
            draw(&same)
        });
    }
}
