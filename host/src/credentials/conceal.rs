//! Puts opaque texts in place of credentials in documents for a plugin.

use super::Secret;
use serde_json::Value;

/// Keys of a configuration that hold credentials.
const KEYS: [&str; 2] = ["token_id", "token_secret"];

/// A document without its credentials, and what was taken out.
#[derive(Debug, Clone)]
pub struct Concealed {
    /// Safe to hand to a plugin. What was taken out reads `credential:N`; it is
    /// a text where a text was, so that validation comes out the same.
    pub document: Value,
    /// The values by key.
    pub taken: Vec<(String, Secret)>,
}

/// Takes the credentials out of a configuration. Blank texts stay: they say that
/// there is none. References to secrets stay too: they hold none.
pub fn conceal(mut document: Value) -> Concealed {
    let mut taken = Vec::new();
    if let Value::Object(fields) = &mut document {
        for key in KEYS {
            if let Some(Value::String(text)) = fields.get_mut(key)
                && !is_blank(text)
                && !is_reference(text)
            {
                let opaque = format!("credential:{}", taken.len());
                let secret = std::mem::replace(text, opaque);
                taken.push((key.to_owned(), Secret::new(secret)));
            }
        }
    }
    Concealed { document, taken }
}

/// Whether nothing is left when white space is taken away, as Python knows it:
/// four control characters count.
fn is_blank(text: &str) -> bool {
    text.chars().all(is_space)
}

fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Whether a text is `{{name.key}}`: a name, a dot and a key without white space
/// in them. A secret that only looks a little like it is no reference.
fn is_reference(text: &str) -> bool {
    let inner = text
        .strip_prefix("{{")
        .and_then(|text| text.strip_suffix("}}"));
    let Some(body) = inner.map(|inner| inner.trim_matches(is_space)) else {
        return false;
    };
    let mut letters = body.chars();
    let has_first = letters.next().is_some();
    let named = letters.as_str().split_once('.');
    has_first && !body.contains(is_space) && named.is_some_and(|(_, key)| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::conceal;
    use serde_json::json;

    #[test]
    fn token_values_are_taken_out() {
        let concealed = conceal(json!({"token_id": "ak-1", "token_secret": "as-1", "gpu": "T4"}));
        assert_eq!(
            concealed.document,
            json!({"token_id": "credential:0", "token_secret": "credential:1", "gpu": "T4"})
        );
        assert_eq!(concealed.taken[1].1.reveal(), "as-1");
        assert!(!format!("{concealed:?}").contains("as-1"));
    }

    #[test]
    fn what_is_no_credential_stays() {
        for document in [
            json!({"token_id": "", "token_secret": null}),
            json!({"token_id": " \u{1c}", "token_secret": "{{ modal.secret }}"}),
        ] {
            assert_eq!(conceal(document.clone()).document, document);
        }
    }

    #[test]
    fn what_only_looks_like_a_reference_is_taken_out() {
        for text in ["{{as-1}}", "{{a b.c}}", "{{.}}", "{{a.}}", " {{a.b}}"] {
            assert_eq!(conceal(json!({"token_id": text})).taken.len(), 1, "{text}");
        }
    }
}
