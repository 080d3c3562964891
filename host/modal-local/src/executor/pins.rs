//! Readers that a writer must not overrun.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::limits;

/// The positions of a stream's readers.
///
/// A stream of bytes that says nothing about gaps must have none: before the
/// oldest part of a command's output goes, the command waits for whoever has
/// not read it. A reader whose connection broke comes back, so that its place
/// is kept for a while.
#[derive(Debug, Default)]
pub(crate) struct Pins(watch::Sender<Positions>);

#[derive(Debug, Default)]
struct Positions {
    next: u64,
    readers: BTreeMap<u64, Position>,
}

#[derive(Clone, Copy, Debug)]
struct Position {
    offset: u64,
    /// Until when the place of a reader that went away is kept.
    kept_until: Option<Instant>,
}

/// One reader's position. Dropped before the end, it stays for a while, or
/// until another reader starts there or before.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Arc<Pins>,
    reader: u64,
}

impl Pins {
    /// A reader that has everything before an offset.
    pub(crate) fn pin(self: &Arc<Self>, offset: u64) -> Pin {
        let (mut reader, now) = (0, Instant::now());
        self.0.send_modify(|positions| {
            // One that went away at or after this place is the one that comes
            // back: it has not seen all that was sent to it.
            positions
                .readers
                .retain(|_, position| match position.kept_until {
                    Some(until) => position.offset < offset && until > now,
                    None => true,
                });
            reader = positions.next;
            positions.next = positions.next.wrapping_add(1);
            let kept_until = None;
            positions
                .readers
                .insert(reader, Position { offset, kept_until });
        });
        Pin {
            pins: Arc::clone(self),
            reader,
        }
    }

    /// Whether anybody reads.
    pub(crate) fn any(&self) -> bool {
        let positions = self.0.borrow();
        let mut readers = positions.readers.values();
        readers.any(|position| position.kept_until.is_none())
    }

    /// Resolves once every reader has everything before an offset.
    pub(crate) async fn passed(&self, offset: u64) {
        let mut changes = self.0.subscribe();
        loop {
            let behind = {
                let positions = changes.borrow_and_update();
                let behind = positions.readers.values();
                behind
                    .filter(|position| position.offset < offset)
                    .map(|position| position.kept_until)
                    .max_by_key(|kept_until| (kept_until.is_none(), *kept_until))
            };
            match behind {
                None => return,
                // The sender is part of self.
                Some(None) => drop(changes.changed().await),
                Some(Some(until)) => {
                    if timeout_at(until, changes.changed()).await.is_err() {
                        self.expire();
                    }
                }
            }
        }
    }

    fn expire(&self) {
        let now = Instant::now();
        self.0.send_modify(|positions| {
            positions
                .readers
                .retain(|_, position| position.kept_until.is_none_or(|until| until > now));
        });
    }
}

impl Pin {
    /// The reader has everything before an offset.
    pub(crate) fn advance(&self, offset: u64) {
        self.pins.0.send_modify(|positions| {
            if let Some(position) = positions.readers.get_mut(&self.reader) {
                position.offset = offset;
            }
        });
    }

    /// The reader has read everything.
    pub(crate) fn finish(&self) {
        self.pins.0.send_modify(|positions| {
            positions.readers.remove(&self.reader);
        });
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let kept_until = Instant::now().checked_add(limits::READER_RETURN);
        self.pins.0.send_modify(|positions| {
            if let Some(position) = positions.readers.get_mut(&self.reader) {
                position.kept_until = kept_until;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_writer_waits_for_the_slowest_reader() {
        let pins = Arc::new(Pins::default());
        pins.passed(u64::MAX).await;
        let (quick, slow) = (pins.pin(0), pins.pin(0));
        quick.advance(100);
        let mut passed = Box::pin(pins.passed(10));
        assert!(futures::poll!(&mut passed).is_pending());
        slow.advance(9);
        assert!(futures::poll!(&mut passed).is_pending());
        slow.advance(10);
        passed.await;
        slow.finish();
        drop(slow);
        pins.passed(100).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_place_of_a_broken_reader_is_kept_for_a_while() {
        let pins = Arc::new(Pins::default());
        drop(pins.pin(5));
        let mut passed = Box::pin(pins.passed(10));
        assert!(futures::poll!(&mut passed).is_pending());
        // It comes back, and reads on.
        let back = pins.pin(5);
        assert!(futures::poll!(&mut passed).is_pending());
        back.advance(10);
        passed.await;
        // It does not come back.
        drop(back);
        let before = Instant::now();
        pins.passed(11).await;
        assert!(before.elapsed() >= limits::READER_RETURN);
        pins.passed(u64::MAX).await;
    }
}
