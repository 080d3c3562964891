//! The way from a plugin to the simulated Modal, where things get lost.

use crate::limits;
use crate::scenario::{CallFault, Moment};
use crate::schedule::{Kill, Schedule};
use crate::trace::Trace;
use bytes::{BufMut as _, Bytes, BytesMut};
use flavor_host::surroundings::{SendError, Sending, Transport, TransportBody};
use futures::future::pending;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Full};
use modal_local::Service;
use modal_local::simulated::Simulated;
use modal_proto::RETRY_POLICY_TYPE;
use modal_proto::client::{RpcRetryPolicy, RpcStatus};
use prost::Message;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

/// What all controllers of a run share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) trace: Arc<Trace>,
    pub(crate) schedule: Arc<Schedule>,
    pub(crate) modal: Simulated,
    /// From a request's leaving to its arrival, and the same back.
    pub(crate) latency: Duration,
    /// Tells of each request that arrives.
    pub(crate) arrived: Notify,
}

/// Why a controller is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// A fault killed it; its successor comes after this time.
    Killed { restart_after: Duration },
    /// It asked without end.
    Circling,
}

/// The life of one controller: once it is cut off, it is heard no more and hears
/// nothing.
#[derive(Debug, Clone)]
pub(crate) struct Life(watch::Sender<Option<Cut>>);

impl Life {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Resolves when it is cut off.
    pub(crate) async fn over(&self) -> Cut {
        let mut life = self.0.subscribe();
        match life.wait_for(Option::is_some).await {
            Ok(cut) => (*cut).unwrap_or(Cut::Circling),
            // The sender is ours.
            Err(_) => pending().await,
        }
    }

    /// Cuts it off. Never returns.
    pub(crate) async fn end<T>(&self, cut: Cut) -> T {
        self.0.send_if_modified(|life| {
            let first = life.is_none();
            life.get_or_insert(cut);
            first
        });
        pending().await
    }

    /// Counts an import call. Does not return when the controller dies before it;
    /// gives the death that comes after it.
    pub(crate) async fn import(&self, world: &World) -> (u64, Option<Cut>) {
        if self.is_over() {
            return pending().await;
        }
        let (number, kill) = world.schedule.import(world.trace.now());
        if number > limits::IMPORT_CALLS {
            return self.end(Cut::Circling).await;
        }
        let Some(Kill {
            moment,
            restart_after,
        }) = kill
        else {
            return (number, None);
        };
        let cut = Cut::Killed { restart_after };
        match moment {
            Moment::Before => {
                world
                    .trace
                    .add(format_args!("killed before call {number}"), &[]);
                self.end(cut).await
            }
            Moment::After => (number, Some(cut)),
        }
    }
}

/// The network as one controller has it.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) world: Arc<World>,
    pub(crate) life: Life,
}

impl Transport for Network {
    fn send(&self, request: Request<TransportBody>) -> Sending {
        let (world, life) = (Arc::clone(&self.world), self.life.clone());
        Box::pin(async move {
            let (number, dies_after) = life.import(&world).await;
            let answer = carry(&world, number, request).await;
            if let Some(cut) = dies_after {
                world
                    .trace
                    .add(format_args!("killed after call {number}"), &[]);
                return life.end(cut).await;
            }
            let (response, breaks) = match answer {
                Answer::Here(response) => (response, false),
                Answer::Breaking(response) => (response, true),
                Answer::Failed(error) => {
                    world
                        .trace
                        .add(format_args!("call {number} failed: {error}"), &[]);
                    return Err(error);
                }
                Answer::Never => return pending().await,
            };
            Ok(response.map(|body| {
                Traced {
                    body,
                    number,
                    trace: Arc::clone(&world.trace),
                    breaks,
                    is_broken: false,
                }
                .boxed_unsync()
            }))
        })
    }
}

/// What becomes of a request.
enum Answer {
    Here(Response<tonic::body::Body>),
    /// It comes and breaks off.
    Breaking(Response<tonic::body::Body>),
    Failed(SendError),
    Never,
}

/// A request as it is sent, maybe more than once.
struct Sent {
    parts: http::request::Parts,
    body: Bytes,
}

async fn carry(world: &World, number: u64, request: Request<TransportBody>) -> Answer {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return Answer::Failed(SendError::GivenUp);
    };
    let sent = Sent {
        parts,
        body: body.to_bytes(),
    };
    let path = sent.parts.uri.path();
    let method = path.rsplit('/').next().unwrap_or_default();
    let call = world.schedule.call(method, world.trace.now());
    world.trace.add(
        format_args!("call {number} {method} {}", call.number),
        &told(&sent.parts.headers, &sent.body),
    );
    let Some(fault) = call.fault else {
        pause(world.latency).await;
        let answer = world.deliver(&sent).await;
        pause(world.latency).await;
        return world.answered(number, answer);
    };
    world
        .trace
        .add(format_args!("call {number} meets {fault:?}"), &[]);
    pause(world.latency).await;
    match fault {
        CallFault::LostRequest => return Answer::Never,
        CallFault::ResetRequest => return Answer::Failed(SendError::Reset),
        CallFault::DelayedRequest(time) => pause(time).await,
        CallFault::Overtaken => world.be_overtaken().await,
        CallFault::Duplicate => {
            // Whoever is asked twice answers twice; the first answer is lost.
            let first = world.deliver(&sent).await;
            drop(first);
        }
        CallFault::Throttled(after) => {
            pause(world.latency).await;
            return world.answered(number, throttled(after));
        }
        CallFault::Unavailable => {
            pause(world.latency).await;
            return world.answered(
                number,
                refusal(tonic::Status::unavailable("try again later")),
            );
        }
        CallFault::ExpiredToken => {
            pause(world.latency).await;
            let status = tonic::Status::unauthenticated("the token has expired");
            return world.answered(number, refusal(status));
        }
        CallFault::LostReply | CallFault::DelayedReply(_) | CallFault::ResetReply => {}
    }
    let answer = world.deliver(&sent).await;
    match fault {
        CallFault::LostReply => return Answer::Never,
        CallFault::DelayedReply(time) => pause(time).await,
        CallFault::ResetReply => {
            pause(world.latency).await;
            return match world.answered(number, answer) {
                Answer::Here(response) => Answer::Breaking(response),
                other => other,
            };
        }
        _ => {}
    }
    pause(world.latency).await;
    world.answered(number, answer)
}

