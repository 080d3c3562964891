//! Lines out of pieces of output.

use crate::terminal;
use flavor_host::contract::{Output, OutputStream};
use std::collections::BTreeMap;

/// Puts lines together, for each output of each attempt on its own.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// By step, attempt, and whether it is stderr.
    partial: BTreeMap<(String, u32, bool), Vec<u8>>,
}

/// A line may have any length; beyond this it is shown in parts.
const LONGEST: usize = 64 * 1024;

impl Lines {
    /// Takes a piece, and gives what can be shown: whole lines without their
    /// ends, and parts of very long ones.
    pub(super) fn push(&mut self, output: &Output) -> Vec<Vec<u8>> {
        let is_stderr = output.stream == OutputStream::Stderr;
        let key = (output.step.clone(), output.attempt, is_stderr);
        let partial = self.partial.entry(key).or_default();
        let mut lines = Vec::new();
        for part in output.data.split_inclusive(|byte| *byte == b'\n') {
            partial.extend_from_slice(part);
            if partial.last() == Some(&b'\n') {
                partial.pop();
                lines.push(std::mem::take(partial));
            } else if partial.len() >= LONGEST {
                lines.push(std::mem::take(partial));
            }
        }
        lines
    }

    /// What is left of all steps at the end: lines that never ended.
    pub(super) fn rest(&mut self) -> Vec<(String, Vec<u8>)> {
        std::mem::take(&mut self.partial)
            .into_iter()
            .filter(|(_, partial)| !partial.is_empty())
            .map(|((step, ..), partial)| (step, partial))
            .collect()
    }
}

/// Shows a line on stdout: which step, then the bytes as they are, as far as a
/// terminal can be trusted with them.
pub(super) fn show(step: &str, line: &[u8]) {
    let mut shown = format!("{step} | ").into_bytes();
    match terminal::shows_data() {
        true => shown.extend_from_slice(tame(line).as_bytes()),
        false => shown.extend_from_slice(line),
    }
    shown.push(b'\n');
    // Whoever does not want to read it need not.
    let _ = terminal::put(&shown);
}

/// What a step writes must not move the cursor of the terminal that shows it:
/// control characters are shown, but for tabs and colours.
fn tame(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.strip_suffix('\r').unwrap_or(&text);
    let mut tamed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        match colour(rest) {
            Some(sequence) => {
                tamed.push_str(sequence);
                rest = rest.get(sequence.len()..).unwrap_or_default();
                continue;
            }
            None if c == '\t' || !c.is_control() => tamed.push(c),
            None => tamed.extend(c.escape_default()),
        }
        rest = after;
    }
    tamed
}

/// A sequence that sets colours, at the beginning of a text.
fn colour(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\x1b[")?;
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    match parameters.as_bytes().get(end) {
        Some(b'm') => text.get(.."\x1b[".len() + end + 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Lines, tame};
    use flavor_host::contract::Output;
    use flavor_host::contract::OutputStream::{self, Stderr, Stdout};

    fn output(attempt: u32, stream: OutputStream, data: &[u8]) -> Output {
        Output {
            step: "a".into(),
            attempt,
            stream,
            data: data.into(),
        }
    }

    #[test]
    fn lines_are_put_together_per_attempt_and_stream() {
        let mut lines = Lines::default();
        assert!(lines.push(&output(0, Stdout, b"he")).is_empty());
        assert_eq!(lines.push(&output(0, Stderr, b"oops\n")), [b"oops"]);
        assert_eq!(lines.push(&output(1, Stdout, b"again\n")), [b"again"]);
        assert_eq!(
            lines.push(&output(0, Stdout, b"llo\n\nx")),
            [b"hello".as_slice(), b""]
        );
        assert_eq!(lines.rest(), [("a".to_owned(), b"x".to_vec())]);
    }

    #[test]
    fn very_long_lines_come_in_parts() {
        let mut lines = Lines::default();
        let shown = lines.push(&output(0, Stdout, &vec![b'x'; LONGEST]));
        assert_eq!(shown.len(), 1);
    }

    #[test]
    fn colours_stay_and_the_cursor_does_not_move() {
        assert_eq!(tame(b"\x1b[1;32mok\x1b[0m\tx\r"), "\x1b[1;32mok\x1b[0m\tx");
        assert_eq!(tame(b"\x1b[2Jx\x07"), "\\u{1b}[2Jx\\u{7}");
        assert_eq!(tame(b"\x1b["), "\\u{1b}[");
    }
}
