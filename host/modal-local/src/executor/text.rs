//! Output that is there as a whole.

use std::io;

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};

use super::{Chunk, Output, Pin};

/// Bytes in memory, complete.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text(Bytes);

impl Text {
    pub(crate) fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }
}

impl Output for Text {
    fn read(&self, offset: u64) -> BoxFuture<'_, io::Result<Option<Chunk>>> {
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = (skip < self.0.len()).then(|| Chunk {
            start: offset,
            bytes: self.0.slice(skip..),
        });
        async { Ok(rest) }.boxed()
    }

    fn pin(&self, _: u64) -> Option<Pin> {
        None
    }

    fn head(&self) -> Bytes {
        self.0.clone()
    }

    fn kept(&self) -> u64 {
        self.0.len() as u64
    }

    fn discard(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}
