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

/// Takes the credentials out of a configuration. Empty texts stay: they say that
/// there is none.
pub fn conceal(mut document: Value) -> Concealed {
    let mut taken = Vec::new();
    if let Value::Object(fields) = &mut document {
        for key in KEYS {
            if let Some(Value::String(text)) = fields.get_mut(key)
                && !text.trim().is_empty()
            {
                let opaque = format!("credential:{}", taken.len());
                let secret = std::mem::replace(text, opaque);
                taken.push((key.to_owned(), Secret::new(secret)));
            }
        }
    }
    Concealed { document, taken }
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
        let document = json!({"token_id": "", "token_secret": null});
        assert_eq!(conceal(document.clone()).document, document);
    }
}
