//! Text rules that the original gets from Python.

/// Strips white space from both ends the way Python's `str.strip` does: what
/// Unicode calls white space, and U+001C to U+001F besides.
pub fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

/// A stripped text, or none when nothing is left. ZenML treats a blank option
/// like an absent one.
pub fn non_blank(text: Option<&str>) -> Option<&str> {
    text.map(strip).filter(|text| !text.is_empty())
}

/// At most the first `limit` code points of a text. Python counts lengths that
/// way, bytes would cut names with other letters too early.
pub fn first_chars(text: &str, limit: usize) -> &str {
    text.char_indices()
        .nth(limit)
        .and_then(|(end, _)| text.get(..end))
        .unwrap_or(text)
}

/// A text in quotes, the way Python's `repr` writes it.
pub fn quoted(text: &str) -> String {
    let quote = match text.contains('\'') && !text.contains('"') {
        true => '"',
        false => '\'',
    };
    let mut quoted = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\\' => quoted.push_str("\\\\"),
            c if c == quote => quoted.extend(['\\', c]),
            c if is_printable(c) => quoted.push(c),
            c if u32::from(c) <= 0xff => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if u32::from(c) <= 0xffff => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    quoted.push(quote);
    quoted
}

/// Whether Python shows a character as it is. Rust's own escaping follows the same
/// categories of Unicode; behind a letter it leaves accents alone, as Python does.
fn is_printable(c: char) -> bool {
    matches!(c, '\'' | '"') || String::from_iter(['a', c]).escape_debug().nth(1) == Some(c)
}

#[cfg(test)]
mod tests {
    use super::{first_chars, non_blank, quoted, strip};

    #[test]
    fn strips_what_python_strips() {
        assert_eq!(strip("\u{1c}\u{85}\u{a0}\u{2003} T4 \u{3000}\u{1f}"), "T4");
        assert_eq!(strip("\u{200b}T4\u{feff}"), "\u{200b}T4\u{feff}");
        assert_eq!(non_blank(Some(" \t\r\n\u{b}\u{c} ")), None);
    }

    #[test]
    fn counts_code_points() {
        assert_eq!(first_chars("жжж", 2), "жж");
        assert_eq!(first_chars("ab", 2), "ab");
        assert_eq!(first_chars("", 2), "");
    }

    #[test]
    fn quotes_like_python() {
        for (text, expected) in [
            ("", "''"),
            ("it's", "\"it's\""),
            ("it's \"so\"", "'it\\'s \"so\"'"),
            ("a\\b\n\r\t\0\u{7f}", "'a\\\\b\\n\\r\\t\\x00\\x7f'"),
            ("\u{a0}\u{ad}\u{2028}\u{e000}", "'\\xa0\\xad\\u2028\\ue000'"),
            ("é\u{301}🚀\u{e0001}", "'é\u{301}🚀\\U000e0001'"),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}
