//! Command lines: split and quoted the way Python's `shlex` does it.

/// Splits a text into words as a POSIX shell does, and nothing more: there are no
/// comments, variables, patterns, pipes or continued lines.
///
/// # Errors
///
/// When a quote or an escape has no end.
pub fn split(text: &str) -> Result<Vec<String>, SplitError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\'' => single_quoted(&mut rest, word.get_or_insert_default())?,
            '"' => double_quoted(&mut rest, word.get_or_insert_default())?,
            '\\' => {
                let escaped = rest.next().ok_or(SplitError::Escape)?;
                word.get_or_insert_default().push(escaped);
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Up to the next quote, everything as it is.
fn single_quoted(
    rest: &mut impl Iterator<Item = char>,
    word: &mut String,
) -> Result<(), SplitError> {
    loop {
        match rest.next().ok_or(SplitError::Quotation)? {
            '\'' => return Ok(()),
            c => word.push(c),
        }
    }
}

/// Up to the next quote; a backslash takes its meaning from a quote and from
/// another backslash, and stands for itself before anything else.
fn double_quoted(
    rest: &mut impl Iterator<Item = char>,
    word: &mut String,
) -> Result<(), SplitError> {
    loop {
        match rest.next().ok_or(SplitError::Quotation)? {
            '"' => return Ok(()),
            '\\' => match rest.next().ok_or(SplitError::Escape)? {
                c @ ('"' | '\\') => word.push(c),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

/// Why a text cannot be split. Worded as Python words it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A quote is opened and not closed.
    #[error("No closing quotation")]
    Quotation,
    /// A backslash stands last.
    #[error("No escaped character")]
    Escape,
}

/// Joins words into a text that a POSIX shell would split into the same words.
pub fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(quoted).collect();
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    match !word.is_empty() && word.chars().all(is_safe) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\"'\"'")),
    }
}

#[cfg(test)]
mod tests {
    use super::{SplitError, join, split};
    use proptest::prelude::*;

    #[test]
    fn quotes_and_escapes() {
        for (text, words) in [
            ("", vec![]),
            (" \t\r\n ", vec![]),
            ("a''b \"\" '' c", vec!["ab", "", "", "c"]),
            (r#"'a\'b "a\"b\\c\$d" \'"#, vec![r"a\b", r#"a"b\c\$d"#, "'"]),
            ("a\\\nb", vec!["a\nb"]),
            ("a#b #c $d|e>f", vec!["a#b", "#c", "$d|e>f"]),
            ("a\u{a0}b\u{b}c", vec!["a\u{a0}b\u{b}c"]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text:?}");
        }
    }

    #[test]
    fn what_has_no_end_is_refused() {
        for (text, error) in [
            ("'a", SplitError::Quotation),
            ("a \"b", SplitError::Quotation),
            ("a\\", SplitError::Escape),
            ("\"a\\", SplitError::Escape),
        ] {
            assert_eq!(split(text), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn joined_words_are_split_again(words in proptest::collection::vec("\\PC*|[ '\"\\\\\n]*", 0..6)) {
            let text = join(words.iter().map(String::as_str));
            prop_assert_eq!(split(&text).unwrap(), words);
        }
    }
}
