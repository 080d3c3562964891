//! Texts in XML and HTML.

use std::fmt;

/// A text that means itself, in an element and in a quoted attribute.
pub(crate) struct Escaped<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.to_string().chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\t' => write!(f, "{c}")?,
                // XML 1.0 has no way to write the others.
                c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                    write!(f, "{}", c.escape_default())?;
                }
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Escaped;

    #[test]
    fn nothing_ends_an_element_or_an_attribute() {
        let text = Escaped("<a href=\"x\">&'\u{1b}[31m\n");
        assert_eq!(
            text.to_string(),
            "&lt;a href=&quot;x&quot;&gt;&amp;&#39;\\u{1b}[31m\n"
        );
    }
}
