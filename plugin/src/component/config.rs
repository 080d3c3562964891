//! Export `config`.

use super::bindings::exports::zenml::flavor::config::{Checked, DocumentKind, Guest};
use super::bindings::zenml::flavor::types::{Error, FlavorKind};
use super::{Plugin, unsupported};

impl Guest for Plugin {
    async fn validate(
        _flavor: FlavorKind,
        _kind: DocumentKind,
        _document: String,
    ) -> Result<Checked, Error> {
        unsupported("checking a configuration")
    }
}
