//! One logical call: its attempts, headers and limits.

use super::auth::AuthToken;
use super::channel::{Channel, Endpoint};
use super::error::CallError;
use super::image::ImageError;
use super::retry::{Attempts, Next, Policy};
use super::rpc::{Auth, Rpc};
use crate::config::FieldFault;
use crate::limits::{self, Deadline};
use crate::platform::{LogLevel, Platform, TransportFault};
use futures::future::{self, Either};
use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;
use prost::Message;
use serde::Deserialize;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore};
use tonic::client::Grpc;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// What this client says it is: Modal's servers fit their answers to it.
const CLIENT_VERSION: &str = "1.6.4";
/// The type of a Python-like client.
const CLIENT_TYPE: &str = "1";

/// Settings of the client, in the SDK's terms.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientOptions {
    /// Modal environment for images, secrets and listings; empty leaves it to
    /// the workspace.
    pub environment: String,
    /// All server-directed waits of one call together; zero ignores them.
    pub max_throttle_wait: Duration,
    /// Whether sandboxes without a GPU use the newer backend.
    pub sandbox_v2: bool,
    /// Takes the place of the environment's image builder version.
    pub image_builder_version: Option<String>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            environment: String::new(),
            max_throttle_wait: limits::THROTTLE_TOTAL,
            sandbox_v2: true,
            image_builder_version: None,
        }
    }
}

impl ClientOptions {
    /// Reads the options document that a host gives with a service. Keys:
    /// `environment` (text), `max_throttle_wait` (seconds), `sandbox_v2` (truth
    /// value), `image_builder_version` (text).
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, unknown keys included.
    pub fn parse(document: &str) -> Result<Self, Vec<FieldFault>> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Document {
            environment: Option<String>,
            max_throttle_wait: Option<f64>,
            sandbox_v2: Option<bool>,
            image_builder_version: Option<String>,
        }
        let document: Document = serde_json::from_str(document)
            .map_err(|error| vec![FieldFault::new([], "options", error)])?;
        let defaults = Self::default();
        let max_throttle_wait = match document.max_throttle_wait {
            None => defaults.max_throttle_wait,
            Some(seconds) => Duration::try_from_secs_f64(seconds)
                .map_err(|error| vec![FieldFault::new(["max_throttle_wait"], "options", error)])?,
        };
        Ok(Self {
            environment: document.environment.unwrap_or(defaults.environment),
            max_throttle_wait,
            sandbox_v2: document.sandbox_v2.unwrap_or(defaults.sandbox_v2),
            image_builder_version: document.image_builder_version,
        })
    }
}

/// How one call is made.
#[derive(Debug, Clone)]
pub struct CallOptions {
    /// Limit of one attempt.
    pub deadline: Deadline,
    /// How often it is made again.
    pub policy: Policy,
    /// The key that tells Modal that attempts belong together. Absent: a new
    /// one.
    pub idempotency_key: Option<String>,
    /// Proof of having created the sandbox.
    pub sandbox_token: Option<String>,
    /// Told to the server as well, where the SDK does so.
    pub announced_deadline: Option<Duration>,
    /// Whether it takes one of the places for ordinary calls. Long polls do
    /// not.
    pub takes_place: bool,
    /// Hears when the service says that it is too much.
    pub throttled: Option<ThrottleListener>,
}

/// What is fetched before it is needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ahead {
    /// The short-lived token: for the newer sandbox backend.
    pub auth_token: bool,
    /// The version by which images are built.
    pub builder_version: bool,
}

/// A call that failed in the end.
#[derive(Debug)]
pub(super) struct Failure {
    /// The last failure.
    pub(super) error: CallError,
    /// Whether an answer was lost on the way: what was asked for may have been
    /// done all the same.
    pub(super) in_doubt: bool,
}

impl From<CallError> for Failure {
    /// Of something that changes nothing.
    fn from(error: CallError) -> Self {
        Self {
            error,
            in_doubt: false,
        }
    }
}

/// Hears when the service says that it is too much, when, and how long it wants
/// to be left alone, if it says so.
#[derive(Clone)]
pub struct ThrottleListener(pub Rc<dyn Fn(Duration, Option<Duration>)>);

impl std::fmt::Debug for ThrottleListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ThrottleListener")
    }
}

impl Default for CallOptions {
    fn default() -> Self {
        Self {
            deadline: limits::CALL,
            policy: Policy::SDK,
            idempotency_key: None,
            sandbox_token: None,
            announced_deadline: None,
            takes_place: true,
            throttled: None,
        }
    }
}

/// A client of one Modal server.
#[derive(Debug)]
pub struct Client<P>(Rc<Inner<P>>);

