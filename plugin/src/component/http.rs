//! A gRPC request over `wasi:http`: one request out, one answer in, bodies and
//! trailers streaming both ways.

use crate::limits::Deadline;
use crate::platform::TransportFault;
use bytes::Bytes;
use futures::future::{Either, select};
use http_body::{Body as _, Frame};
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::body::Body;
use wasip3::http::client;
use wasip3::http::types::{
    ErrorCode, Fields, Method, Request, RequestOptions, Response, Scheme, Trailers,
};
use wasip3::{wit_future, wit_stream};
use wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult, StreamWriter};

/// Sends a request and gives the answer once its head is there. The request's
/// body may still be on its way then.
pub(super) async fn send(
    request: http::Request<Body>,
    deadline: Deadline,
) -> Result<http::Response<Body>, TransportFault> {
    let uri = request.uri().clone();
    let (parts, body) = request.into_parts();
    let (contents, contents_reader) = wit_stream::new();
    let (trailers, trailers_reader) = wit_future::new(|| Err(cancelled()));
    let request = head(parts, deadline, contents_reader, trailers_reader).map_err(broken)?;
    let answer = pin!(client::send(request));
    let answer = match select(answer, Box::pin(write_body(body, contents, trailers))).await {
        Either::Left((answer, rest)) => {
            wit_bindgen::spawn_local(rest);
            answer
        }
        Either::Right(((), answer)) => answer.await,
    };
    match answer {
        Ok(response) => incoming(response).map_err(broken),
        Err(ErrorCode::HttpRequestDenied) => Err(TransportFault::Refused {
            url: uri.to_string(),
        }),
        Err(code) => Err(broken(describe(&code))),
    }
}

/// The request without its body.
fn head(
    parts: http::request::Parts,
    deadline: Deadline,
    contents: StreamReader<u8>,
    trailers: FutureReader<Result<Option<Trailers>, ErrorCode>>,
) -> Result<Request, String> {
    let headers: Vec<(String, Vec<u8>)> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    let headers = Fields::from_list(&headers)
        .map_err(|error| format!("the host does not take the request's headers: {error:?}"))?;
    let options = Some(request_options(deadline));
    let (request, _sent) = Request::new(headers, Some(contents), trailers, options);
    let scheme = match parts.uri.scheme_str() {
        Some("http") => Scheme::Http,
        _ => Scheme::Https,
    };
    let path = parts.uri.path_and_query().map(|path| path.as_str());
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    request
        .set_method(&Method::Post)
        .and_then(|()| request.set_scheme(Some(&scheme)))
        .and_then(|()| request.set_authority(authority))
        .and_then(|()| request.set_path_with_query(path))
        .map_err(|()| format!("the host does not take the URL {}", parts.uri))?;
    Ok(request)
}

/// The time limits of a request. Most have the same as the one before, and one
/// question to the host copies them.
fn request_options(deadline: Deadline) -> RequestOptions {
    thread_local! {
        static LAST: RefCell<Option<(Deadline, RequestOptions)>> = const { RefCell::new(None) };
    }
    LAST.with_borrow_mut(|last| match last {
        Some((known, options)) if *known == deadline => options.clone(),
        _ => {
            let options = RequestOptions::new();
            // A host that cannot keep time limits says so here; its own still hold.
            let _ = options.set_connect_timeout(Some(nanoseconds(deadline.head)));
            let _ = options.set_first_byte_timeout(Some(nanoseconds(deadline.head)));
            let _ = options.set_between_bytes_timeout(Some(nanoseconds(deadline.body)));
            let copy = options.clone();
            *last = Some((deadline, options));
            copy
        }
    })
}

async fn write_body(
    mut body: Body,
    mut contents: StreamWriter<u8>,
    trailers: FutureWriter<Result<Option<Trailers>, ErrorCode>>,
) {
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => {
                if !contents.write_all(data.into()).await.is_empty() {
                    // Nobody reads the rest.
                    return;
                }
            }
            // Requests of gRPC have no trailers.
            Ok(Err(_)) => {}
            Err(status) => {
                let reason = status.message().to_owned();
                let _ = trailers
                    .write(Err(ErrorCode::InternalError(Some(reason))))
                    .await;
                return;
            }
        }
    }
    drop(contents);
    let _ = trailers.write(Ok(None)).await;
}

