//! Bodies on their way, both ways: counted, bounded and timed.

use super::clients::Stream;
use crate::limits::{GATHER_TURNS, REQUEST_PIECE};
use crate::log::GuestLog;
use crate::surroundings::TransportBody;
use bytes::{Bytes, BytesMut};
use flavor_policy::Budget;
use http::HeaderMap;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use std::collections::VecDeque;
use std::error::Error as StdError;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::{Error, WasiBody};

/// Judges a piece of a body before it leaves.
type Check = Box<dyn Fn(&Frame<Bytes>) -> Result<(), Error> + Send + Sync>;

/// Why a body was stopped on its way. Who sends it only hears that it was.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stopped(Arc<Mutex<Option<Error>>>);

impl Stopped {
    /// The reason, once.
    pub(crate) fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn because(&self, error: Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// What a guest sends. Every piece is judged before it leaves.
///
/// The mutex is never locked by more than one: reqwest wants its bodies `Sync`,
/// and the guest's are not.
pub(crate) struct RequestBody {
    /// What was read and judged already.
    gathered: VecDeque<Frame<Bytes>>,
    /// The rest; none when that was all.
    body: Option<Mutex<WasiBody>>,
    check: Option<Check>,
    stopped: Stopped,
}

impl RequestBody {
    pub(crate) fn new(
        body: WasiBody,
        check: impl Fn(&Frame<Bytes>) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Self {
        Self {
            gathered: VecDeque::new(),
            body: Some(Mutex::new(body)),
            check: Some(Box::new(check)),
            stopped: Stopped::default(),
        }
    }

    /// A body that was read and judged already.
    pub(crate) fn whole(data: Bytes) -> Self {
        Self {
            gathered: VecDeque::from([Frame::data(data)]),
            body: None,
            check: None,
            stopped: Stopped::default(),
        }
    }

    /// Reads what the guest is about to write, for a few turns of its own: a small
    /// message then leaves together with its head, in one packet.
    ///
    /// # Errors
    ///
    /// When a piece is refused, or the guest gives the body up.
    pub(crate) async fn gather(&mut self) -> Result<(), Error> {
        let mut bytes = 0;
        for _ in 0..GATHER_TURNS {
            if self.body.is_none() || bytes >= REQUEST_PIECE {
                break;
            }
            match poll_fn(|cx| Poll::Ready(self.poll_body(cx))).await {
                Poll::Ready(Some(frame)) => {
                    let frame = frame?;
                    bytes += frame.data_ref().map_or(0, Bytes::len);
                    self.gathered.push_back(frame);
                }
                Poll::Ready(None) => {}
                Poll::Pending => tokio::task::yield_now().await,
            }
        }
        Ok(())
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let body = body.get_mut().unwrap_or_else(PoisonError::into_inner);
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if frame.is_none() {
            self.body = None;
        }
        if let (Some(Ok(frame)), Some(check)) = (&frame, &self.check)
            && let Err(error) = check(frame)
        {
            self.stopped.because(error);
            return Poll::Ready(Some(Err(Error::HttpRequestDenied)));
        }
        Poll::Ready(frame)
    }

    /// Tells later why it was stopped, if it was.
    pub(crate) fn stopped(&self) -> Stopped {
        self.stopped.clone()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.gathered.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => self.poll_body(cx),
        }
    }

    /// Puts the end of a body that is known into the frame of its last piece.
    fn is_end_stream(&self) -> bool {
        self.gathered.is_empty() && self.body.is_none()
    }
}

/// A piece of an answer, or why there is none.
type Received = Result<Frame<Bytes>, Box<dyn StdError>>;

/// An answer on its way.
pub(crate) enum Incoming {
    /// From the network, with its place on a connection.
    Network(
        reqwest::Body,
        #[allow(dead_code, reason = "held, not used")] Stream,
    ),
    /// From the surroundings.
    Given(TransportBody),
}

impl Incoming {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        let frame = match self {
            Self::Network(body, _) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                frame.map(|frame| frame.map_err(Into::into))
            }
            Self::Given(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                frame.map(|frame| frame.map_err(Into::into))
            }
        };
        Poll::Ready(frame)
    }
}

/// What a server answers: at most so much, and never silent for too long.
pub(crate) struct AnswerBody {
    body: Incoming,
    budget: Budget,
    silence: Duration,
    silent_until: Option<Pin<Box<Sleep>>>,
    log: Arc<GuestLog>,
    /// One of the places for requests under way, until the answer is over.
    _place: Option<OwnedSemaphorePermit>,
}

impl AnswerBody {
    pub(crate) fn new(
        body: Incoming,
        budget: Budget,
        silence: Duration,
        log: Arc<GuestLog>,
        place: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            body,
            budget,
            silence,
            silent_until: None,
            log,
            _place: place,
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Poll::Ready(frame) = self.body.poll_frame(cx) else {
            // Most answers are there at once; only the others need a clock.
            let silence = self.silence;
            let clock = self
                .silent_until
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(silence)));
            return match clock.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Some(Err(Error::ConnectionReadTimeout))),
                Poll::Pending => Poll::Pending,
            };
        };
        let until = Instant::now() + self.silence;
        if let Some(clock) = &mut self.silent_until {
            clock.as_mut().reset(until);
        }
        Poll::Ready(match frame {
            None => None,
            Some(Err(error)) => {
                tracing::debug!("an answer broke off: {error:?}");
                Some(Err(Error::ConnectionTerminated))
            }
            Some(Ok(frame)) => {
                let size = frame.data_ref().map_or(0, Bytes::len) as u64;
                match self.budget.try_charge(size) {
                    Ok(()) => Some(Ok(frame)),
                    Err(refusal) => {
                        self.log.warn(&refusal);
                        Some(Err(Error::HttpResponseBodySize(None)))
                    }
                }
            }
        })
    }
}

/// A whole body.
pub(crate) struct Collected {
    pub(crate) data: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// Reads a body to its end, at most `limit` bytes of it.
pub(crate) async fn collect<B>(body: &mut B, limit: u64) -> Result<Collected, Error>
where
    B: Body<Data = Bytes, Error = Error> + Unpin,
{
    let mut data = BytesMut::new();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(piece) if (data.len() + piece.len()) as u64 > limit => {
                return Err(Error::HttpResponseBodySize(Some(limit)));
            }
            Ok(piece) => data.extend_from_slice(&piece),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok(Collected {
        data: data.freeze(),
        trailers,
    })
}
