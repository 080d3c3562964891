//! What sessions fail with, in the contract's terms.

use super::bindings::zenml::flavor::types::{Error, ServiceError};
use super::invalid;
use super::submission::UNKNOWN;
use crate::config::FieldFault;
use crate::modal::CallError;
use crate::modal::image::ImageError;
use crate::modal::recovery;
use crate::sandbox::error::{CreateError, OpenError, ProcessError, SessionError};
use crate::sandbox::modal::{FileError, ModalError};
use std::fmt::Display;
use tonic::Code;

impl From<ModalError> for Error {
    fn from(error: ModalError) -> Self {
        match error {
            ModalError::Call(error) => found(error),
            ModalError::Create(recovery::CreateError::Failed(error)) => error.into(),
            // That one may still run must not be lost.
            ModalError::Create(error @ recovery::CreateError::InDoubt { .. }) => {
                Self::Service(ServiceError {
                    operation: "SandboxCreate".to_owned(),
                    code: UNKNOWN,
                    message: error.to_string(),
                })
            }
            ModalError::Image(ImageError::Call(error)) => found(error),
            ModalError::Image(error) => fault(["image"], "image", error),
            ModalError::Cpu(error) => fault(["settings", "cpu"], "cpu", error),
            ModalError::Argument { place, message } => fault([place], "argument", message),
            ModalError::File(error) => error.into(),
            ModalError::Gone(message) => Self::NotFound(message),
        }
    }
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        match error.code() {
            Code::NotFound => Self::NotFound(error.message),
            code => Self::Service(ServiceError {
                operation: error.operation.to_owned(),
                code: u32::try_from(i32::from(code)).unwrap_or_default(),
                message: error.message,
            }),
        }
    }
}

impl From<OpenError<ModalError>> for Error {
    fn from(error: OpenError<ModalError>) -> Self {
        let text = error.to_string();
        match error {
            OpenError::Service(error) => error.into(),
            OpenError::Create(error) => not_created(error),
            OpenError::Attach { cause, .. } => named(cause.into(), text),
            OpenError::Ended { .. } => Self::NotFound(text),
            OpenError::OtherComponent { .. } => fault(["snapshot", "component"], "other", text),
            OpenError::Restore { cause, .. } => named(not_created(cause), text),
        }
    }
}

fn not_created(error: CreateError<ModalError>) -> Error {
    match error {
        CreateError::Service(error) => error.into(),
        CreateError::Gpu(error) => fault(["settings", "gpu"], "gpu", error),
        CreateError::Resources(faults) => {
            let below = |fault: &FieldFault| fault.clone().below(["settings"]);
            invalid(faults.faults().iter().map(below).collect())
        }
    }
}

/// What is not there is told in words that say what was looked for.
fn named(error: Error, text: String) -> Error {
    match error {
        Error::NotFound(_) => Error::NotFound(text),
        error => error,
    }
}

impl From<SessionError<ModalError>> for Error {
    fn from(error: SessionError<ModalError>) -> Self {
        match error {
            SessionError::Closed { .. } => fault([], "closed", error),
            SessionError::Words(error) => fault(["arguments"], "words", error),
            SessionError::NoBackground => Self::Unsupported(error.to_string()),
            SessionError::Launch { cause }
            | SessionError::Terminate { cause, .. }
            | SessionError::Service(cause) => cause.into(),
        }
    }
}

impl From<ProcessError<ModalError>> for Error {
    fn from(error: ProcessError<ModalError>) -> Self {
        match error {
            // The caller said when to stop waiting.
            ProcessError::StillRunning { .. } => Self::Cancelled,
            ProcessError::Collected => fault([], "collected", error),
            ProcessError::CannotKill => Self::Unsupported(error.to_string()),
            ProcessError::Service(error) => error.into(),
        }
    }
}

/// What Modal does not find does not exist.
fn found(error: CallError) -> Error {
    match error {
        CallError::Status {
            code: Code::NotFound,
            message,
            ..
        } => Error::NotFound(message),
        error => error.into(),
    }
}

fn fault<const N: usize>(place: [&str; N], kind: &str, message: impl Display) -> Error {
    invalid(vec![FieldFault::new(place, kind, message)])
}
