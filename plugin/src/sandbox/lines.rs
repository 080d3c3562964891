//! Lines out of pieces of output.

use crate::limits;
use bytes::Bytes;
use futures::stream::{Stream, StreamExt as _, iter, once};
use std::future::ready;
use std::mem::take;

/// Puts pieces of output together and takes them apart into lines.
///
/// A line ends with `\n` and keeps it; `\r` is a character like any other. Bytes
/// that are no UTF-8 become U+FFFD, one for each part that cannot be the
/// beginning of a character. How the output was cut into pieces makes no
/// difference: ZenML 0.98.0 decodes piece by piece and garbles every character
/// that lies across a cut.
///
/// A line longer than [`limits::LINE`] bytes comes in several parts, all but the
/// last without `\n`.
#[derive(Debug, Clone, Default)]
pub struct LineBuffer {
    /// The beginning of a character, at most three bytes.
    begun: Vec<u8>,
    line: String,
}

impl LineBuffer {
    /// Takes the next piece and gives the lines that it ends.
    pub fn push(&mut self, piece: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        if self.begun.is_empty() {
            self.decode(piece, &mut lines);
        } else {
            let mut joined = take(&mut self.begun);
            joined.extend_from_slice(piece);
            self.decode(&joined, &mut lines);
        }
        lines
    }

    /// What is left at the end of the output.
    pub fn finish(mut self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.begun.is_empty() {
            self.append("\u{fffd}", &mut lines);
        }
        lines.extend(Some(self.line).filter(|line| !line.is_empty()));
        lines
    }

    fn decode(&mut self, bytes: &[u8], lines: &mut Vec<String>) {
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            self.append(chunk.valid(), lines);
            if chunk.invalid().is_empty() {
                continue;
            }
            if chunks.peek().is_none() && may_go_on(chunk.invalid()) {
                self.begun.extend_from_slice(chunk.invalid());
            } else {
                self.append("\u{fffd}", lines);
            }
        }
    }

    fn append(&mut self, text: &str, lines: &mut Vec<String>) {
        for part in text.split_inclusive('\n') {
            let mut rest = part;
            while self.line.len() + rest.len() > limits::LINE {
                let room = limits::LINE.saturating_sub(self.line.len());
                let (head, tail) = rest
                    .split_at_checked(rest.floor_char_boundary(room))
                    .unwrap_or((rest, ""));
                self.line.push_str(head);
                lines.push(take(&mut self.line));
                rest = tail;
            }
            self.line.push_str(rest);
            if rest.ends_with('\n') {
                lines.push(take(&mut self.line));
            }
        }
    }
}

/// Whether bytes that are no UTF-8 only lack their end.
fn may_go_on(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// The lines of an output. A failure comes after the lines that were whole by
/// then; what was begun of the next one is dropped, as ZenML does.
pub fn lines<E>(
    pieces: impl Stream<Item = Result<Bytes, E>>,
) -> impl Stream<Item = Result<String, E>> {
    let mut buffer = LineBuffer::default();
    pieces
        .map(Some)
        .chain(once(ready(None)))
        .flat_map(move |piece| {
            let lines: Vec<Result<String, E>> = match piece {
                Some(Ok(bytes)) => buffer.push(&bytes).into_iter().map(Ok).collect(),
                Some(Err(error)) => {
                    buffer = LineBuffer::default();
                    vec![Err(error)]
                }
                None => take(&mut buffer).finish().into_iter().map(Ok).collect(),
            };
            iter(lines)
        })
}

#[cfg(test)]
mod tests {
    use super::{LineBuffer, lines};
    use crate::limits;
    use bytes::Bytes;
    use futures::{FutureExt as _, StreamExt as _, stream};
    use proptest::prelude::*;

    fn collect(pieces: &[&[u8]]) -> Vec<String> {
        let mut buffer = LineBuffer::default();
        let mut lines: Vec<String> = Vec::new();
        for piece in pieces {
            lines.extend(buffer.push(piece));
        }
        lines.extend(buffer.finish());
        lines
    }

    #[test]
    fn a_character_may_lie_across_a_cut() {
        let text = "é€🚀\n".as_bytes();
        for cut in 0..=text.len() {
            let (one, other) = text.split_at(cut);
            assert_eq!(collect(&[one, other]), ["é€🚀\n"], "{cut}");
        }
    }

    #[test]
    fn a_character_without_its_end_is_replaced_once() {
        assert_eq!(collect(&[b"a\xf0\x9f", b"\x9a"]), ["a\u{fffd}"]);
        assert_eq!(collect(&[b"\xf0\x9f\x9a", b"A\n"]), ["\u{fffd}A\n"]);
        assert_eq!(collect(&[b"\xe2\x82", b"", b"\n"]), ["\u{fffd}\n"]);
    }

    #[test]
    fn a_line_that_never_ends_comes_in_parts() {
        let mut buffer = LineBuffer::default();
        let piece = "é".repeat(limits::LINE / 4);
        let mut parts = Vec::new();
        for _ in 0..9 {
            parts.extend(buffer.push(piece.as_bytes()));
        }
        parts.extend(buffer.push(b"\n"));
        assert!(parts.iter().all(|part| part.len() <= limits::LINE));
        let whole = parts.concat();
        assert_eq!(whole.len(), 9 * piece.len() + 1);
        assert!(whole.ends_with("é\n") && buffer.finish().is_empty());
    }

    #[test]
    fn a_failure_comes_after_the_lines_before_it() {
        let pieces = stream::iter([Ok(Bytes::from_static(b"a\nb")), Err("broke")]);
        let lines: Vec<_> = lines(pieces).collect().now_or_never().unwrap();
        assert_eq!(lines, [Ok("a\n".to_owned()), Err("broke")]);
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference(
            bytes in proptest::collection::vec(
                prop_oneof![any::<u8>(), Just(b'\n'), Just(0xe2), Just(0x82), Just(0xf0)], 0..200),
            cuts in proptest::collection::vec(0_usize..200, 0..12),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            let lines = collect(&pieces);
            prop_assert_eq!(lines.concat(), String::from_utf8_lossy(&bytes));
            for (index, line) in lines.iter().enumerate() {
                let ends = line.ends_with('\n');
                prop_assert!(ends || index + 1 == lines.len());
                prop_assert_eq!(line.matches('\n').count(), usize::from(ends));
            }
        }
    }
}
