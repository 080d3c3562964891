//! The token pair that a controller in a sandbox gets. Only under a grant of the
//! host: ordinarily a plugin never sees one.

use crate::config::document::TOKEN_PAIR;
use crate::text::strip;

/// Names of the variables that carry the pair.
const VARIABLES: [&str; 2] = ["MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"];

/// What one place says about the two tokens. An empty text is something that it
/// says; a place further back is then not asked about that token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The id.
    pub id: Option<String>,
    /// The secret.
    pub secret: Option<String>,
}

/// What identifies an account at Modal. Both texts are stripped and not empty.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenPair {
    id: String,
    secret: String,
}

impl std::fmt::Debug for TokenPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenPair").finish_non_exhaustive()
    }
}

impl Place {
    /// A component's configuration. Blank texts there say nothing.
    pub fn configuration(id: Option<&str>, secret: Option<&str>) -> Self {
        let said = |text: Option<&str>| {
            text.filter(|text| !strip(text).is_empty())
                .map(ToOwned::to_owned)
        };
        Self {
            id: said(id),
            secret: said(secret),
        }
    }

    fn pair(&self) -> Option<TokenPair> {
        let token = |text: &Option<String>| {
            let text = strip(text.as_deref()?);
            (!text.is_empty()).then(|| text.to_owned())
        };
        Some(TokenPair {
            id: token(&self.id)?,
            secret: token(&self.secret)?,
        })
    }
}

impl TokenPair {
    /// The public half.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The secret half.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The pair of the first place that says anything about either token. Halves
    /// of different places are never put together: they need not belong to the
    /// same account, and Modal tells nobody whose secret was offered to whom.
    pub fn resolve<'a>(places: impl IntoIterator<Item = &'a Place>) -> Option<Self> {
        let mut places = places.into_iter();
        places
            .find(|place| place.id.is_some() || place.secret.is_some())
            .and_then(Place::pair)
    }

    /// The pair of a component's configuration; none leaves it to the
    /// surroundings.
    ///
    /// # Errors
    ///
    /// When it has one half only.
    pub fn configured(id: Option<&str>, secret: Option<&str>) -> Result<Option<Self>, HalfPair> {
        let place = Place::configuration(id, secret);
        match (place.pair(), place == Place::default()) {
            (None, false) => Err(HalfPair),
            (pair, _) => Ok(pair),
        }
    }

    /// Puts the pair into the environment of a controller, over what is there.
    pub fn inject(&self, environment: &mut Vec<(String, String)>) {
        for (name, value) in VARIABLES.into_iter().zip([&self.id, &self.secret]) {
            match environment.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => known.clone_from(value),
                None => environment.push((name.to_owned(), value.clone())),
            }
        }
    }
}

/// One token without the other. ZenML words it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{TOKEN_PAIR}")]
pub struct HalfPair;

/// What to say when a controller gets no pair.
pub const NO_PAIR: &str = "No Modal credentials could be resolved for the controller sandbox. The \
     controller will fail to create child sandboxes unless Modal credentials are available in its \
     environment. Configure token_id and token_secret on the Modal orchestrator or run `modal \
     setup` before submitting the pipeline.";

#[cfg(test)]
mod tests {
    use super::{Place, TokenPair};

    fn place(id: Option<&str>, secret: Option<&str>) -> Place {
        Place {
            id: id.map(ToOwned::to_owned),
            secret: secret.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn halves_of_different_places_are_never_paired() {
        let surroundings = place(Some("ak-e"), Some("as-e"));
        for half in [place(Some("ak-1"), None), place(None, Some("as-1"))] {
            assert_eq!(TokenPair::resolve([&half, &surroundings]), None);
        }
        let pair = TokenPair::resolve([&place(None, None), &surroundings]).unwrap();
        assert_eq!((pair.id(), pair.secret()), ("ak-e", "as-e"));
    }

    #[test]
    fn a_blank_configuration_says_nothing() {
        let blank = Place::configuration(Some(" "), Some("\t"));
        let surroundings = place(Some(" ak-e\n"), Some("as-e"));
        let pair = TokenPair::resolve([&blank, &surroundings]).unwrap();
        assert_eq!(pair.id(), "ak-e");
        assert_eq!(TokenPair::configured(Some(" "), None), Ok(None));
        assert!(TokenPair::configured(Some("ak-1"), Some(" ")).is_err());
    }

    #[test]
    fn a_pair_is_not_shown() {
        let pair = TokenPair::configured(Some("ak-1"), Some("as-1")).unwrap();
        assert!(!format!("{pair:?}").contains("-1"));
    }
}
