//! Bytes to text, in pieces.

/// Decodes UTF-8 as it comes: a character cut in two waits for its rest, and
/// what can be none becomes U+FFFD.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The start of a character: at most three bytes.
    pending: Vec<u8>,
}

impl Decoder {
    /// The text of the bytes so far that is not yet returned.
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        let mut joined = std::mem::take(&mut self.pending);
        joined.extend_from_slice(bytes);
        let mut text = String::with_capacity(joined.len());
        let mut chunks = joined.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            let invalid = chunk.invalid();
            if invalid.is_empty() {
                continue;
            }
            if chunks.peek().is_none() && is_start(invalid) {
                self.pending = invalid.to_vec();
            } else {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }

    /// What is left at the end, or before a gap.
    pub(super) fn finish(&mut self) -> String {
        let cut = !std::mem::take(&mut self.pending).is_empty();
        if cut {
            char::REPLACEMENT_CHARACTER.to_string()
        } else {
            String::new()
        }
    }

    /// Bytes that were pushed and not yet returned.
    pub(super) fn pending(&self) -> u64 {
        self.pending.len() as u64
    }
}

/// Whether more bytes could make a character of these.
fn is_start(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> String {
        let mut decoder = Decoder::default();
        let mut text: String = pieces.iter().map(|piece| decoder.push(piece)).collect();
        text.push_str(&decoder.finish());
        text
    }

    #[test]
    fn a_cut_anywhere_changes_nothing() {
        let text = "naïve ↯ 🦀\u{10FFFF}\n";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let bytes = text.as_bytes();
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(decode(&pieces), text);
            }
        }
    }

    #[test]
    fn what_is_no_text_is_replaced_as_the_standard_library_does() {
        let cases: [&[u8]; 6] = [
            b"\xff",
            b"a\xe2\x82b",
            b"\xf0\x9f\xa6",
            b"\x80\x80",
            b"\xc0\xaf",
            b"\xed\xa0\x80x",
        ];
        for bytes in cases {
            let whole = String::from_utf8_lossy(bytes);
            for cut in 0..=bytes.len() {
                assert_eq!(decode(&[&bytes[..cut], &bytes[cut..]]), whole, "{bytes:x?}");
            }
        }
    }
}
