//! What Modal's sandboxes fail with, and the names under which its SDK raises it.

use crate::modal::error::CallError;
use crate::modal::image::ImageError;
use crate::modal::recovery::CreateError;
use crate::modal::rpc::TASK_SNAPSHOT_FILESYSTEM;
use crate::resources::cpu::CpuError;
use crate::sandbox::service::ServiceError;
use serde::Deserialize;
use tonic::Code;

/// Why Modal did not do what a session asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModalError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// There is no sandbox, as far as can be known.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The image cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// More cores than can be asked for.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// Something is wrong with what was asked for. Nothing was sent.
    #[error("{message}")]
    Argument {
        /// Which part.
        place: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// A file was not copied.
    #[error(transparent)]
    File(#[from] FileError),
    /// The sandbox with the files is gone.
    #[error("the sandbox is not available: {0}")]
    Gone(String),
}

impl ServiceError for ModalError {
    fn kind(&self) -> &str {
        match self {
            Self::Call(error) => call_kind(error),
            Self::Create(error) => call_kind(error.error()),
            Self::Image(ImageError::Call(error)) => call_kind(error),
            Self::Image(ImageError::BuilderVersion { .. }) => "VersionError",
            Self::Image(ImageError::Build { .. }) => "ImageBuildError",
            Self::Cpu(_) | Self::Argument { .. } => "InvalidError",
            Self::File(error) => error.kind(),
            Self::Gone(_) => "NotFoundError",
        }
    }
}

/// How the SDK calls a call that failed.
fn call_kind(error: &CallError) -> &'static str {
    let CallError::Status {
        code, operation, ..
    } = error
    else {
        return "ConnectionError";
    };
    match code {
        Code::DeadlineExceeded if *operation == TASK_SNAPSHOT_FILESYSTEM.name => "TimeoutError",
        Code::Ok | Code::Cancelled | Code::Unknown | Code::DeadlineExceeded | Code::Unavailable => {
            "ServiceError"
        }
        Code::Internal => "InternalError",
        Code::InvalidArgument | Code::OutOfRange => "InvalidError",
        Code::NotFound => "NotFoundError",
        Code::AlreadyExists => "AlreadyExistsError",
        Code::PermissionDenied => "PermissionDeniedError",
        Code::Unauthenticated => "AuthError",
        Code::ResourceExhausted => "ResourceExhaustedError",
        Code::FailedPrecondition | Code::Aborted => "ConflictError",
        Code::Unimplemented => "UnimplementedError",
        Code::DataLoss => "DataLossError",
    }
}

/// A file that was not copied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FileError {
    /// What was to be done, as the tool for files calls it.
    pub operation: &'static str,
    /// What the tool calls the failure. Empty: it did not say.
    pub error_kind: String,
    /// What the tool says about it.
    pub message: String,
}

impl FileError {
    /// Understands what the tool wrote about a failure: one JSON object, normally.
    pub(super) fn new(operation: &'static str, exit_code: i32, stderr: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Told {
            error_kind: String,
            message: String,
            detail: Option<String>,
        }
        if let Ok(told) = serde_json::from_slice::<Told>(stderr) {
            let detail = told.detail.map(|detail| format!(": {detail}"));
            return Self {
                operation,
                error_kind: told.error_kind,
                message: told.message + &detail.unwrap_or_default(),
            };
        }
        let text = String::from_utf8_lossy(stderr);
        let text = text.trim();
        Self {
            operation,
            error_kind: String::new(),
            message: match text.is_empty() {
                true => format!("{operation} failed with exit code {exit_code}"),
                false => format!("{operation} failed with exit code {exit_code}: {text}"),
            },
        }
    }

    /// The gRPC status that comes closest.
    pub fn code(&self) -> Code {
        match self.error_kind.as_str() {
            "NotFound" => Code::NotFound,
            "PermissionDenied" => Code::PermissionDenied,
            "AlreadyExists" | "PathAlreadyExists" => Code::AlreadyExists,
            "IsDirectory" | "IsFile" | "NotDirectory" | "DirectoryNotEmpty" => {
                Code::FailedPrecondition
            }
            "FileTooLarge" => Code::ResourceExhausted,
            "NotSupported" => Code::Unimplemented,
            _ => Code::Unknown,
        }
    }

    /// The name under which the SDK raises it, which depends on what was to be
    /// done.
    fn kind(&self) -> &'static str {
        let is_read = self.operation == super::files::READ;
        match self.error_kind.as_str() {
            "NotFound" if is_read => "SandboxFilesystemNotFoundError",
            "IsDirectory" => "SandboxFilesystemIsADirectoryError",
            "PermissionDenied" => "SandboxFilesystemPermissionError",
            "FileTooLarge" if is_read => "SandboxFilesystemFileTooLargeError",
            "NotDirectory" | "AlreadyExists" if !is_read => "SandboxFilesystemNotADirectoryError",
            _ => "SandboxFilesystemError",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FileError, ModalError, ServiceError as _};
    use crate::modal::error::CallError;
    use tonic::Code;

    #[test]
    fn what_the_tool_says_is_told_apart_by_what_was_to_be_done() {
        for (operation, told, kind) in [
            ("ReadFile", "NotFound", "SandboxFilesystemNotFoundError"),
            ("WriteFile", "NotFound", "SandboxFilesystemError"),
            (
                "ReadFile",
                "IsDirectory",
                "SandboxFilesystemIsADirectoryError",
            ),
            (
                "WriteFile",
                "IsDirectory",
                "SandboxFilesystemIsADirectoryError",
            ),
            (
                "ReadFile",
                "PermissionDenied",
                "SandboxFilesystemPermissionError",
            ),
            (
                "WriteFile",
                "NotDirectory",
                "SandboxFilesystemNotADirectoryError",
            ),
            (
                "WriteFile",
                "AlreadyExists",
                "SandboxFilesystemNotADirectoryError",
            ),
            (
                "ReadFile",
                "FileTooLarge",
                "SandboxFilesystemFileTooLargeError",
            ),
            ("ReadFile", "Whatever", "SandboxFilesystemError"),
        ] {
            let stderr = format!(r#"{{"error_kind": "{told}", "message": "no", "detail": "x"}}"#);
            let error = FileError::new(operation, 1, stderr.as_bytes());
            assert_eq!(error.to_string(), "no: x");
            assert_eq!(ModalError::from(error).kind(), kind, "{operation} {told}");
        }
    }

    #[test]
    fn a_tool_that_says_something_else_is_quoted() {
        for (stderr, expected) in [
            ("", "ReadFile failed with exit code 3"),
            ("oops\n", "ReadFile failed with exit code 3: oops"),
            ("{}", "ReadFile failed with exit code 3: {}"),
        ] {
            let error = FileError::new("ReadFile", 3, stderr.as_bytes());
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn only_a_snapshot_runs_out_of_time() {
        for (operation, kind) in [
            ("TaskSnapshotFilesystem", "TimeoutError"),
            ("TaskExecPoll", "ServiceError"),
        ] {
            let error = CallError::Status {
                operation,
                code: Code::DeadlineExceeded,
                message: String::new(),
                retry_after: None,
            };
            assert_eq!(ModalError::from(error).kind(), kind);
        }
    }
}
