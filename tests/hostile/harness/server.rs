//! A server that speaks HTTP/2, answers what a test wants, and remembers what it
//! was asked; and a port that nobody may touch.

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// The body of an answer.
pub(crate) type AnswerBody = UnsyncBoxBody<Bytes, Infallible>;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) trailers: HeaderMap,
    pub(crate) body: Bytes,
}

type Answer = dyn Fn(Seen) -> BoxFuture<'static, Response<AnswerBody>> + Send + Sync;

/// A server on a port of its own, as long as the runtime lives.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    answer: Box<Answer>,
    seen: Mutex<Vec<Seen>>,
    received: AtomicU64,
}

impl Server {
    /// A server that gives this answer to everything.
    pub(crate) async fn start(
        answer: impl Fn(Seen) -> Response<AnswerBody> + Send + Sync + 'static,
    ) -> Self {
        Self::start_async(move |seen| {
            let answer = answer(seen);
            Box::pin(std::future::ready(answer))
        })
        .await
    }

    /// A server that may take its time.
    pub(crate) async fn start_async(
        answer: impl Fn(Seen) -> BoxFuture<'static, Response<AnswerBody>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            seen: Mutex::default(),
            received: AtomicU64::new(0),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let serving = Arc::clone(&serving);
                let service = service_fn(move |request| Arc::clone(&serving).serve(request));
                tokio::spawn(
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), service),
                );
            }
        });
        Self { address, shared }
    }

    /// One that says yes to everything.
    pub(crate) async fn yes() -> Self {
        Self::start(|_| answer(200, &[], b"")).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Host and port.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The requests that arrived to their end.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Bytes of bodies, of broken off ones too.
    pub(crate) fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }
}

impl Shared {
    async fn serve(
        self: Arc<Self>,
        request: http::Request<Incoming>,
    ) -> Result<Response<AnswerBody>, hyper::Error> {
        let (parts, mut body) = request.into_parts();
        let mut data = Vec::new();
        let mut trailers = HeaderMap::new();
        while !body.is_end_stream() {
            let Some(frame) = body.frame().await else {
                break;
            };
            match frame?.into_data() {
                Ok(piece) => {
                    let size = piece.len() as u64;
                    self.received.fetch_add(size, Ordering::Relaxed);
                    data.extend_from_slice(&piece);
                }
                Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
            }
        }
        let seen = Seen {
            method: parts.method,
            uri: parts.uri.to_string(),
            headers: parts.headers,
            trailers,
            body: data.into(),
        };
        self.seen.lock().unwrap().push(seen.clone());
        Ok((self.answer)(seen).await)
    }
}

/// An answer of one piece, with a trailer as gRPC has it.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], data: &[u8]) -> Response<AnswerBody> {
    answer_with_trailers(status, headers, data, &[("grpc-status", "0")])
}

/// An answer of one piece, with these trailers.
pub(crate) fn answer_with_trailers(
    status: u16,
    headers: &[(&str, &str)],
    data: &[u8],
    trailers: &[(&'static str, &str)],
) -> Response<AnswerBody> {
    let mut fields = HeaderMap::new();
    for (name, value) in trailers {
        fields.insert(*name, value.parse().unwrap());
    }
    let data = Bytes::copy_from_slice(data);
    let frames = [Ok(Frame::data(data)), Ok(Frame::trailers(fields))];
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let body = StreamBody::new(futures::stream::iter(frames));
    response.body(body.boxed_unsync()).unwrap()
}

/// An answer that never ends.
pub(crate) fn endless_answer(piece: usize) -> Response<AnswerBody> {
    let piece = Bytes::from(vec![b'x'; piece]);
    let frames = futures::stream::repeat_with(move || Ok(Frame::data(piece.clone())));
    Response::new(StreamBody::new(frames).boxed_unsync())
}

/// A port that listens, so that it could be connected to.
pub(crate) struct Forbidden {
    listener: std::net::TcpListener,
}

impl Forbidden {
    pub(crate) fn new() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Connections wait in the system's queue until they are asked for, so none
    /// can be missed.
    pub(crate) fn assert_untouched(&self) {
        match self.listener.accept() {
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            Ok((_, from)) => panic!("{from} has connected"),
        }
    }
}
