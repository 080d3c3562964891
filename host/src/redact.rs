//! Keeps secrets out of texts that are shown.

use crate::credentials::Secret;

/// Replaces known secrets by `***`.
#[derive(Debug, Default)]
pub(crate) struct Redactor {
    secrets: Vec<Secret>,
}

/// A shorter text turns up everywhere: replacing it would garble messages and
/// give the secret away by where it is missing.
const SHORTEST: usize = 6;

impl Redactor {
    pub(crate) fn new(secrets: Vec<Secret>) -> Self {
        let mut secrets: Vec<Secret> = secrets
            .into_iter()
            .filter(|secret| secret.reveal().len() >= SHORTEST)
            .collect();
        // A secret that contains another one goes first.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.reveal().len()));
        Self { secrets }
    }

    /// The text without the secrets.
    pub(crate) fn redact(&self, text: String) -> String {
        let mut text = text;
        for secret in &self.secrets {
            if text.contains(secret.reveal()) {
                text = text.replace(secret.reveal(), "***");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Redactor;
    use crate::credentials::Secret;

    #[test]
    fn secrets_are_replaced_longest_first() {
        let redactor = Redactor::new(vec![
            Secret::new("secret"),
            Secret::new("secret-and-more"),
            Secret::new("abc"),
        ]);
        let text = "abc secret-and-more secret".to_owned();
        assert_eq!(redactor.redact(text), "abc *** ***");
    }
}
