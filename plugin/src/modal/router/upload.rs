//! All of a command's input in one go, as files are uploaded.

use super::command::{Command, InputStatus, is_closed, lost};
use super::trouble::{Patience, Trouble};
use super::{Router, with_token};
use crate::limits;
use crate::modal::error::CallError;
use crate::modal::retry::doubled;
use crate::modal::rpc::TASK_EXEC_STDIN_WRITE_STREAM;
use crate::modal::sandbox::RouterAccess;
use crate::platform::Platform;
use bytes::{Buf as _, Bytes};
use futures::future::{Either, select};
use futures::{Stream, StreamExt as _, stream};
use http::uri::PathAndQuery;
use modal_proto::task_command_router::task_exec_stdin_write_stream_request::Payload;
use modal_proto::task_command_router::{
    TaskExecStdinWriteStreamEnd, TaskExecStdinWriteStreamRequest, TaskExecStdinWriteStreamResponse,
    TaskExecStdinWriteStreamStart,
};
use std::collections::VecDeque;
use std::pin::pin;
use tokio::sync::mpsc;
use tonic_prost::ProstCodec;

/// What became of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fed {
    /// All of it was taken, so many bytes.
    Whole(u64),
    /// The command took no more of it.
    Closed,
}

impl<P: Platform> Command<P> {
    /// Writes all of its input and closes it. A stream that breaks is followed by
    /// another one, which begins where the router says; what may have to be sent
    /// again is kept, up to [`limits::UPLOAD_WINDOW`].
    ///
    /// # Errors
    ///
    /// When the command or its sandbox is gone, and when the router says no or is
    /// not there.
    pub async fn feed(
        &self,
        source: &mut (impl Stream<Item = Bytes> + Unpin),
    ) -> Result<Fed, CallError> {
        let router = self.router();
        let mut trouble = router.trouble(Patience::Long);
        let mut window = Window::default();
        let mut refusals = 0;
        loop {
            let access = router.access().await?;
            match self.send(&mut window, source, &access, &trouble).await {
                Ok(()) if window.is_whole => return Ok(Fed::Whole(window.end())),
                // The window is full.
                Ok(()) => {}
                // It may be this stream only that is not wanted any more.
                Err(error) if is_closed(&error) => {
                    refusals += 1;
                    if refusals > limits::ROUTER_RETRIES || self.poll().await?.is_some() {
                        return Ok(Fed::Closed);
                    }
                    let pause = doubled(limits::ROUTER_PAUSE, refusals);
                    router.client().platform().sleep(pause).await;
                }
                Err(error) => router.overcome(&mut trouble, &access, error).await?,
            }
            let InputStatus { taken, is_closed } = self.input_status().await?;
            if is_closed {
                let is_ours = window.is_whole && taken == window.end();
                return Ok(if is_ours {
                    Fed::Whole(taken)
                } else {
                    Fed::Closed
                });
            }
            if taken > window.start {
                trouble.is_over();
                refusals = 0;
            }
            window.taken(taken)?;
        }
    }

    /// Sends one stream: what is in the window, and what comes until it is full.
    async fn send(
        &self,
        window: &mut Window,
        source: &mut (impl Stream<Item = Bytes> + Unpin),
        access: &RouterAccess,
        trouble: &Trouble,
    ) -> Result<(), CallError> {
        let (sender, mut receiver) = mpsc::channel(limits::UPLOAD_PIECES);
        let start = Payload::Start(TaskExecStdinWriteStreamStart {
            task_id: self.task_id().to_owned(),
            exec_id: self.id().to_owned(),
            offset: window.start,
        });
        let payloads = stream::poll_fn(move |cx| receiver.poll_recv(cx));
        let answer = pin!(self.router().upload(payloads, access, trouble));
        let sending = pin!(fill(sender, start, window, source));
        match select(answer, sending).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), answer)) => answer.await,
        }
    }
}

