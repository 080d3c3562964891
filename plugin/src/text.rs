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

#[cfg(test)]
mod tests {
    use super::{first_chars, non_blank, strip};

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
}
