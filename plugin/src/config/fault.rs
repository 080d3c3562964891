//! What is wrong with one place of a document.

use super::lax::Mismatch;
use std::fmt;

/// One thing wrong with one place of a document. The kinds and texts are those
/// of pydantic, as ZenML shows them, where ZenML checks the same thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// Keys from the root, outermost first; empty for the document itself.
    pub path: Vec<String>,
    /// A stable word.
    pub kind: String,
    /// For people.
    pub message: String,
}

impl FieldFault {
    /// A fault at a place.
    pub fn new<'a>(
        path: impl IntoIterator<Item = &'a str>,
        kind: &str,
        message: impl fmt::Display,
    ) -> Self {
        Self {
            path: path.into_iter().map(ToOwned::to_owned).collect(),
            kind: kind.to_owned(),
            message: message.to_string(),
        }
    }

    /// A value of the wrong type at a place.
    pub fn mismatch<'a>(path: impl IntoIterator<Item = &'a str>, mismatch: Mismatch) -> Self {
        Self::new(path, mismatch.kind, mismatch.message)
    }

    /// The same fault, seen from further out.
    #[must_use]
    pub fn below<'a>(mut self, outer: impl IntoIterator<Item = &'a str>) -> Self {
        let mut path: Vec<String> = outer.into_iter().map(ToOwned::to_owned).collect();
        path.append(&mut self.path);
        self.path = path;
        self
    }
}
