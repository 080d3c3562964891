//! Which environment variables of a step are secrets.

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

/// Tells plain variables from secret ones, keeping their order.
pub fn split(variables: impl IntoIterator<Item = (String, String)>) -> SplitEnvironment {
    let (secret, plain) = variables
        .into_iter()
        .partition(|(name, _)| SENSITIVE.contains(&name.as_str()));
    SplitEnvironment { plain, secret }
}

#[cfg(test)]
mod tests {
    use super::split;
    use proptest::prelude::*;

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
