//! The terminal as a command in a sandbox sees it: every key is a byte for it.

use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr};
use std::io;

/// Rows and columns of a terminal that does not tell.
const USUAL: (u16, u16) = (24, 80);

/// The terminal on standard input, as it was. Dropped, it is so again.
#[derive(Debug)]
pub(crate) struct Raw {
    before: Termios,
}

impl Raw {
    /// From now on keys are bytes, and nothing is echoed.
    ///
    /// # Errors
    ///
    /// When standard input is no terminal.
    pub(crate) fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        again(|| tcsetattr(io::stdin(), OptionalActions::Drain, &raw))?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = again(|| tcsetattr(io::stdin(), OptionalActions::Drain, &self.before));
    }
}

fn again(mut work: impl FnMut() -> rustix::io::Result<()>) -> io::Result<()> {
    loop {
        match work() {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Rows and columns of the terminal on standard input.
pub(crate) fn size() -> (u16, u16) {
    match tcgetwinsize(io::stdin()) {
        Ok(Winsize { ws_row, ws_col, .. }) if ws_row > 0 && ws_col > 0 => (ws_row, ws_col),
        _ => USUAL,
    }
}
