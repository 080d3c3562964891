//! Copies a pipe, or a terminal, into a log.

use std::{io, os::fd::OwnedFd};

use bytes::BytesMut;
use rustix::{io::Errno, pipe::fcntl_setpipe_size};
use tokio::net::unix::pipe::Receiver;

use super::log::Appender;
use crate::limits;

/// Reads to the end. The next read waits until the last one is kept, so that a
/// command that writes faster than the disk waits for it. The descriptor does
/// not block; without one the stream is empty.
pub(super) async fn capture(source: Option<OwnedFd>, mut log: Appender) {
    let Some(source) = source else { return };
    let result = async {
        // A terminal is not a pipe, but as good.
        let pipe = Receiver::from_owned_fd_unchecked(source)?;
        let mut size = limits::CAPTURE_BUFFER;
        loop {
            pipe.readable().await?;
            // Allocated only when there is something to read: an idle sandbox
            // holds no buffer.
            let mut buffer = BytesMut::with_capacity(size);
            match pipe.try_read_buf(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => {
                    if read >= size {
                        size = grow(&pipe, size);
                    }
                    log.append(buffer.freeze()).await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // So ends a terminal that nobody holds any more.
                Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    };
    let result: io::Result<()> = result.await;
    if let Err(error) = result {
        tracing::warn!(%error, "output cannot be read");
    }
}

/// Makes a full pipe larger, so that a command that writes a lot waits less
/// often, and tells its size. Few commands do, and the system grants a user
/// only so much.
fn grow(pipe: &Receiver, size: usize) -> usize {
    if size >= limits::FULL_PIPE {
        return size;
    }
    match fcntl_setpipe_size(pipe, limits::FULL_PIPE) {
        Ok(granted) => granted.clamp(size, limits::FULL_PIPE),
        // A terminal, or too many already.
        Err(_) => size,
    }
}