impl<P> Clone for Client<P> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Inner<P> {
    platform: P,
    endpoint: Endpoint,
    options: ClientOptions,
    auth: AuthToken,
    builder_version: OnceCell<Result<String, ImageError>>,
    places: Semaphore,
    warnings: RefCell<Warnings>,
}

impl<P: Platform> Client<P> {
    /// A client of the server at `endpoint`. Nothing is sent yet.
    pub fn new(platform: P, endpoint: Endpoint, options: ClientOptions) -> Self {
        Self(Rc::new(Inner {
            platform,
            endpoint,
            options,
            auth: AuthToken::default(),
            builder_version: OnceCell::new(),
            places: Semaphore::new(limits::CALLS_AT_ONCE),
            warnings: RefCell::default(),
        }))
    }

    /// The outside world.
    pub fn platform(&self) -> &P {
        &self.0.platform
    }

    /// The settings it was made with.
    pub fn options(&self) -> &ClientOptions {
        &self.0.options
    }

    /// A key for the attempts of one call: a random UUID, as the SDK sends.
    pub fn new_idempotency_key(&self) -> String {
        uuid::Builder::from_random_bytes(self.0.platform.random())
            .into_uuid()
            .to_string()
    }

    /// Makes a call until it succeeds or its policy ends.
    ///
    /// # Errors
    ///
    /// The last failure.
    pub async fn call<Q, A>(
        &self,
        rpc: &Rpc<Q, A>,
        request: &Q,
        options: &CallOptions,
    ) -> Result<A, CallError>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let answer = self.call_or_doubt(rpc, request, options).await;
        answer.map_err(|failure| failure.error)
    }

    /// As [`Self::call`], for calls that change something: tells whether that
    /// may have happened although the call failed.
    ///
    /// # Errors
    ///
    /// The last failure.
    pub(super) async fn call_or_doubt<Q, A>(
        &self,
        rpc: &Rpc<Q, A>,
        request: &Q,
        options: &CallOptions,
    ) -> Result<A, Failure>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let platform = &self.0.platform;
        let key = match &options.idempotency_key {
            Some(key) => key.clone(),
            None => self.new_idempotency_key(),
        };
        let timestamp = format!("{:?}", platform.unix_time().as_secs_f64());
        let mut attempts = Attempts::new(
            platform.monotonic(),
            options.policy,
            self.0.options.max_throttle_wait,
        );
        let mut in_doubt = false;
        loop {
            let mut headers = attempts.headers(platform.monotonic());
            headers.push(("x-idempotency-key", key.clone()));
            headers.push(("x-modal-timestamp", timestamp.clone()));
            let error = match self.attempt(rpc, request, options, headers).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            in_doubt |= error.is_transient();
            if let Some(ThrottleListener(listener)) = &options.throttled
                && error.is_throttling()
            {
                listener(platform.monotonic(), error.retry_after());
            }
            match attempts.failed(&error, platform.monotonic()) {
                Next::Again(pause) => {
                    platform.log(
                        LogLevel::Debug,
                        &format!("{} again in {pause:?}: {error}", rpc.name),
                    );
                    platform.sleep(pause).await;
                }
                Next::GiveUp => return Err(Failure { error, in_doubt }),
            }
        }
    }

    async fn attempt<Q, A>(
        &self,
        rpc: &Rpc<Q, A>,
        request: &Q,
        options: &CallOptions,
        headers: Vec<(&'static str, String)>,
    ) -> Result<A, CallError>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let mut request = Request::new(request.clone());
        self.add_headers(rpc.auth, request.metadata_mut(), headers)
            .await?;
        if let Some(token) = &options.sandbox_token {
            insert(request.metadata_mut(), "x-modal-sandbox-token", token);
        }
        if let Some(deadline) = options.announced_deadline {
            request.set_timeout(deadline);
        }
        // Closed never, so an error cannot happen; without a permit the call is
        // merely not counted.
        let _place = match options.takes_place {
            true => self.0.places.acquire().await.ok(),
            false => None,
        };
        let answer = self
            .grpc(&self.0.endpoint, options.deadline)
            .unary(
                request,
                PathAndQuery::from_static(rpc.path),
                ProstCodec::<Q, A>::default(),
            )
            .await;
        match answer {
            Ok(answer) => {
                self.take_warnings(answer.metadata());
                Ok(answer.into_inner())
            }
            Err(status) => Err(self.failure(rpc.name, &status)),
        }
    }

    /// Fetches the short-lived token while something else is waited for. Whether
    /// that works is for the first call to say that needs it.
    pub async fn warm_up(&self) {
        let _ = Box::pin(self.0.auth.get(self)).await;
    }

    /// Where the version is kept by which the environment builds images.
    pub(super) fn builder_version_cell(&self) -> &OnceCell<Result<String, ImageError>> {
        &self.0.builder_version
    }

    /// Finds an app, or creates it, and fetches beside it what the creation of a
    /// sandbox is going to need. Whether that works is for the creation to say.
    ///
    /// # Errors
    ///
    /// Those of [`Client::lookup_app`].
    pub async fn open_app(
        &self,
        name: &str,
        environment: Option<&str>,
        ahead: Ahead,
    ) -> Result<String, CallError> {
        let token = async {
            if ahead.auth_token {
                self.warm_up().await;
            }
        };
        let version = async {
            if ahead.builder_version {
                let _ = self.builder_version().await;
            }
        };
        let lookup = pin!(self.lookup_app(name, environment));
        let beside = pin!(future::join(token, version));
        match future::select(lookup, beside).await {
            Either::Left((Ok(app_id), beside)) => {
                beside.await;
                Ok(app_id)
            }
            Either::Left((Err(error), _)) => Err(error),
            Either::Right((_, lookup)) => lookup.await,
        }
    }

    /// Opens a stream of answers. Streams are not retried here: each reader
    /// knows best where to go on.
    ///
    /// # Errors
    ///
    /// When the server does not open it.
    pub async fn stream<Q, A>(
        &self,
        rpc: &Rpc<Q, A>,
        request: Q,
        deadline: Deadline,
    ) -> Result<Streaming<A>, CallError>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut request = Request::new(request);
        self.add_headers(rpc.auth, request.metadata_mut(), Vec::new())
            .await?;
        self.grpc(&self.0.endpoint, deadline)
            .server_streaming(
                request,
                PathAndQuery::from_static(rpc.path),
                ProstCodec::<Q, A>::default(),
            )
            .await
            .map(tonic::Response::into_inner)
            .map_err(|status| self.failure(rpc.name, &status))
    }

    /// The way to a server.
    pub(super) fn grpc(&self, endpoint: &Endpoint, deadline: Deadline) -> Grpc<Channel<P>> {
        let channel = Channel::new(self.0.platform.clone(), endpoint.clone(), deadline);
        Grpc::new(channel).max_decoding_message_size(limits::ANSWER)
    }

    /// Gives up on something after a time.
    ///
    /// # Errors
    ///
    /// Its own, or that the time is over.
    pub async fn within<T>(
        &self,
        limit: Duration,
        operation: &'static str,
        work: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        tokio::select! {
            biased;
            result = work => result,
            () = self.0.platform.sleep(limit) => Err(CallError::Transport {
                operation,
                fault: TransportFault::Broken {
                    reason: format!("no answer within {limit:?}"),
                },
            }),
        }
    }

    /// What went wrong, and what the server warned about besides.
    pub fn failure(&self, operation: &'static str, status: &Status) -> CallError {
        self.take_warnings(status.metadata());
        CallError::from_status(operation, status)
    }

    /// Warnings of the server that have not been taken yet, each once.
    pub fn drain_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.0.warnings.borrow_mut().fresh)
    }

    async fn add_headers(
        &self,
        auth: Auth,
        metadata: &mut MetadataMap,
        headers: Vec<(&'static str, String)>,
    ) -> Result<(), CallError> {
        insert(metadata, "x-modal-client-version", CLIENT_VERSION);
        insert(metadata, "x-modal-client-type", CLIENT_TYPE);
        insert(metadata, "x-modal-host", self.0.endpoint.host());
        for (name, value) in headers {
            insert(metadata, name, &value);
        }
        if auth == Auth::AuthToken {
            let token = Box::pin(self.0.auth.get(self)).await?;
            insert(metadata, "x-modal-auth-token", &token);
        }
        Ok(())
    }

    /// Modal's warnings travel percent-encoded in a trailer, also on failures.
    fn take_warnings(&self, metadata: &MetadataMap) {
        for value in metadata.get_all("x-modal-warning") {
            if let Ok(value) = value.to_str() {
                let text = percent_decode_str(value).decode_utf8_lossy().into_owned();
                self.0.warnings.borrow_mut().add(text);
            }
        }
    }
}

/// Warnings of the server: each text counts once.
#[derive(Debug, Default)]
struct Warnings {
    seen: BTreeSet<String>,
    fresh: Vec<String>,
}

impl Warnings {
    fn add(&mut self, text: String) {
        let fits = self.seen.len() < limits::WARNINGS && text.len() <= limits::MESSAGE;
        if fits && self.seen.insert(text.clone()) {
            self.fresh.push(text);
        }
    }
}

/// Sets a header. A value that no header can hold is left out: it can only come
/// from a server's answer, and the server will say what it misses.
pub(super) fn insert(metadata: &mut MetadataMap, name: &'static str, value: &str) {
    if let Ok(value) = AsciiMetadataValue::try_from(value) {
        metadata.insert(AsciiMetadataKey::from_static(name), value);
    }
}
