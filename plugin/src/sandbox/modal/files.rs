//! Files in and out of a sandbox: commands of one tool that every sandbox has.

use super::Source;
use super::error::{FileError, ModalError};
use crate::limits;
use crate::modal::error::CallError;
use crate::modal::output::OutputStream;
use crate::modal::router::{Command, CommandSpec, Fed, Router};
use crate::platform::Platform;
use bytes::Bytes;
use futures::future::{Either, select, try_join3};
use futures::{Stream, StreamExt as _};
use serde_json::{Map, json};
use std::future::Future;
use std::pin::pin;
use tonic::Code;

/// The tool, and what it is told to do.
const TOOL: &str = "/__modal/.bin/modal-sandbox-fs-tools";
pub(super) const READ: &str = "ReadFile";
const WRITE: &str = "WriteFile";

/// Where the contents of a file go to.
pub trait Sink: 'static {
    /// Takes a piece, in order. False: nobody wants any more of it.
    fn write(&mut self, piece: Bytes) -> impl Future<Output = bool>;
}

/// Checks a path in a sandbox, as the SDK does before it asks for anything.
///
/// # Errors
///
/// When it is not absolute.
pub fn check_path(path: &str) -> Result<(), ModalError> {
    match path.starts_with('/') {
        true => Ok(()),
        false => Err(ModalError::Argument {
            place: "path",
            message: format!("`{path}` is no absolute path"),
        }),
    }
}

/// Writes a file, and gives the number of its bytes. Parents are created, an
/// existing file is replaced.
pub(super) async fn upload<P: Platform>(
    router: &Router<P>,
    mut source: Source,
    path: &str,
) -> Result<u64, ModalError> {
    let tool = start(router, WRITE, path).await?;
    let ended = pin!(tool.wait());
    let fed = pin!(tool.feed(&mut source));
    let (code, fed) = match select(ended, fed).await {
        Either::Left((code, fed)) => match code.map_err(gone)? {
            0 => (0, fed.await.map_err(gone)?),
            // It does not want the rest, whatever comes.
            code => (code, Fed::Closed),
        },
        Either::Right((fed, ended)) => {
            let fed = fed.map_err(gone)?;
            (ended.await.map_err(gone)?, fed)
        }
    };
    match (code, fed) {
        (0, Fed::Whole(bytes)) => Ok(bytes),
        (0, Fed::Closed) => Err(FileError {
            operation: WRITE,
            error_kind: String::new(),
            message: "the file was closed before all of it was written".to_owned(),
        }
        .into()),
        (code, _) => {
            let stderr = told(&tool).await.map_err(gone)?;
            Err(FileError::new(WRITE, code, &stderr).into())
        }
    }
}

/// Reads a file to its end, unless nobody wants it any more.
pub(super) async fn download<P: Platform>(
    router: &Router<P>,
    path: &str,
    mut sink: impl Sink,
) -> Result<(), ModalError> {
    let tool = start(router, READ, path).await?;
    let copied = async {
        let mut pieces = pin!(tool.output(OutputStream::Stdout));
        while let Some(piece) = pieces.next().await {
            if !sink.write(piece.map_err(Stop::Failed)?).await {
                return Err(Stop::Unwanted);
            }
        }
        Ok(())
    };
    let told = async { told(&tool).await.map_err(Stop::Failed) };
    let ended = async { tool.wait().await.map_err(Stop::Failed) };
    match try_join3(copied, told, ended).await {
        Ok(((), _, 0)) | Err(Stop::Unwanted) => Ok(()),
        Ok(((), stderr, code)) => Err(FileError::new(READ, code, &stderr).into()),
        Err(Stop::Failed(error)) => Err(gone(error)),
    }
}

/// Why copying ended early.
enum Stop {
    Unwanted,
    Failed(CallError),
}

