//! What the server does when it is called.

use crate::answer::{Body, Code, Failure, framed, streaming, trailers, unary};
use crate::faults::{Bucket, Fate};
use crate::gate::Gate;
use crate::sandboxes::Sandboxes;
use crate::{Counts, Script};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use modal_proto::client::{
    AppGetOrCreateResponse, AuthTokenGetResponse, CommandRouterAccess,
    EnvironmentGetOrCreateResponse, EnvironmentMetadata, EnvironmentSettings, GenericResult,
    GenericStatus, ImageGetOrCreateResponse, SandboxCreateV2Response,
    SandboxGetCommandRouterAccessResponse, SandboxListRequest, SandboxListResponse,
    SandboxTerminateRequest, SandboxTerminateResponse, SandboxWaitRequest, SandboxWaitResponse,
};
use modal_proto::task_command_router::{
    SandboxStdioFileDescriptor, SandboxStdioReadV2Request, SandboxStdioReadV2Response,
};
use prost::Message;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A token that never ends: its middle says nothing about that.
const TOKEN: &str = "e30.e30.sig";

/// Everything that the calls share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) script: Script,
    pub(crate) gate: Gate,
    pub(crate) url: String,
    pub(crate) state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) sandboxes: Sandboxes,
    pub(crate) counts: Counts,
    pub(crate) connections: usize,
    bucket: Option<Bucket>,
    calls: u64,
}

