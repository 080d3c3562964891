//! What the tool says when it cannot do what it was asked.

use std::io;

use serde::Serialize;

/// Kinds that clients tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Kind {
    AlreadyExists,
    DirectoryNotEmpty,
    InvalidArgument,
    IsDirectory,
    NotDirectory,
    NotFound,
    NotSupported,
    Other,
    PathAlreadyExists,
    PermissionDenied,
}

/// One failure. Clients put the path after the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Failure {
    #[serde(rename = "error_kind")]
    pub(super) kind: Kind,
    message: String,
    detail: Option<String>,
}

impl Failure {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            detail: None,
        }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        // A struct of texts always serializes.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let (kind, message) = match error.kind() {
            io::ErrorKind::NotFound => (Kind::NotFound, "no such file or directory"),
            io::ErrorKind::PermissionDenied => (Kind::PermissionDenied, "permission denied"),
            io::ErrorKind::IsADirectory => (Kind::IsDirectory, "is a directory"),
            io::ErrorKind::NotADirectory => (Kind::NotDirectory, "not a directory"),
            io::ErrorKind::AlreadyExists => (Kind::AlreadyExists, "already exists"),
            io::ErrorKind::DirectoryNotEmpty => (Kind::DirectoryNotEmpty, "directory not empty"),
            _ => (Kind::Other, "the operation failed"),
        };
        Self {
            kind,
            message: match kind {
                Kind::Other => format!("{message} ({error})"),
                _ => message.to_owned(),
            },
            detail: Some(error.to_string()),
        }
    }
}