impl World {
    async fn deliver(&self, sent: &Sent) -> Response<tonic::body::Body> {
        let mut request = Request::new(Full::new(sent.body.clone()));
        request.method_mut().clone_from(&sent.parts.method);
        request.uri_mut().clone_from(&sent.parts.uri);
        request.headers_mut().clone_from(&sent.parts.headers);
        *request.version_mut() = http::Version::HTTP_2;
        let mut service: Service = self.modal.service();
        let answering = tower_service::Service::call(&mut service, request);
        // Whoever waits to be overtaken waits for arrivals, not for answers: some
        // questions are answered late.
        self.arrived.notify_waiters();
        let answer: Result<_, Infallible> = answering.await;
        match answer {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Waits until another request has arrived, for a while.
    async fn be_overtaken(&self) {
        let _ = timeout(limits::OVERTAKING, self.arrived.notified()).await;
    }

    fn answered(&self, number: u64, response: Response<tonic::body::Body>) -> Answer {
        let status = response.status();
        let code = response.headers().get("grpc-status");
        let code = code.and_then(|code| code.to_str().ok()).unwrap_or("-");
        self.trace.add(
            format_args!("answer {number} {status} {code}"),
            &told(response.headers(), &[]),
        );
        Answer::Here(response)
    }
}

/// What the trace holds of a message. The host's own secrets are not in it; they are
/// no part of what the plugin asked.
fn told(headers: &HeaderMap, body: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(body.len() + 512);
    for (name, value) in headers {
        if CREDENTIALS.contains(&name.as_str()) {
            continue;
        }
        bytes.put_slice(name.as_str().as_bytes());
        bytes.put_u8(b':');
        bytes.put_slice(value.as_bytes());
        bytes.put_u8(b'\n');
    }
    bytes.put_u8(b'\n');
    bytes.put_slice(body);
    bytes
}

const CREDENTIALS: [&str; 2] = ["x-modal-token-id", "x-modal-token-secret"];

async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

fn refusal(status: tonic::Status) -> Response<tonic::body::Body> {
    status.into_http()
}

/// RESOURCE_EXHAUSTED, with `google.rpc.RetryInfo` when there is a time.
fn throttled(after: Option<Duration>) -> Response<tonic::body::Body> {
    let message = "too many requests";
    let status = tonic::Status::resource_exhausted(message);
    let Some(after) = after else {
        return refusal(status);
    };
    let policy = RpcRetryPolicy {
        retry_after_secs: after.as_secs_f32(),
    };
    let details = RpcStatus {
        code: tonic::Code::ResourceExhausted.into(),
        message: message.to_owned(),
        details: vec![prost_types::Any {
            type_url: format!("type.modal.com/{RETRY_POLICY_TYPE}"),
            value: policy.encode_to_vec(),
        }],
    };
    let details = Bytes::from(details.encode_to_vec());
    refusal(tonic::Status::with_details(
        tonic::Code::ResourceExhausted,
        message,
        details,
    ))
}

/// The body of an answer, on its way into the trace and to the plugin.
struct Traced {
    body: tonic::body::Body,
    number: u64,
    trace: Arc<Trace>,
    /// Whether the connection breaks within the first piece.
    breaks: bool,
    is_broken: bool,
}

impl Body for Traced {
    type Data = Bytes;
    type Error = SendError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SendError>>> {
        let number = self.number;
        if self.is_broken {
            self.trace
                .add(format_args!("answer {number} breaks off"), &[]);
            return Poll::Ready(Some(Err(SendError::Reset)));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let frame = match frame {
            None if self.breaks => {
                self.is_broken = true;
                return Poll::Ready(Some(Err(SendError::Reset)));
            }
            None => return Poll::Ready(None),
            Some(Ok(frame)) => frame,
            Some(Err(status)) => {
                self.trace
                    .add(format_args!("answer {number} fails: {status}"), &[]);
                return Poll::Ready(Some(Err(SendError::Reset)));
            }
        };
        let frame = match (self.breaks, frame.into_data()) {
            (true, Ok(data)) => {
                self.is_broken = true;
                Frame::data(data.slice(..data.len() / 2))
            }
            (true, Err(_)) => {
                self.is_broken = true;
                return Poll::Ready(Some(Err(SendError::Reset)));
            }
            (false, Ok(data)) => Frame::data(data),
            (false, Err(frame)) => frame,
        };
        match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => self.trace.add(format_args!("answer {number}"), data),
            (None, Some(trailers)) => {
                let told = told(trailers, &[]);
                self.trace.add(format_args!("answer {number} ends"), &told);
            }
            (None, None) => {}
        }
        Poll::Ready(Some(Ok(frame)))
    }
}
