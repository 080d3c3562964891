//! The pipes, or the terminal, between a command and the server.

use std::{
    fmt, io,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use rustix::{
    fs::{Mode, OFlags, open},
    io::ioctl_fionbio,
    pipe::{PipeFlags, fcntl_setpipe_size, pipe_with},
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{SpecialCodeIndex, Winsize, tcgetattr, tcsetwinsize},
};
use tokio::net::unix::pipe::Sender;

use crate::{
    executor::{Input, Stderr, Stdio, WindowSize},
    limits,
    sync::lock,
};

/// The server's ends. They do not block.
#[derive(Debug)]
pub(super) struct Channels {
    pub(super) input: OwnedFd,
    /// What ends the input of a terminal; a pipe is closed.
    pub(super) end_of_input: Option<u8>,
    /// `None` where output goes nowhere.
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
}

/// The command's ends.
pub(super) struct Ends {
    pub(super) input: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

impl Channels {
    pub(super) fn open(stdio: Stdio) -> io::Result<(Self, Ends)> {
        match stdio {
            Stdio::Pipes { stdout, stderr } => Self::pipes(stdout, stderr),
            Stdio::Terminal(size) => Self::terminal(size),
        }
    }

    fn pipes(stdout: bool, stderr: Stderr) -> io::Result<(Self, Ends)> {
        let (input_end, input) = pipe()?;
        ioctl_fionbio(&input, true)?;
        let (stdout, stdout_end) = output_pipe(stdout)?;
        let (stderr, stderr_end) = match stderr {
            Stderr::Stdout => (
                None,
                stdout_end.as_ref().map(OwnedFd::try_clone).transpose()?,
            ),
            Stderr::Pipe => output_pipe(true)?,
            Stderr::Nowhere => output_pipe(false)?,
        };
        let ends = Ends {
            input: input_end,
            stdout: stdout_end.map_or_else(nowhere, Ok)?,
            stderr: stderr_end.map_or_else(nowhere, Ok)?,
        };
        let channels = Self {
            input,
            end_of_input: None,
            stdout,
            stderr,
        };
        Ok((channels, ends))
    }

    fn terminal(size: WindowSize) -> io::Result<(Self, Ends)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let terminal = ioctl_tiocgptpeer(&master, flags)?;
        tcsetwinsize(
            &master,
            Winsize {
                ws_row: size.rows,
                ws_col: size.columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            },
        )?;
        ioctl_fionbio(&master, true)?;
        let end_of_input = tcgetattr(&terminal)?.special_codes[SpecialCodeIndex::VEOF];
        let ends = Ends {
            input: terminal.try_clone()?,
            stdout: terminal.try_clone()?,
            stderr: terminal,
        };
        let channels = Self {
            input: master.try_clone()?,
            end_of_input: Some(end_of_input),
            stdout: Some(master),
            stderr: None,
        };
        Ok((channels, ends))
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

fn nowhere() -> io::Result<OwnedFd> {
    Ok(open(
        c"/dev/null",
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

fn output_pipe(wanted: bool) -> io::Result<(Option<OwnedFd>, Option<OwnedFd>)> {
    if !wanted {
        return Ok((None, None));
    }
    let (read, write) = pipe()?;
    ioctl_fionbio(&read, true)?;
    Ok((Some(read), Some(write)))
}

/// The way into a command.
pub(super) struct CommandInput {
    /// `None` once it is closed.
    sender: Mutex<Option<Arc<Sender>>>,
    end_of_input: Option<u8>,
    grown: AtomicBool,
}

impl fmt::Debug for CommandInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CommandInput")
    }
}

impl CommandInput {
    pub(super) fn new(descriptor: OwnedFd, end_of_input: Option<u8>) -> io::Result<Arc<Self>> {
        // A terminal is not a pipe, but as good.
        let sender = Sender::from_owned_fd_unchecked(descriptor)?;
        Ok(Arc::new(Self {
            sender: Mutex::new(Some(Arc::new(sender))),
            end_of_input,
            grown: AtomicBool::new(false),
        }))
    }

    /// Lets go of the descriptor.
    pub(super) fn release(&self) {
        drop(lock(&self.sender).take());
    }

    /// Makes a full pipe larger, once: what is written a lot waits less often.
    fn grow(&self, sender: &Sender) {
        if !self.grown.swap(true, Ordering::Relaxed) {
            // A terminal cannot grow, and the system grants a user only so much.
            let _ = fcntl_setpipe_size(sender, limits::FULL_PIPE);
        }
    }

    fn sender(&self) -> io::Result<Arc<Sender>> {
        let sender = lock(&self.sender).clone();
        sender.ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

impl Input for CommandInput {
    fn write(&self, bytes: Bytes) -> BoxFuture<'_, io::Result<usize>> {
        async move {
            let sender = self.sender()?;
            loop {
                sender.writable().await?;
                match sender.try_write(&bytes) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Ok(written) if written < bytes.len() => {
                        self.grow(&sender);
                        return Ok(written);
                    }
                    written => return written,
                }
            }
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, io::Result<()>> {
        async move {
            if let Some(end) = self.end_of_input {
                // A terminal stays: the command may print.
                self.write(Bytes::copy_from_slice(&[end])).await?;
            } else {
                self.release();
            }
            Ok(())
        }
        .boxed()
    }
}
