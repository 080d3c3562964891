//! What stands in the host's log because of a plugin: its own lines, and what
//! the host has to say about it. Both cost the same budget: a plugin that is
//! refused something a million times must not fill a disk either.

use crate::contract::bindings::zenml::flavor::log::Level;
use crate::limits::{LOG_LINE_OVERHEAD, Limits};
use crate::redact::Redactor;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The log of one plugin instance.
#[derive(Debug)]
pub(crate) struct GuestLog {
    redactor: Redactor,
    line: usize,
    left: AtomicUsize,
    told_full: AtomicBool,
}

impl GuestLog {
    pub(crate) fn new(redactor: Redactor, limits: &Limits) -> Self {
        Self {
            redactor,
            line: limits.log_line_bytes,
            left: AtomicUsize::new(limits.log_bytes),
            told_full: AtomicBool::new(false),
        }
    }

    /// A line of the plugin's own. Gives it as it was written, if it was.
    pub(crate) fn emit(&self, level: Level, message: String) -> Option<String> {
        let message = self.admit(message)?;
        match level {
            Level::Trace => tracing::trace!(target: "plugin", "{message}"),
            Level::Debug => tracing::debug!(target: "plugin", "{message}"),
            Level::Info => tracing::info!(target: "plugin", "{message}"),
            Level::Warn => tracing::warn!(target: "plugin", "{message}"),
            Level::Error => tracing::error!(target: "plugin", "{message}"),
        }
        Some(message)
    }

    /// A line about the plugin.
    pub(crate) fn warn(&self, message: &impl Display) {
        if let Some(message) = self.admit(message.to_string()) {
            tracing::warn!("{message}");
        }
    }

    /// The line as it is written, when there is room for it.
    fn admit(&self, message: String) -> Option<String> {
        let mut message = self.redactor.redact(message);
        if message.len() > self.line {
            message.truncate(message.floor_char_boundary(self.line));
            message.push('…');
        }
        let message = message.escape_debug().to_string();
        let cost = message.len() + LOG_LINE_OVERHEAD;
        // Relaxed: the number is all that is shared.
        let charged = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(cost)
            });
        if charged.is_ok() {
            return Some(message);
        }
        if !self.told_full.swap(true, Ordering::Relaxed) {
            tracing::warn!("the plugin's part of the log is full; lines of it are dropped");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::GuestLog;
    use crate::credentials::Secret;
    use crate::limits::{LOG_LINE_OVERHEAD, Limits};
    use crate::redact::Redactor;

    fn log(line: usize, all: usize) -> GuestLog {
        let limits = Limits {
            log_line_bytes: line,
            log_bytes: all,
            ..Limits::default()
        };
        let redactor = Redactor::new(vec![Secret::new("a-secret")]);
        GuestLog::new(redactor, &limits)
    }

    #[test]
    fn lines_are_cut_escaped_and_free_of_secrets() {
        let log = log(12, 10_000);
        let admitted = |message: &str| log.admit(message.to_owned()).unwrap();
        assert_eq!(admitted("\u{1b}[2J\r\nx"), "\\u{1b}[2J\\r\\nx");
        assert_eq!(admitted("0123456789äöü"), "0123456789ä…");
        // Cut after the secret is gone, so that no part of it is left.
        assert_eq!(admitted("01234567 a-secret"), "01234567 ***");
    }

    #[test]
    fn empty_lines_cost_something_too() {
        let log = log(100, 10 * LOG_LINE_OVERHEAD);
        let admitted = (0..1000).filter(|_| log.admit(String::new()).is_some());
        assert_eq!(admitted.count(), 10);
    }

    #[test]
    fn what_is_written_is_what_counts() {
        let log = log(1000, LOG_LINE_OVERHEAD + 100);
        // 20 bytes that are written as 100.
        assert!(log.admit("\u{1}".repeat(21)).is_none());
        assert!(log.admit("\u{1}".repeat(20)).is_some());
    }
}
