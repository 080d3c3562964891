//! Modal, as the scripts of cases about the controller have it: behind the wire,
//! so that the client is the one of production.

use super::super::clock::Clock;
use super::super::fakes::{Fault, Script, put};
use super::server::FakeServer;
use crate::environment;
use crate::limits::Deadline;
use crate::names::tag;
use crate::platform::{LogLevel, Platform, TransportFault};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame};
use modal_proto::client::secret_source::Source;
use modal_proto::client::{
    AppGetOrCreateResponse, AuthTokenGetResponse, EnvironmentGetOrCreateResponse,
    EnvironmentMetadata, EnvironmentSettings, GenericResult, GenericStatus,
    ImageGetOrCreateResponse, SandboxCreateRequest, SandboxCreateResponse, SandboxCreateV2Request,
    SandboxCreateV2Response, SandboxTag, SandboxTerminateRequest, SandboxTerminateResponse,
    SandboxWaitRequest, SandboxWaitResponse, SecretGetOrCreateResponse,
};
use prost::Message;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::Code;
use tonic::body::Body;

/// A question that is not answered yet is held this long.
const HOLD: Duration = Duration::from_secs(1);

/// The service. Clones are the same.
#[derive(Clone)]
pub(super) struct FakeModal {
    clock: Clock,
    server: FakeServer,
    steps: Rc<HashMap<String, Step>>,
    pub(super) seen: Rc<RefCell<Seen>>,
}

/// What a step's sandbox does.
struct Step {
    polls: Script,
    create: Option<Fault>,
    terminate: Option<Fault>,
}

/// What was asked of it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) created: Vec<String>,
    pub(super) terminated: Vec<String>,
    pub(super) environments: Map<String, Value>,
    chance: u8,
}

impl FakeModal {
    pub(super) fn new(clock: &Clock, server: &FakeServer, steps: &[Value]) -> Self {
        let step = |script: &Value| {
            let step = Step {
                polls: Script::new(&script["polls"], 0.into()),
                create: Fault::from_script(&script["create"]),
                terminate: Fault::from_script(&script["terminate"]),
            };
            Some((script["name"].as_str()?.to_owned(), step))
        };
        Self {
            clock: clock.clone(),
            server: server.clone(),
            steps: Rc::new(steps.iter().filter_map(step).collect()),
            seen: Rc::default(),
        }
    }

    async fn answer(&self, method: &str, message: &[u8]) -> Result<Answer, TransportFault> {
        Ok(match method {
            "AuthTokenGet" => Answer::message(&AuthTokenGetResponse {
                token: "a.b.c".to_owned(),
            }),
            "AppGetOrCreate" => Answer::message(&AppGetOrCreateResponse {
                app_id: "ap-1".to_owned(),
                ..AppGetOrCreateResponse::default()
            }),
            "EnvironmentGetOrCreate" => Answer::message(&environment_answer()),
            "ImageGetOrCreate" => Answer::message(&ImageGetOrCreateResponse {
                image_id: "im-1".to_owned(),
                result: Some(result(0)),
                ..ImageGetOrCreateResponse::default()
            }),
            "SecretGetOrCreate" => Answer::message(&SecretGetOrCreateResponse {
                secret_id: "st-1".to_owned(),
                ..SecretGetOrCreateResponse::default()
            }),
            "SandboxCreate" => self.create_v1(message),
            "SandboxCreateV2" => self.create_v2(message),
            "SandboxWait" | "SandboxWaitV2" => self.wait(message).await?,
            "SandboxTerminate" | "SandboxTerminateV2" => self.terminate(message),
            _ => Answer::failure(Code::Unimplemented, "not in these cases"),
        })
    }

    fn create_v1(&self, message: &[u8]) -> Answer {
        let Ok(request) = SandboxCreateRequest::decode(message) else {
            return Answer::failure(Code::InvalidArgument, "not a message");
        };
        self.create(&request.tags, Vec::new(), |sandbox_id| {
            Answer::message(&SandboxCreateResponse {
                sandbox_id,
                ..SandboxCreateResponse::default()
            })
        })
    }

    fn create_v2(&self, message: &[u8]) -> Answer {
        let Ok(request) = SandboxCreateV2Request::decode(message) else {
            return Answer::failure(Code::InvalidArgument, "not a message");
        };
        let sources = request.secret_sources.into_iter();
        let variables = sources.filter_map(|source| match source.source {
            Some(Source::Env(variables)) => Some(variables.contents),
            _ => None,
        });
        self.create(&request.tags, variables.flatten().collect(), |sandbox_id| {
            Answer::message(&SandboxCreateV2Response {
                sandbox_id,
                task_id: "ta-1".to_owned(),
                ..SandboxCreateV2Response::default()
            })
        })
    }

