//! What is written into the tool.

use std::{
    io, mem,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use cap_std::fs::File;
use futures::{FutureExt, future::BoxFuture};
use tokio::sync::{mpsc, watch};

use super::{blocking, failure::Failure};
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

/// The input of an operation that goes on until its end.
#[derive(Debug)]
pub(super) struct UntilEnd(watch::Sender<bool>);

impl UntilEnd {
    pub(super) fn new() -> (Arc<Self>, watch::Receiver<bool>) {
        let (sender, receiver) = watch::channel(false);
        (Arc::new(Self(sender)), receiver)
    }
}

impl Input for UntilEnd {
    /// Nobody reads it.
    fn write(&self, bytes: Bytes) -> BoxFuture<'_, io::Result<usize>> {
        async move { Ok(bytes.len()) }.boxed()
    }

    fn close(&self) -> BoxFuture<'_, io::Result<()>> {
        self.0.send_replace(true);
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
    /// Writes what comes until the end; `false` when it never came. Whoever
    /// sends nothing costs no thread.
    pub(super) async fn take(self, mut parts: Receiver) -> Result<bool, Failure> {
        let mut file = self.0;
        let mut batch = Vec::with_capacity(limits::UPLOAD_QUEUE);
        while parts.recv_many(&mut batch, limits::UPLOAD_QUEUE).await > 0 {
            let is_last = batch.iter().any(|part| matches!(part, Part::End));
            let written = mem::take(&mut batch);
            file = blocking(move || {
                for part in written {
                    if let Part::Data(bytes) = part {
                        io::Write::write_all(&mut file, &bytes)?;
                    }
                }
                Ok(file)
            })
            .await?;
            if is_last {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
