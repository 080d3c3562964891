//! A platform for tests: answers come from a script, time is tokio's and paused,
//! and everything that was sent is kept.

use crate::limits::Deadline;
use crate::platform::{LogLevel, Platform, TransportFault};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use http_body::{Body as _, Frame};
use prost::Message;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tonic::Code;
use tonic::body::Body;

/// What a server does with one request.
pub(crate) enum Reply {
    /// Messages, then success.
    Messages(Vec<Bytes>),
    /// Messages, then a failure.
    Broken(Vec<Bytes>, Code, &'static str),
    /// A failure with details and a warning for the trailers.
    Status {
        code: Code,
        message: &'static str,
        details: Vec<u8>,
        warning: Option<&'static str>,
    },
    /// No answer.
    Fault(TransportFault),
    /// No answer until the deadline.
    TimedOut,
    /// No answer, ever.
    Silence,
}

impl Reply {
    pub(crate) fn ok(message: &impl Message) -> Self {
        Self::Messages(vec![message.encode_to_vec().into()])
    }

    pub(crate) fn failure(code: Code, message: &'static str) -> Self {
        Self::Status {
            code,
            message,
            details: Vec::new(),
            warning: None,
        }
    }
}

/// A request that was sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// The method's own name.
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) message: Bytes,
    pub(crate) deadline: Deadline,
}

impl Sent {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn decode<M: Message + Default>(&self) -> M {
        M::decode(self.message.clone()).unwrap()
    }
}

type Script = Box<dyn FnMut(&Sent) -> Reply>;

/// The platform, with a runtime of its own.
#[derive(Clone)]
pub(crate) struct Fake {
    state: Rc<RefCell<State>>,
    runtime: Rc<Runtime>,
    start: Instant,
}

struct State {
    script: Script,
    sent: Vec<Sent>,
    sleeps: Vec<Duration>,
    chance: u8,
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fake")
    }
}

/// When the clock starts.
const START: Duration = Duration::from_secs(1_000);

impl Fake {
    /// A server that does as the script says.
    pub(crate) fn new(script: impl FnMut(&Sent) -> Reply + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        Self {
            state: Rc::new(RefCell::new(State {
                script: Box::new(script),
                sent: Vec::new(),
                sleeps: Vec::new(),
                chance: 0,
            })),
            start: runtime.block_on(async { Instant::now() }),
            runtime: Rc::new(runtime),
        }
    }

    /// A server that gives these answers in turn.
    pub(crate) fn replying(replies: impl IntoIterator<Item = Reply>) -> Self {
        let mut replies: VecDeque<Reply> = replies.into_iter().collect();
        Self::new(move |_| replies.pop_front().expect("no more answers in the script"))
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.state.borrow().sent.clone()
    }

    /// Requests for one method.
    pub(crate) fn sent_to(&self, method: &str) -> Vec<Sent> {
        let sent = self.sent();
        sent.into_iter()
            .filter(|sent| sent.method == method)
            .collect()
    }

    pub(crate) fn methods(&self) -> Vec<String> {
        self.sent().into_iter().map(|sent| sent.method).collect()
    }

    /// Every pause, in milliseconds.
    pub(crate) fn sleeps(&self) -> Vec<u128> {
        self.state
            .borrow()
            .sleeps
            .iter()
            .map(Duration::as_millis)
            .collect()
    }

    pub(crate) fn advance(&self, duration: Duration) {
        self.block_on(tokio::time::advance(duration));
    }

    /// Runs something to its end. Time passes when nothing else is left to do.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

impl Platform for Fake {
    async fn send(
        &self,
        request: http::Request<Body>,
        deadline: Deadline,
    ) -> Result<http::Response<Body>, TransportFault> {
        let (parts, mut body) = request.into_parts();
        let mut data = BytesMut::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            if let Ok(piece) = frame.unwrap().into_data() {
                data.extend_from_slice(&piece);
            }
        }
        // The prefix of a gRPC message: a flag and four bytes of length.
        let message = data.freeze().slice(5..);
        let sent = Sent {
            method: parts.uri.path().rsplit('/').next().unwrap().to_owned(),
            url: parts.uri.to_string(),
            headers: parts.headers,
            message,
            deadline,
        };
        let reply = {
            let mut state = self.state.borrow_mut();
            state.sent.push(sent.clone());
            (state.script)(&sent)
        };
        // A server is never as quick as the next line.
        tokio::task::yield_now().await;
        match reply {
            Reply::Messages(messages) => Ok(response(messages, trailers(Code::Ok, ""))),
            Reply::Broken(messages, code, message) => {
                Ok(response(messages, trailers(code, message)))
            }
            Reply::Status {
                code,
                message,
                details,
                warning,
            } => {
                let status = tonic::Status::with_details(code, message, details.into());
                let mut trailers = HeaderMap::new();
                status.add_header(&mut trailers).unwrap();
                if let Some(warning) = warning {
                    trailers.insert("x-modal-warning", HeaderValue::from_static(warning));
                }
                Ok(response(Vec::new(), trailers))
            }
            Reply::Fault(fault) => Err(fault),
            Reply::TimedOut => {
                tokio::time::sleep(deadline.head).await;
                Err(TransportFault::Broken {
                    reason: "no answer in time".to_owned(),
                })
            }
            Reply::Silence => std::future::pending().await,
        }
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
        self.state.borrow_mut().sleeps.push(duration);
    }

    fn monotonic(&self) -> Duration {
        START + self.start.elapsed()
    }

    fn unix_time(&self) -> Duration {
        self.monotonic()
    }

    fn random(&self) -> [u8; 16] {
        let mut state = self.state.borrow_mut();
        state.chance = state.chance.wrapping_add(1);
        [state.chance; 16]
    }

    fn log(&self, _: LogLevel, _: &str) {}
}

fn trailers(code: Code, message: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    tonic::Status::new(code, message)
        .add_header(&mut trailers)
        .unwrap();
    trailers
}

fn response(messages: Vec<Bytes>, trailers: HeaderMap) -> http::Response<Body> {
    let mut frames: VecDeque<Frame<Bytes>> = messages.into_iter().map(data_frame).collect();
    frames.push_back(Frame::trailers(trailers));
    http::Response::builder()
        .header("content-type", "application/grpc")
        .body(Body::new(Frames(frames)))
        .unwrap()
}

fn data_frame(message: Bytes) -> Frame<Bytes> {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.extend_from_slice(&message);
    Frame::data(framed.freeze())
}

struct Frames(VecDeque<Frame<Bytes>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}
