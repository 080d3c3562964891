//! An output that is read by offset: followed from its beginning to its end over as
//! many streams as it takes, without losing or repeating a byte.

use super::Router;
use super::trouble::{Patience, Trouble};
use crate::limits;
use crate::modal::error::CallError;
use crate::modal::output::OutputStream;
use crate::modal::rpc::{Rpc, SANDBOX_STDIO_READ_V2};
use crate::modal::sandbox::RouterAccess;
use crate::platform::Platform;
use modal_proto::task_command_router::{
    SandboxStdioFileDescriptor, SandboxStdioReadV2Request, SandboxStdioReadV2Response,
    TaskExecStdioReadResponse,
};
use prost::Message;
use std::time::Duration;
use tonic::Streaming;

/// A part of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Bytes before it that the router has dropped.
    pub missing: u64,
    /// Not empty, unless something is missing.
    pub data: Vec<u8>,
}

/// A message that holds a part of an output.
pub trait Part: Message + Default + 'static {
    /// Where the part begins, when the message says so, and its bytes.
    fn into_place(self) -> (Option<u64>, Vec<u8>);
}

impl Part for TaskExecStdioReadResponse {
    fn into_place(self) -> (Option<u64>, Vec<u8>) {
        (None, self.data)
    }
}

impl Part for SandboxStdioReadV2Response {
    fn into_place(self) -> (Option<u64>, Vec<u8>) {
        (Some(self.starting_offset), self.data)
    }
}

/// An output on its way.
#[derive(Debug)]
pub struct Reading<P, Q: 'static, A: 'static> {
    router: Router<P>,
    rpc: &'static Rpc<Q, A>,
    request: Q,
    set_offset: fn(&mut Q, u64),
    /// Bytes that were read.
    offset: u64,
    /// The stream that is open.
    answers: Option<Streaming<A>>,
    opened_at: Duration,
    trouble: Trouble,
}

impl<P: Platform> Router<P> {
    /// An output of the sandbox itself.
    ///
    /// # Errors
    ///
    /// Those of [`Router::task_id`].
    pub async fn sandbox_output(
        &self,
        stream: OutputStream,
    ) -> Result<Reading<P, SandboxStdioReadV2Request, SandboxStdioReadV2Response>, CallError> {
        let descriptor = match stream {
            OutputStream::Stdout => SandboxStdioFileDescriptor::Stdout,
            OutputStream::Stderr => SandboxStdioFileDescriptor::Stderr,
        };
        let request = SandboxStdioReadV2Request {
            task_id: self.task_id().await?.to_owned(),
            offset: 0,
            file_descriptor: descriptor.into(),
        };
        let rpc = &SANDBOX_STDIO_READ_V2;
        let set_offset = |request: &mut SandboxStdioReadV2Request, offset| request.offset = offset;
        // What a sandbox wrote is not worth holding up the end of a run.
        let trouble = self.trouble(Patience::Short);
        Ok(Reading::new(self, rpc, request, set_offset, trouble))
    }
}

impl<P: Platform, Q: Message + Clone + 'static, A: Part> Reading<P, Q, A> {
    pub(super) fn new(
        router: &Router<P>,
        rpc: &'static Rpc<Q, A>,
        request: Q,
        set_offset: fn(&mut Q, u64),
        trouble: Trouble,
    ) -> Self {
        Self {
            router: router.clone(),
            rpc,
            request,
            set_offset,
            offset: 0,
            answers: None,
            opened_at: Duration::ZERO,
            trouble,
        }
    }

    /// The next part; none at the end.
    ///
    /// # Errors
    ///
    /// When the command or the sandbox is gone, and when the router says no or is
    /// not there.
    pub async fn next(&mut self) -> Result<Option<Piece>, CallError> {
        loop {
            let access = self.router.access().await?;
            let error = match self.step(&access).await {
                Ok(None) => return Ok(None),
                Ok(Some(answer)) => {
                    let piece = self.place(answer);
                    // A server must not send empty ones.
                    if piece.missing == 0 && piece.data.is_empty() {
                        continue;
                    }
                    self.trouble.is_over();
                    return Ok(Some(piece));
                }
                Err(error) => error,
            };
            self.answers = None;
            // Silence is normal: a stream that was merely quiet until its deadline is
            // opened again. Some servers send no head before the first byte.
            let now = self.router.client().platform().monotonic();
            if now.saturating_sub(self.opened_at) >= limits::OUTPUT.head {
                self.trouble.is_over();
            }
            let router = &self.router;
            router.overcome(&mut self.trouble, &access, error).await?;
        }
    }

    async fn step(&mut self, access: &RouterAccess) -> Result<Option<A>, CallError> {
        let client = self.router.client();
        let answers = match &mut self.answers {
            Some(answers) => answers,
            none => {
                self.opened_at = client.platform().monotonic();
                let mut request = self.request.clone();
                (self.set_offset)(&mut request, self.offset);
                let opened =
                    self.router
                        .open(self.rpc, request, access, &self.trouble, limits::OUTPUT);
                none.insert(opened.await?)
            }
        };
        let answer = answers.message().await;
        answer.map_err(|status| client.failure(self.rpc.name, &status))
    }

    /// Finds out where a part belongs. One that begins further on than was asked
    /// becomes the new place.
    fn place(&mut self, answer: A) -> Piece {
        let (start, data) = answer.into_place();
        let missing = start.map_or(0, |start| start.saturating_sub(self.offset));
        let end = self.offset.saturating_add(missing);
        self.offset = end.saturating_add(data.len() as u64);
        Piece { missing, data }
    }
}
