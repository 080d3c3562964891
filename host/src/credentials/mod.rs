//! Credentials: who holds them, and where they go.
//!
//! A plugin never sees them. The host adds them to requests that the policy has
//! allowed (`Credentials`), and puts an opaque text in their place in every
//! document that it hands to a plugin ([`conceal`]). [`modal`] knows where a
//! user keeps those for Modal and under which header names they travel.

mod conceal;
pub mod modal;
mod secret;

pub use conceal::{Concealed, conceal};
pub use secret::Secret;

use flavor_policy::Label;
use http::{HeaderMap, HeaderName, HeaderValue};

/// What the labels of a policy stand for.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    known: Vec<Credential>,
}

/// Headers that prove who the user is.
#[derive(Debug, Clone)]
pub(crate) struct Credential {
    /// As grants name it.
    pub(crate) label: Label,
    /// Names and values.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Credentials {
    pub(crate) fn new(known: Vec<Credential>) -> Self {
        Self { known }
    }

    /// Names that a guest may not set itself.
    pub(crate) fn header_names(&self) -> Vec<HeaderName> {
        let mut names: Vec<HeaderName> = modal::HEADER_NAMES.to_vec();
        let ours = self.known.iter().flat_map(|credential| &credential.headers);
        names.extend(ours.map(|(name, _)| name.clone()));
        names
    }

    /// Adds the headers of a credential. A label that stands for nothing adds
    /// nothing: the server will say what it misses.
    pub(crate) fn add_headers(&self, label: &Label, headers: &mut HeaderMap) {
        let meant = self
            .known
            .iter()
            .filter(|credential| credential.label == *label);
        for (name, value) in meant.flat_map(|credential| &credential.headers) {
            headers.insert(name.clone(), value.clone());
        }
    }
}