/// Hands on what a stream consists of. Nobody takes it any more once the stream
/// has ended; what was handed on until then is in the window.
async fn fill(
    sender: mpsc::Sender<Payload>,
    start: Payload,
    window: &mut Window,
    source: &mut (impl Stream<Item = Bytes> + Unpin),
) {
    let again: Vec<Bytes> = window.pieces.iter().cloned().collect();
    let again = again.into_iter().map(|piece| Payload::Data(piece.into()));
    for payload in [start].into_iter().chain(again) {
        if sender.send(payload).await.is_err() {
            return;
        }
    }
    while !window.is_whole && window.has_room() {
        match source.next().await {
            None => window.is_whole = true,
            Some(piece) => {
                window.push(piece.clone());
                if sender.send(Payload::Data(piece.into())).await.is_err() {
                    return;
                }
            }
        }
    }
    if window.is_whole {
        let end = Payload::End(TaskExecStdinWriteStreamEnd {});
        // That nobody takes it shows in the answer.
        let _ = sender.send(end).await;
    }
}

impl<P: Platform> Router<P> {
    async fn upload(
        &self,
        payloads: impl Stream<Item = Payload> + Send + 'static,
        access: &RouterAccess,
        trouble: &Trouble,
    ) -> Result<(), CallError> {
        let rpc = &TASK_EXEC_STDIN_WRITE_STREAM;
        let requests = payloads.map(|payload| TaskExecStdinWriteStreamRequest {
            payload: Some(payload),
        });
        let codec = ProstCodec::<
            TaskExecStdinWriteStreamRequest,
            TaskExecStdinWriteStreamResponse,
        >::default();
        let answer = self
            .client()
            .grpc(&access.endpoint, limits::UPLOAD)
            .client_streaming(
                with_token(requests, access, trouble),
                PathAndQuery::from_static(rpc.path),
                codec,
            )
            .await;
        answer
            .map(|_| ())
            .map_err(|status| self.client().failure(rpc.name, &status))
    }
}

/// What was sent, as long as the router has not said that it was taken.
#[derive(Debug, Default)]
struct Window {
    /// Where it begins in the input.
    start: u64,
    pieces: VecDeque<Bytes>,
    /// Bytes in it.
    length: usize,
    /// Whether the input ends with it.
    is_whole: bool,
}

impl Window {
    fn end(&self) -> u64 {
        self.start.saturating_add(self.length as u64)
    }

    fn has_room(&self) -> bool {
        self.length < limits::UPLOAD_WINDOW
    }

    fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        self.pieces.push_back(piece);
    }

    /// Drops what was taken: everything before this place in the input.
    fn taken(&mut self, taken: u64) -> Result<(), CallError> {
        let done = taken
            .checked_sub(self.start)
            .and_then(|done| usize::try_from(done).ok())
            .filter(|done| *done <= self.length);
        let Some(mut done) = done else {
            return Err(lost(self.end(), taken));
        };
        self.start = taken;
        self.length -= done;
        while let Some(piece) = self.pieces.front_mut() {
            if piece.len() > done {
                piece.advance(done);
                break;
            }
            done -= piece.len();
            self.pieces.pop_front();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Window;
    use bytes::Bytes;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_window_holds_what_was_not_taken(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 0..8),
            taken in proptest::collection::vec(0_usize..40, 0..6),
        ) {
            let all = pieces.concat();
            let mut window = Window::default();
            for piece in pieces {
                window.push(Bytes::from(piece));
            }
            let mut at = 0;
            for step in taken {
                let next = at + step;
                let result = window.taken(next as u64);
                prop_assert_eq!(result.is_ok(), next <= all.len());
                at = if next <= all.len() { next } else { at };
                let left: Vec<Bytes> = window.pieces.iter().cloned().collect();
                prop_assert_eq!(left.concat(), &all[at..]);
                prop_assert_eq!(window.end(), all.len() as u64);
            }
            if at > 0 {
                prop_assert!(window.taken(at as u64 - 1).is_err());
            }
        }
    }
}