    fn create(
        &self,
        tags: &[SandboxTag],
        variables: Vec<(String, String)>,
        created: impl FnOnce(String) -> Answer,
    ) -> Answer {
        let step = tags.iter().find(|tag| tag.tag_name == tag::STEP);
        let step = step.map_or("", |tag| tag.tag_value.as_str());
        {
            let mut seen = self.seen.borrow_mut();
            seen.created.push(step.to_owned());
            let split = environment::split(variables);
            let entry = json!({"env": texts(split.plain)});
            let entry = match split.secret.is_empty() {
                true => entry,
                false => put(entry, "secrets", json!([{"secret": texts(split.secret)}])),
            };
            seen.environments.insert(step.to_owned(), entry);
        }
        match self.steps.get(step).and_then(|step| step.create.as_ref()) {
            Some(fault) => Answer::failure(Code::FailedPrecondition, &fault.message),
            None => created(format!("sb-{step}")),
        }
    }

    async fn wait(&self, message: &[u8]) -> Result<Answer, TransportFault> {
        let Ok(request) = SandboxWaitRequest::decode(message) else {
            return Ok(Answer::failure(Code::InvalidArgument, "not a message"));
        };
        let name = request.sandbox_id.strip_prefix("sb-").unwrap_or_default();
        let Some(step) = self.steps.get(name) else {
            return Ok(Answer::failure(Code::NotFound, "there is no such sandbox"));
        };
        let polled = step.polls.next_code();
        self.server.polled(name);
        match polled {
            Err(fault) => Err(TransportFault::Broken {
                reason: fault.message,
            }),
            Ok(Some(code)) => Ok(Answer::message(&SandboxWaitResponse {
                result: Some(result(code)),
                ..SandboxWaitResponse::default()
            })),
            Ok(None) => {
                self.clock.sleep(HOLD).await;
                Ok(Answer::message(&SandboxWaitResponse::default()))
            }
        }
    }

    fn terminate(&self, message: &[u8]) -> Answer {
        let Ok(request) = SandboxTerminateRequest::decode(message) else {
            return Answer::failure(Code::InvalidArgument, "not a message");
        };
        let name = request.sandbox_id.strip_prefix("sb-").unwrap_or_default();
        self.seen.borrow_mut().terminated.push(name.to_owned());
        let step = self.steps.get(name);
        match step.and_then(|step| step.terminate.as_ref()) {
            Some(fault) => Answer::failure(Code::FailedPrecondition, &fault.message),
            None => Answer::message(&SandboxTerminateResponse::default()),
        }
    }
}

fn environment_answer() -> EnvironmentGetOrCreateResponse {
    EnvironmentGetOrCreateResponse {
        metadata: Some(EnvironmentMetadata {
            settings: Some(EnvironmentSettings {
                image_builder_version: "2025.06".to_owned(),
                ..EnvironmentSettings::default()
            }),
            ..EnvironmentMetadata::default()
        }),
        ..EnvironmentGetOrCreateResponse::default()
    }
}

fn result(code: i32) -> GenericResult {
    let status = match code {
        0 => GenericStatus::Success,
        _ => GenericStatus::Failure,
    };
    GenericResult {
        status: status.into(),
        exitcode: code,
        ..GenericResult::default()
    }
}

fn texts(variables: Vec<(String, String)>) -> Map<String, Value> {
    let variables = variables.into_iter();
    variables
        .map(|(name, value)| (name, value.into()))
        .collect()
}

/// What comes back for a request.
struct Answer {
    message: Option<Bytes>,
    code: Code,
    text: String,
}

impl Answer {
    fn message(message: &impl Message) -> Self {
        Self {
            message: Some(message.encode_to_vec().into()),
            code: Code::Ok,
            text: String::new(),
        }
    }

    fn failure(code: Code, text: &str) -> Self {
        Self {
            message: None,
            code,
            text: text.to_owned(),
        }
    }

    /// As gRPC over HTTP.
    fn response(self) -> http::Response<Body> {
        let mut frames = VecDeque::new();
        if let Some(message) = self.message {
            let mut framed = BytesMut::new();
            framed.put_u8(0);
            framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
            framed.extend_from_slice(&message);
            frames.push_back(Frame::data(framed.freeze()));
        }
        let mut trailers = HeaderMap::new();
        // A status of plain text always fits a header.
        let _ = tonic::Status::new(self.code, self.text).add_header(&mut trailers);
        frames.push_back(Frame::trailers(trailers));
        let mut response = http::Response::new(Body::new(Frames(frames)));
        response.headers_mut().insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/grpc"),
        );
        response
    }
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

impl Platform for FakeModal {
    async fn send(
        &self,
        request: http::Request<Body>,
        _: Deadline,
    ) -> Result<http::Response<Body>, TransportFault> {
        let (parts, mut body) = request.into_parts();
        let mut data = BytesMut::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            if let Ok(Ok(piece)) = frame.map(Frame::into_data) {
                data.extend_from_slice(&piece);
            }
        }
        // The prefix of a gRPC message: a flag and four bytes of length.
        let message = data.get(5..).unwrap_or_default();
        let method = parts.uri.path().rsplit('/').next().unwrap_or_default();
        Ok(self.answer(method, message).await?.response())
    }

    async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }

    fn monotonic(&self) -> Duration {
        self.clock.now()
    }

    fn unix_time(&self) -> Duration {
        self.clock.now()
    }

    fn random(&self) -> [u8; 16] {
        let mut seen = self.seen.borrow_mut();
        seen.chance = seen.chance.wrapping_add(1);
        [seen.chance; 16]
    }

    fn log(&self, _: LogLevel, _: &str) {}
}
