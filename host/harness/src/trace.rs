//! What a run did: every import call with its arguments, its answer and the virtual
//! time, in one hash.

use crate::limits::TRACE_LINES;
use flavor_host::surroundings::{ImportCall, Observer};
use sha2::{Digest as _, Sha256};
use std::fmt::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Hashes everything, and keeps the beginning of it as lines.
///
/// Bytes of messages go into the hash and not into the lines: they may hold tokens.
#[derive(Debug)]
pub(crate) struct Trace {
    start: Instant,
    /// What must be in no log line.
    secrets: Vec<String>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    hash: Sha256,
    calls: u64,
    lines: Vec<String>,
    keeps_lines: bool,
    /// The largest memory of a plugin, in bytes.
    largest: usize,
    /// Log lines with a secret in them.
    leaks: u64,
}

impl Trace {
    /// An empty trace that begins now.
    pub(crate) fn new(keeps_lines: bool, secrets: Vec<String>) -> Self {
        Self {
            start: Instant::now(),
            secrets,
            inner: Mutex::new(Inner {
                hash: Sha256::new(),
                calls: 0,
                lines: Vec::new(),
                keeps_lines,
                largest: 0,
                leaks: 0,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Virtual time since the beginning.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Adds one entry: what happened, and bytes that stand for it.
    pub(crate) fn add(&self, what: fmt::Arguments<'_>, bytes: &[u8]) {
        let at = self.now();
        let mut inner = self.lock();
        inner.calls = inner.calls.saturating_add(1);
        inner.hash.update(at.as_nanos().to_le_bytes());
        let Inner { hash, .. } = &mut *inner;
        // Cannot fail: hashing does not.
        let _ = write!(Hashing(hash), "{what}");
        inner.hash.update([0]);
        inner.hash.update((bytes.len() as u64).to_le_bytes());
        inner.hash.update(bytes);
        if inner.keeps_lines && inner.lines.len() < TRACE_LINES {
            let size = match bytes.len() {
                0 => String::new(),
                size => format!(" ({size} bytes)"),
            };
            let line = format!("{:>14.6} {what}{size}", at.as_secs_f64());
            inner.lines.push(line);
        }
    }

    /// The hash of all entries so far, in hexadecimal digits.
    pub(crate) fn hash(&self) -> String {
        let digest = self.lock().hash.clone().finalize();
        digest.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Entries so far.
    pub(crate) fn entries(&self) -> u64 {
        self.lock().calls
    }

    /// The beginning of it, an entry a line.
    pub(crate) fn take_lines(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().lines)
    }

    /// Log lines with a secret in them.
    pub(crate) fn leaks(&self) -> u64 {
        self.lock().leaks
    }

    /// The largest memory of a plugin, in bytes.
    pub(crate) fn largest(&self) -> usize {
        self.lock().largest
    }
}

/// Hashes text while it is formatted.
struct Hashing<'h>(&'h mut Sha256);

impl fmt::Write for Hashing<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

impl Observer for Trace {
    fn observe(&self, call: ImportCall<'_>) {
        match call {
            ImportCall::Monotonic(now) => self.add(format_args!("clock"), &now.to_le_bytes()),
            ImportCall::TimeOfDay(now) => {
                self.add(format_args!("time of day"), &now.as_nanos().to_le_bytes());
            }
            ImportCall::Wait(time) => self.add(format_args!("wait {time:?}"), &[]),
            ImportCall::Waited(time) => self.add(format_args!("waited {time:?}"), &[]),
            ImportCall::Random(bytes) => self.add(format_args!("random"), bytes),
            ImportCall::Log { level, line } => {
                if self.secrets.iter().any(|secret| line.contains(secret)) {
                    self.lock().leaks += 1;
                }
                self.add(format_args!("log {level} {line}"), &[]);
            }
            ImportCall::Credentials(granted) => {
                self.add(format_args!("credentials: {granted}"), &[]);
            }
            ImportCall::Refused(reason) => self.add(format_args!("refused: {reason}"), &[]),
            ImportCall::Grown(size) => {
                let mut inner = self.lock();
                inner.largest = inner.largest.max(size);
            }
            // Whatever comes later is at least counted.
            _ => self.add(format_args!("something else"), &[]),
        }
    }
}
