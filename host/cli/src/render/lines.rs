//! Lines out of pieces of output.

use flavor_host::contract::OutputStream;
use std::collections::HashMap;

/// Puts lines together, for each output of each step on its own.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: HashMap<(String, bool), Vec<u8>>,
}

/// A line may have any length; beyond this it is shown in parts.
const LONGEST: usize = 64 * 1024;

impl Lines {
    /// Takes a piece, and gives what can be shown: whole lines without their
    /// ends, and parts of very long ones.
    pub(super) fn push(&mut self, step: &str, stream: OutputStream, data: &[u8]) -> Vec<Vec<u8>> {
        let key = (step.to_owned(), stream == OutputStream::Stderr);
        let partial = self.partial.entry(key).or_default();
        let mut lines = Vec::new();
        for part in data.split_inclusive(|byte| *byte == b'\n') {
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
        let mut rest: Vec<_> = std::mem::take(&mut self.partial)
            .into_iter()
            .filter(|(_, partial)| !partial.is_empty())
            .map(|((step, _), partial)| (step, partial))
            .collect();
        rest.sort();
        rest
    }
}

/// A line as it is shown: which step, then the bytes as they are.
pub(super) fn labelled(step: &str, line: &[u8]) -> Vec<u8> {
    let mut shown = format!("{step} | ").into_bytes();
    shown.extend_from_slice(line);
    shown.push(b'\n');
    shown
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Lines};
    use flavor_host::contract::OutputStream::{Stderr, Stdout};

    #[test]
    fn lines_are_put_together_per_stream() {
        let mut lines = Lines::default();
        assert!(lines.push("a", Stdout, b"he").is_empty());
        assert_eq!(lines.push("a", Stderr, b"oops\n"), [b"oops"]);
        assert_eq!(
            lines.push("a", Stdout, b"llo\n\nx"),
            [b"hello".as_slice(), b""]
        );
        assert_eq!(lines.rest(), [("a".to_owned(), b"x".to_vec())]);
    }

    #[test]
    fn very_long_lines_come_in_parts() {
        let mut lines = Lines::default();
        let shown = lines.push("a", Stdout, &vec![b'x'; LONGEST]);
        assert_eq!(shown.len(), 1);
    }
}
