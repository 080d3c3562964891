//! The terminal as indicatif draws on it.
//!
//! indicatif panics when its bars cannot be drawn while something else is
//! written. A run goes on when its terminal is closed, so drawing never fails
//! here.

use indicatif::TermLike;
use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

/// stderr, which is a terminal. What is drawn waits for the next flush.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    waiting: Mutex<String>,
}

/// Columns and rows of a terminal that does not tell.
const USUAL: (u16, u16) = (80, 24);

impl Screen {
    fn add(&self, text: &str) -> io::Result<()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_str(text);
        Ok(())
    }

    /// Moves the cursor: `A` up, `B` down, `C` right, `D` left.
    fn r#move(&self, count: usize, direction: char) -> io::Result<()> {
        match count {
            // To a terminal 0 is 1.
            0 => Ok(()),
            count => self.add(&format!("\x1b[{count}{direction}")),
        }
    }
}

fn size() -> (u16, u16) {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
        _ => USUAL,
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        size().0
    }

    fn height(&self) -> u16 {
        size().1
    }

    fn move_cursor_up(&self, count: usize) -> io::Result<()> {
        self.r#move(count, 'A')
    }

    fn move_cursor_down(&self, count: usize) -> io::Result<()> {
        self.r#move(count, 'B')
    }

    fn move_cursor_right(&self, count: usize) -> io::Result<()> {
        self.r#move(count, 'C')
    }

    fn move_cursor_left(&self, count: usize) -> io::Result<()> {
        self.r#move(count, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.add(text)?;
        self.add("\n")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.add(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.add("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let text = std::mem::take(&mut *waiting);
        let _ = io::stderr().write_all(text.as_bytes());
        Ok(())
    }
}
