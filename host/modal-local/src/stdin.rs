//! The standard input of a command, as clients write it: at offsets, so that a
//! write can be repeated, and by one writer at a time.

use std::{io, sync::Arc};

use bytes::{Buf, Bytes};
use tokio::sync::{Mutex, watch};

use crate::executor::Input;

/// The input of one command.
#[derive(Debug)]
pub(crate) struct Stdin {
    input: Arc<dyn Input>,
    /// Held while something is written.
    state: Mutex<State>,
    /// Whose turn it is: the newest writer's.
    turn: watch::Sender<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    written: u64,
    closed: bool,
}

/// A write that its client numbers, instead of saying where it starts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NumberedWrite {
    /// From 1; 0 when there was none yet.
    pub(crate) index: u32,
    /// The offset of its first byte.
    pub(crate) start: u64,
}

/// Why bytes were not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StdinError {
    #[error("another writer has taken over")]
    Evicted,
    #[error("stdin has {written} bytes: what starts at {offset} would leave a gap")]
    Gap { written: u64, offset: u64 },
    #[error("stdin was closed after {0} bytes")]
    Closed(u64),
    #[error("the command does not read its stdin any more: it closed it, or ended ({0})")]
    Gone(io::Error),
}

/// The right to write, until the next one asks for it.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    stdin: &'a Stdin,
    turn: u64,
}

impl Stdin {
    pub(crate) fn new(input: Arc<dyn Input>) -> Self {
        Self {
            input,
            state: Mutex::default(),
            turn: watch::Sender::new(0),
        }
    }

    /// Takes over from whoever writes: a client that comes back does not wait
    /// for the connection that it lost.
    pub(crate) fn writer(&self) -> Writer<'_> {
        let mut turn = 0;
        self.turn.send_modify(|newest| {
            *newest = newest.wrapping_add(1);
            turn = *newest;
        });
        Writer { stdin: self, turn }
    }

    /// How many bytes were taken, and whether the end was.
    pub(crate) async fn status(&self) -> (u64, bool) {
        // Whoever writes stops, so that the number holds.
        self.writer();
        let state = self.state.lock().await;
        (state.written, state.closed)
    }
}

impl Writer<'_> {
    /// Writes bytes that start at an offset; those that were taken before are
    /// left out. Waits while the command does not read.
    pub(crate) async fn write(&self, offset: u64, bytes: Bytes) -> Result<(), StdinError> {
        self.while_mine(async {
            let mut state = self.stdin.state.lock().await;
            let bytes = state.rest(offset, bytes)?;
            if !bytes.is_empty() && state.closed {
                return Err(StdinError::Closed(state.written));
            }
            self.push(&mut state, bytes).await
        })
        .await
    }

    /// Has the command read the end. Saying so again changes nothing.
    pub(crate) async fn close(&self) -> Result<(), StdinError> {
        self.while_mine(async {
            let mut state = self.stdin.state.lock().await;
            if state.closed {
                return Ok(());
            }
            let closed = self.stdin.input.close().await;
            state.closed = true;
            closed.map_err(StdinError::Gone)
        })
        .await
    }

    async fn push(&self, state: &mut State, mut bytes: Bytes) -> Result<(), StdinError> {
        while !bytes.is_empty() {
            let input = &self.stdin.input;
            let written = input.write(bytes.clone()).await.map_err(StdinError::Gone)?;
            // Counted without a wait in between: an evicted writer has said
            // exactly how far it came.
            bytes.advance(written.min(bytes.len()));
            state.written += written as u64;
        }
        Ok(())
    }

    async fn while_mine<T>(
        &self,
        work: impl Future<Output = Result<T, StdinError>>,
    ) -> Result<T, StdinError> {
        let mut turn = self.stdin.turn.subscribe();
        tokio::select! {
            biased;
            _ = turn.wait_for(|newest| *newest != self.turn) => Err(StdinError::Evicted),
            done = work => done,
        }
    }
}

impl State {
    /// What of some bytes at an offset is new.
    fn rest(&self, offset: u64, mut bytes: Bytes) -> Result<Bytes, StdinError> {
        let known = self.written.checked_sub(offset).ok_or(StdinError::Gap {
            written: self.written,
            offset,
        })?;
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        bytes.advance(known.min(bytes.len()));
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as StdMutex;

    use futures::{FutureExt, future::BoxFuture};

    use super::*;
    use crate::sync::lock;

    /// Takes a few bytes at a time, and none beyond a number.
    #[derive(Debug, Default)]
    struct Slow {
        taken: StdMutex<Vec<u8>>,
        room: usize,
        closed: StdMutex<bool>,
    }

    impl Input for Slow {
        fn write(&self, bytes: Bytes) -> BoxFuture<'_, io::Result<usize>> {
            async move {
                let part = {
                    let mut taken = lock(&self.taken);
                    let part = bytes.len().min(3).min(self.room - taken.len());
                    taken.extend_from_slice(&bytes[..part]);
                    part
                };
                if part == 0 {
                    std::future::pending::<()>().await;
                }
                Ok(part)
            }
            .boxed()
        }

        fn close(&self) -> BoxFuture<'_, io::Result<()>> {
            *lock(&self.closed) = true;
            async { Ok(()) }.boxed()
        }
    }

    fn slow(room: usize) -> (Arc<Slow>, Stdin) {
        let input = Arc::new(Slow {
            room,
            ..Slow::default()
        });
        (Arc::clone(&input), Stdin::new(input))
    }

    #[tokio::test]
    async fn repeated_bytes_are_taken_once() {
        let (input, stdin) = slow(100);
        let writer = stdin.writer();
        writer
            .write(0, Bytes::from_static(b"hello "))
            .await
            .unwrap();
        // Repeated, and overlapping.
        writer
            .write(0, Bytes::from_static(b"hello "))
            .await
            .unwrap();
        writer
            .write(3, Bytes::from_static(b"lo world"))
            .await
            .unwrap();
        assert_eq!(lock(&input.taken).as_slice(), b"hello world");
        let gap = writer
            .write(12, Bytes::from_static(b"x"))
            .await
            .unwrap_err();
        assert!(matches!(
            gap,
            StdinError::Gap {
                written: 11,
                offset: 12
            }
        ));
        writer.close().await.unwrap();
        writer.close().await.unwrap();
        writer
            .write(5, Bytes::from_static(b" world"))
            .await
            .unwrap();
        let late = writer
            .write(11, Bytes::from_static(b"!"))
            .await
            .unwrap_err();
        assert!(matches!(late, StdinError::Closed(11)));
        assert_eq!(stdin.status().await, (11, true));
    }

    #[tokio::test]
    async fn the_newest_writer_takes_over_where_the_last_one_came_to() {
        let (input, stdin) = slow(5);
        let old = stdin.writer();
        let mut stuck = Box::pin(old.write(0, Bytes::from_static(b"0123456789")));
        assert!(futures::poll!(&mut stuck).is_pending());
        let (status, stuck) = futures::future::join(stdin.status(), stuck).await;
        assert_eq!(status, (5, false));
        assert!(matches!(stuck, Err(StdinError::Evicted)));
        assert!(matches!(old.close().await, Err(StdinError::Evicted)));
        assert_eq!(lock(&input.taken).as_slice(), b"01234");
        assert!(!*lock(&input.closed));
        stdin.writer().close().await.unwrap();
        assert!(*lock(&input.closed));
    }
}
