//! Which environment variables of a step are secrets.

use std::collections::HashMap;

/// Variables that ZenML hands to a sandbox as a Modal secret instead of in
/// plain sight.
pub const SENSITIVE: [&str; 3] = [
    "MODAL_TOKEN_ID",
    "MODAL_TOKEN_SECRET",
    "ZENML_STORE_API_TOKEN",
];

/// Variables of a sandbox, told apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SplitEnvironment {
    /// May be seen by anyone who may see the sandbox.
    pub plain: Vec<(String, String)>,
    /// Travel as a secret.
    pub secret: Vec<(String, String)>,
}

impl SplitEnvironment {
    /// What is stored for a sandbox at Modal, each part as one secret: secret
    /// variables first, plain ones last, so that these win when a name is in
    /// both. Nothing is stored for an empty part.
    pub fn stored(&self) -> impl Iterator<Item = &[(String, String)]> {
        let parts = [self.secret.as_slice(), self.plain.as_slice()];
        parts.into_iter().filter(|part| !part.is_empty())
    }
}

/// Tells plain variables from secret ones, keeping their order.
pub fn split(variables: impl IntoIterator<Item = (String, String)>) -> SplitEnvironment {
    let (secret, plain) = variables
        .into_iter()
        .partition(|(name, _)| SENSITIVE.contains(&name.as_str()));
    SplitEnvironment { plain, secret }
}

/// Variables from several places; a later place wins, a name keeps its position.
pub fn merged(places: impl IntoIterator<Item = Vec<(String, String)>>) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = Vec::new();
    let mut positions: HashMap<String, usize> = HashMap::new();
    for (name, value) in places.into_iter().flatten() {
        match positions
            .get(&name)
            .and_then(|position| variables.get_mut(*position))
        {
            Some(variable) => variable.1 = value,
            None => {
                positions.insert(name.clone(), variables.len());
                variables.push((name, value));
            }
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::{merged, split};
    use proptest::prelude::*;

    #[test]
    fn later_places_win() {
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
            pairs.iter().map(owned).collect()
        };
        let together = merged([
            pairs(&[("A", "1"), ("B", "1")]),
            pairs(&[("C", "2"), ("A", "2")]),
        ]);
        assert_eq!(together, pairs(&[("A", "2"), ("B", "1"), ("C", "2")]));
    }

    proptest! {
        #[test]
        fn splitting_is_a_partition(
            variables in proptest::collection::vec(
                (prop_oneof!["[A-Z_]{1,6}", Just("MODAL_TOKEN_ID".to_owned())], ".*"), 0..12)
        ) {
            let parts = split(variables.clone());
            let mut together = [parts.plain.clone(), parts.secret.clone()].concat();
            let mut all = variables;
            together.sort();
            all.sort();
            prop_assert_eq!(together, all);
            prop_assert!(parts.plain.iter().all(|(name, _)| name != "MODAL_TOKEN_ID"));
            prop_assert!(parts.secret.iter().all(|(name, _)| name == "MODAL_TOKEN_ID"));
        }
    }
}