impl World {
    pub(crate) fn new(script: Script, gate: Gate, url: String) -> Self {
        Self {
            gate,
            state: Mutex::new(State {
                sandboxes: Sandboxes::default(),
                counts: Counts::default(),
                connections: 0,
                bucket: script.throttle.map(Bucket::new),
                calls: 0,
            }),
            script,
            url,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<Body>, Infallible> {
        let (parts, body) = request.into_parts();
        let method = parts.uri.path().rsplit('/').next().unwrap_or_default();
        let fate = self.count(method);
        let body = body.collect().await.map(|body| body.to_bytes());
        // The prefix of a gRPC message: a flag and four bytes of length.
        let message = body.ok().filter(|body| body.len() >= 5);
        let message = message.map(|body| body.slice(5..)).unwrap_or_default();
        let delay = self.script.delay;
        self.gate.pass().await;
        if fate == Fate::Refused {
            pause(delay).await;
            return Ok(unary(Err(Code::Unavailable.into())));
        }
        if method == "SandboxStdioReadV2" {
            pause(delay).await;
            return Ok(self.read(&message));
        }
        let key = parts.headers.get("x-idempotency-key");
        let key = key.and_then(|key| key.to_str().ok()).unwrap_or_default();
        let result = self.perform(method, key, message).await;
        self.gate.pass().await;
        pause(match method {
            "SandboxCreateV2" => delay + self.script.create_delay,
            _ => delay,
        })
        .await;
        Ok(unary(match fate {
            Fate::AnswerLost => Err(Code::Unavailable.into()),
            _ => result,
        }))
    }

    fn count(&self, method: &str) -> Fate {
        let mut state = self.state();
        match state.counts.get_mut(method) {
            Some(count) => *count += 1,
            None => {
                state.counts.insert(method.to_owned(), 1);
            }
        }
        state.calls += 1;
        let faults = self.script.faults;
        faults.map_or(Fate::Answered, |faults| faults.fate(state.calls))
    }

    async fn perform(&self, method: &str, key: &str, message: Bytes) -> Result<Bytes, Failure> {
        match method {
            "AuthTokenGet" => Ok(framed(&AuthTokenGetResponse {
                token: TOKEN.into(),
            })),
            "AppGetOrCreate" => Ok(framed(&AppGetOrCreateResponse {
                app_id: "ap-1".into(),
                ..AppGetOrCreateResponse::default()
            })),
            "EnvironmentGetOrCreate" => Ok(framed(&environment())),
            "ImageGetOrCreate" => Ok(framed(&ImageGetOrCreateResponse {
                image_id: "im-1".into(),
                result: Some(GenericResult {
                    status: GenericStatus::Success.into(),
                    ..GenericResult::default()
                }),
                ..ImageGetOrCreateResponse::default()
            })),
            "SandboxCreateV2" => self.create(key, message),
            "SandboxWaitV2" => self.wait(message).await,
            "SandboxListV2" if self.script.lists => {
                let request: SandboxListRequest = decode(message);
                let sandboxes = self.state().sandboxes.page(&request, self.script.page);
                Ok(framed(&SandboxListResponse { sandboxes }))
            }
            "SandboxTerminateV2" => {
                let request: SandboxTerminateRequest = decode(message);
                let sandbox = self.state().sandboxes.by_id(&request.sandbox_id);
                let sandbox = sandbox.ok_or(Code::NotFound)?;
                let existing_result = sandbox.result();
                sandbox.terminate();
                Ok(framed(&SandboxTerminateResponse { existing_result }))
            }
            "SandboxGetCommandRouterAccess" => Ok(framed(&SandboxGetCommandRouterAccessResponse {
                jwt: TOKEN.into(),
                url: self.url.clone(),
            })),
            _ => Err(Code::Unimplemented.into()),
        }
    }

    fn create(&self, key: &str, message: Bytes) -> Result<Bytes, Failure> {
        let mut state = self.state();
        if let Some(Err(wait)) = state.bucket.as_mut().map(Bucket::take) {
            return Err(Failure {
                code: Code::ResourceExhausted,
                retry_after: Some(wait),
            });
        }
        let sandbox = state
            .sandboxes
            .create(key, decode(message), self.script.create_delay);
        Ok(framed(&SandboxCreateV2Response {
            sandbox_id: sandbox.id.clone(),
            task_id: sandbox.task.clone(),
            command_router_access: Some(CommandRouterAccess {
                jwt: TOKEN.into(),
                url: self.url.clone(),
            }),
            ..SandboxCreateV2Response::default()
        }))
    }

    async fn wait(&self, message: Bytes) -> Result<Bytes, Failure> {
        let request: SandboxWaitRequest = decode(message);
        let sandbox = self.state().sandboxes.by_id(&request.sandbox_id);
        let sandbox = sandbox.ok_or(Code::NotFound)?;
        let hold = Duration::try_from_secs_f32(request.timeout).unwrap_or_default();
        if !hold.is_zero() {
            sandbox.ends_within(hold).await;
        }
        Ok(framed(&SandboxWaitResponse {
            result: sandbox.result(),
            ..SandboxWaitResponse::default()
        }))
    }

    /// What a sandbox says, from an offset on; the stream ends when the sandbox
    /// does.
    fn read(&self, message: &Bytes) -> http::Response<Body> {
        let request: SandboxStdioReadV2Request = decode(message.clone());
        let Some(sandbox) = self.state().sandboxes.by_task(&request.task_id) else {
            return unary(Err(Code::NotFound.into()));
        };
        let is_stdout = request.file_descriptor() == SandboxStdioFileDescriptor::Stdout;
        let said = match is_stdout {
            true => Bytes::from(sandbox.command.says.clone()),
            false => Bytes::new(),
        };
        let offset = usize::try_from(request.offset).unwrap_or(usize::MAX);
        let data = said.slice(offset.min(said.len())..);
        let first = (!data.is_empty()).then(|| {
            Frame::data(framed(&SandboxStdioReadV2Response {
                data: data.into(),
                starting_offset: request.offset,
            }))
        });
        const FOR_EVER: Duration = Duration::from_secs(86_400 * 365);
        let rest = async move {
            sandbox.ends_within(FOR_EVER).await;
            Frame::trailers(trailers(Code::Ok))
        };
        use futures::StreamExt as _;
        streaming(futures::stream::iter(first).chain(futures::stream::once(rest)))
    }
}

async fn pause(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

/// A message that is none counts as an empty one.
fn decode<M: Message + Default>(message: Bytes) -> M {
    M::decode(message).unwrap_or_default()
}

fn environment() -> EnvironmentGetOrCreateResponse {
    EnvironmentGetOrCreateResponse {
        metadata: Some(EnvironmentMetadata {
            settings: Some(EnvironmentSettings {
                image_builder_version: "2025.06".into(),
                ..EnvironmentSettings::default()
            }),
            ..EnvironmentMetadata::default()
        }),
        ..EnvironmentGetOrCreateResponse::default()
    }
}