fn incoming(response: Response) -> Result<http::Response<Body>, String> {
    let mut builder = http::Response::builder().status(response.get_status_code());
    for (name, value) in response.get_headers().copy_all() {
        builder = builder.header(name, value);
    }
    let (processed, processed_reader) = wit_future::new(|| Ok(()));
    let (contents, trailers) = Response::consume_body(response, processed_reader);
    let body = IncomingBody {
        state: BodyState::Ready { contents, trailers },
        room: FIRST_ROOM,
        _processed: processed,
    };
    builder
        .body(Body::new(body))
        .map_err(|error| error.to_string())
}

/// Room for the first piece of an answer: most answers are one small message.
const FIRST_ROOM: usize = 1024;
/// Room for one piece once pieces have proven large.
const MOST_ROOM: usize = 256 * 1024;

/// The body of an answer, read as it comes.
struct IncomingBody {
    state: BodyState,
    room: usize,
    /// The host wants to hear whether the answer was processed; dropping this
    /// tells it so.
    _processed: FutureWriter<Result<(), ErrorCode>>,
}

type TrailersReader = FutureReader<Result<Option<Trailers>, ErrorCode>>;

enum BodyState {
    Ready {
        contents: StreamReader<u8>,
        trailers: TrailersReader,
    },
    Reading(Pin<Box<dyn Future<Output = Piece> + Send>>),
    Done,
}

enum Piece {
    Data {
        data: Vec<u8>,
        contents: StreamReader<u8>,
        trailers: TrailersReader,
    },
    End(Result<Option<Trailers>, ErrorCode>),
}

async fn read(mut contents: StreamReader<u8>, trailers: TrailersReader, room: usize) -> Piece {
    match contents.read(Vec::with_capacity(room)).await {
        (StreamResult::Complete(_), data) => Piece::Data {
            data,
            contents,
            trailers,
        },
        (StreamResult::Dropped | StreamResult::Cancelled, _) => Piece::End(trailers.await),
    }
}

impl http_body::Body for IncomingBody {
    type Data = Bytes;
    type Error = TransportFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportFault>>> {
        loop {
            self.state = match std::mem::replace(&mut self.state, BodyState::Done) {
                BodyState::Done => return Poll::Ready(None),
                BodyState::Ready { contents, trailers } => {
                    BodyState::Reading(Box::pin(read(contents, trailers, self.room)))
                }
                BodyState::Reading(mut reading) => {
                    let Poll::Ready(piece) = reading.as_mut().poll(cx) else {
                        self.state = BodyState::Reading(reading);
                        return Poll::Pending;
                    };
                    match piece {
                        Piece::Data {
                            data,
                            contents,
                            trailers,
                        } => {
                            if data.len() == self.room {
                                self.room = (self.room * 4).min(MOST_ROOM);
                            }
                            self.state = BodyState::Ready { contents, trailers };
                            return Poll::Ready(Some(Ok(Frame::data(data.into()))));
                        }
                        Piece::End(Ok(None)) => return Poll::Ready(None),
                        Piece::End(Ok(Some(trailers))) => {
                            let frame = Frame::trailers(headers(&trailers));
                            return Poll::Ready(Some(Ok(frame)));
                        }
                        Piece::End(Err(code)) => {
                            return Poll::Ready(Some(Err(broken(describe(&code)))));
                        }
                    }
                }
            };
        }
    }
}

/// Trailers that are no headers by HTTP's rules are left out.
fn headers(trailers: &Trailers) -> http::HeaderMap {
    let convert = |(name, value): (String, Vec<u8>)| {
        let name: http::HeaderName = name.parse().ok()?;
        Some((name, http::HeaderValue::from_bytes(&value).ok()?))
    };
    trailers
        .copy_all()
        .into_iter()
        .filter_map(convert)
        .collect()
}

fn describe(code: &ErrorCode) -> String {
    match code {
        ErrorCode::InternalError(Some(reason)) => reason.clone(),
        ErrorCode::ConnectionRefused => "connection refused".into(),
        ErrorCode::ConnectionTerminated => "the connection broke".into(),
        ErrorCode::ConnectionTimeout => "connecting took too long".into(),
        ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => {
            "no answer in time".into()
        }
        ErrorCode::DnsError(_) => "the server's name cannot be resolved".into(),
        code => format!("{code:?}"),
    }
}

fn broken(reason: String) -> TransportFault {
    TransportFault::Broken { reason }
}

fn cancelled() -> ErrorCode {
    ErrorCode::InternalError(Some("the request was given up".to_owned()))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
