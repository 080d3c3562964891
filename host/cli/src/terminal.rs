//! Writing to stdout and stderr.
//!
//! A reader that goes away (`flavor … | head`) is no failure: what it does not
//! want is dropped.

use crate::screen::Screen;
use indicatif::{MultiProgress, ProgressDrawTarget};
use std::io::{self, IsTerminal as _, Write};
use std::sync::OnceLock;

static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// Redraws a second, at most.
const REDRAWS: u8 = 20;

/// What is drawn on the terminal below all that is written here.
pub(crate) fn bars() -> &'static MultiProgress {
    let screen = || ProgressDrawTarget::term_like_with_hz(Box::<Screen>::default(), REDRAWS);
    BARS.get_or_init(|| MultiProgress::with_draw_target(screen()))
}

/// Writes while nothing is drawn.
fn undisturbed<T>(write: impl FnOnce() -> T) -> T {
    match BARS.get() {
        Some(bars) => bars.suspend(write),
        None => write(),
    }
}

/// Writes a line of data.
pub(crate) fn say(line: &str) {
    let _ = put(format!("{line}\n").as_bytes());
}

/// Writes data as it is.
pub(crate) fn put(data: &[u8]) -> io::Result<()> {
    undisturbed(|| {
        let mut out = io::stdout().lock();
        out.write_all(data)?;
        out.flush()
    })
}

/// Writes a line for people.
pub(crate) fn complain(line: &str) {
    // In one piece: stderr has no buffer, and others may write to it too.
    let line = format!("{line}\n");
    undisturbed(|| {
        let _ = io::stderr().write_all(line.as_bytes());
    });
}

/// Writes diagnostics. Never fails: tracing would report a failure to stderr in a
/// way that panics when stderr itself is gone.
#[derive(Debug)]
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let _ = undisturbed(|| io::stderr().write_all(data));
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether people look at stderr as it is written, on a terminal that can do more
/// than write line after line.
pub(crate) fn is_watched() -> bool {
    let can_draw = std::env::var_os("TERM").is_some_and(|name| name != "dumb");
    io::stderr().is_terminal() && can_draw
}

/// Whether people look at stdout.
pub(crate) fn shows_data() -> bool {
    // Asked for every line that a step writes.
    static SHOWS: OnceLock<bool> = OnceLock::new();
    *SHOWS.get_or_init(|| io::stdout().is_terminal())
}

/// Whether the user has nothing against colours (<https://no-color.org>).
pub(crate) fn wants_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|text| text.is_empty())
}

/// A text without control characters, which could make a terminal do things;
/// line breaks and tabs stay.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => safe.push(c),
            c if c.is_control() => safe.extend(c.escape_default()),
            c => safe.push(c),
        }
    }
    safe
}

/// Rows with aligned columns, two blanks apart.
pub(crate) fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::{escape, table};

    #[test]
    fn control_characters_are_shown_not_obeyed() {
        assert_eq!(
            escape("a\x1b[31mb\r\nc\td\u{9b}"),
            "a\\u{1b}[31mb\\r\nc\td\\u{9b}"
        );
    }

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["a".into(), "bb".into()],
            vec!["cccc".into(), "d".into()],
        ];
        assert_eq!(table(&rows), ["a     bb", "cccc  d"]);
    }
}
