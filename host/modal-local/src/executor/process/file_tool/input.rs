//! What is written into the tool.

use std::{
    io,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use cap_std::fs::File;
use futures::{FutureExt, future::BoxFuture};
use tokio::sync::mpsc;

use super::failure::Failure;
use crate::{executor::Input, limits, sync::lock};

/// The input of an operation that reads none.
#[derive(Debug)]
pub(super) struct Closed;

impl Input for Closed {
    fn write(&self, _: Bytes) -> BoxFuture<'_, io::Result<usize>> {
        async { Err(io::ErrorKind::BrokenPipe.into()) }.boxed()
    }

    fn close(&self) -> BoxFuture<'_, io::Result<()>> {
        async { Ok(()) }.boxed()
    }
}

/// The sending side of an upload.
#[derive(Debug)]
struct Sender(Mutex<Option<mpsc::Sender<Part>>>);

pub(super) type Receiver = mpsc::Receiver<Part>;

#[derive(Debug)]
pub(super) enum Part {
    Data(Bytes),
    End,
}

/// The way from a client's writes to the file.
pub(super) fn upload() -> (Arc<dyn Input>, Receiver) {
    let (sender, receiver) = mpsc::channel(limits::UPLOAD_QUEUE);
    (Arc::new(Sender(Mutex::new(Some(sender)))), receiver)
}

impl Sender {
    async fn send(&self, part: Part) -> io::Result<()> {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        let sender = lock(&self.0).clone().ok_or_else(broken)?;
        // Dropped while it waits, it has sent nothing.
        sender.reserve().await.map_err(|_| broken())?.send(part);
        Ok(())
    }
}

impl Input for Sender {
    fn write(&self, bytes: Bytes) -> BoxFuture<'_, io::Result<usize>> {
        async move {
            let length = bytes.len();
            self.send(Part::Data(bytes)).await?;
            Ok(length)
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, io::Result<()>> {
        async move {
            self.send(Part::End).await?;
            drop(lock(&self.0).take());
            Ok(())
        }
        .boxed()
    }
}

/// A file that is being written.
pub(super) struct Upload(pub(super) File);

impl Upload {
    /// Writes what comes until the end; `false` when it never came. Blocks.
    pub(super) fn take(mut self, mut parts: Receiver) -> Result<bool, Failure> {
        while let Some(part) = parts.blocking_recv() {
            match part {
                Part::Data(bytes) => io::Write::write_all(&mut self.0, &bytes)?,
                Part::End => return Ok(true),
            }
        }
        Ok(false)
    }
}