async fn start<P: Platform>(
    router: &Router<P>,
    operation: &str,
    path: &str,
) -> Result<Command<P>, ModalError> {
    check_path(path)?;
    let order = Map::from_iter([(operation.to_owned(), json!({"path": path}))]);
    let order = serde_json::Value::Object(order).to_string();
    let started = router.start(CommandSpec {
        arguments: vec![TOOL.to_owned(), order],
        ..CommandSpec::default()
    });
    started.await.map_err(gone)
}

/// What the tool says about a failure.
async fn told<P: Platform>(tool: &Command<P>) -> Result<Vec<u8>, CallError> {
    first(tool.output(OutputStream::Stderr), limits::TOOL_ERROR).await
}

/// The beginning of an output. All of it is read.
async fn first(
    pieces: impl Stream<Item = Result<Bytes, CallError>>,
    limit: usize,
) -> Result<Vec<u8>, CallError> {
    let mut pieces = pin!(pieces);
    let mut first = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        let room = limit.saturating_sub(first.len()).min(piece.len());
        first.extend_from_slice(piece.get(..room).unwrap_or_default());
    }
    Ok(first)
}

/// A router that does not know the task or the command any more says so, or fails
/// for good; to whoever wants a file the sandbox is gone (SDK).
fn gone(error: CallError) -> ModalError {
    match error {
        CallError::Status {
            code:
                Code::NotFound
                | Code::Cancelled
                | Code::Unknown
                | Code::DeadlineExceeded
                | Code::Unavailable,
            message,
            ..
        } => ModalError::Gone(message),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Sink, download, upload};
    use crate::modal::channel::Endpoint;
    use crate::modal::router::Router;
    use crate::modal::sandbox::{RouterAccess, SandboxHandle};
    use crate::modal::{Client, ClientOptions};
    use crate::sandbox::modal::ModalError;
    use crate::sandbox::service::ServiceError as _;
    use crate::testing::{Fake, Reply};
    use bytes::Bytes;
    use futures::stream;
    use tonic::Code;

    struct Nowhere;

    impl Sink for Nowhere {
        async fn write(&mut self, _: Bytes) -> bool {
            true
        }
    }

    fn router(fake: &Fake) -> Router<Fake> {
        let endpoint = |url| Endpoint::parse(url).unwrap();
        let client = Client::new(
            fake.clone(),
            endpoint("https://api.example.com"),
            ClientOptions::default(),
        );
        let sandbox = SandboxHandle {
            id: "sb-01JABCDEFGHJKMNPQRSTVWXYZ0".into(),
            task_id: Some("ta-1V".into()),
            token: None,
            router: Some(std::rc::Rc::new(RouterAccess {
                endpoint: endpoint("https://worker.example.com"),
                jwt: "e30.e30.sig".into(),
                expires_at: None,
            })),
        };
        Router::new(client, sandbox)
    }

    /// Both ways of a file.
    fn errors(fake: &Fake, path: &str) -> [ModalError; 2] {
        let router = router(fake);
        let source = || Box::pin(stream::empty());
        let up = fake.block_on(upload(&router, source(), path));
        let down = fake.block_on(download(&router, path, Nowhere));
        [up.unwrap_err(), down.unwrap_err()]
    }

    #[test]
    fn a_sandbox_that_is_gone_is_not_found() {
        for code in [Code::NotFound, Code::Unavailable, Code::Cancelled] {
            let fake = Fake::new(move |_| Reply::failure(code, "no task"));
            for error in errors(&fake, "/file") {
                assert_eq!(error.kind(), "NotFoundError", "{code:?}");
                assert!(error.to_string().contains("no task"));
            }
        }
        let fake = Fake::new(|_| Reply::failure(Code::PermissionDenied, "no"));
        for error in errors(&fake, "/file") {
            assert_eq!(error.kind(), "PermissionDeniedError");
        }
    }

    #[test]
    fn a_relative_path_is_refused_before_anything_is_sent() {
        let fake = Fake::new(|_| Reply::Silence);
        for path in ["", "file", "./file"] {
            for error in errors(&fake, path) {
                assert_eq!(error.kind(), "InvalidError");
            }
        }
        assert!(fake.sent().is_empty());
    }
}
