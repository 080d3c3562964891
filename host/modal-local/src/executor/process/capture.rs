//! Copies a pipe into a log.

use std::{io, os::fd::OwnedFd};

use bytes::BytesMut;
use tokio::net::unix::pipe::Receiver;

use super::log::Appender;
use crate::limits;

/// Reads a pipe to its end. The next read waits until the last one is kept, so
/// that a command that writes faster than the disk waits for it.
pub(super) async fn capture(pipe: OwnedFd, mut log: Appender) {
    let result = async {
        let pipe = Receiver::from_owned_fd(pipe)?;
        loop {
            pipe.readable().await?;
            // Allocated only when there is something to read: an idle sandbox
            // holds no buffer.
            let mut buffer = BytesMut::with_capacity(limits::CAPTURE_BUFFER);
            match pipe.try_read_buf(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => log.append(buffer.freeze()).await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    };
    let result: io::Result<()> = result.await;
    if let Err(error) = result {
        tracing::warn!(%error, "output cannot be read");
    }
}
