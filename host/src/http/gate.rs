//! One request of a guest: judged, given credentials, sent.

use super::body::{AnswerBody, Collected, Incoming, RequestBody, collect};
use super::clients::Clients;
use super::resolver::Resolver;
use crate::credentials::Credentials;
use crate::limits::REQUEST_PIECE;
use crate::log::GuestLog;
use crate::surroundings::{ImportCall, Observer, SendError, Surroundings, Transport};
use bytes::Bytes;
use flavor_policy::grpc::unary_message;
use flavor_policy::{Budget, Exchange, LearnError, Permit, Policy, Refusal, RequestView};
use http::HeaderMap;
use http::header::HOST;
use http_body_util::{BodyExt as _, Full};
use std::collections::VecDeque;
use std::error::Error as StdError;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime_wasi_http::{Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks};

/// The network as one plugin instance sees it.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    shared: Arc<Shared>,
}

/// What a gate is made of.
#[derive(Debug)]
pub(crate) struct GateOptions {
    /// What may be asked for.
    pub(crate) policy: Policy,
    /// How much of it.
    pub(crate) limits: flavor_policy::Limits,
    /// What the policy's labels stand for.
    pub(crate) credentials: Credentials,
    /// Where names are looked up.
    pub(crate) resolver: Arc<dyn Resolver>,
    /// Where refusals are told.
    pub(crate) log: Arc<GuestLog>,
    /// Where requests go when it is not the network.
    pub(crate) surroundings: Surroundings,
}

#[derive(Debug)]
struct Shared {
    policy: Arc<RwLock<Policy>>,
    limits: flavor_policy::Limits,
    credentials: Credentials,
    way: Way,
    observer: Option<Arc<dyn Observer>>,
    egress: Arc<Budget>,
    places: Arc<Semaphore>,
    /// Places in the line for one of those.
    line: Semaphore,
    log: Arc<GuestLog>,
    forbidden: ForbiddenHeaders,
    /// Keys of learned grants, oldest first.
    learned: Mutex<VecDeque<String>>,
    refused: Mutex<Option<Refusal>>,
    /// Whether the guest has asked for anything lately.
    asked: Arc<AtomicBool>,
}

/// How requests get to servers.
#[derive(Debug)]
enum Way {
    /// Over connections of this instance's own.
    Network(Clients),
    /// As the surroundings have it.
    Given(Arc<dyn Transport>),
}

/// How long a guest wants to wait when it does not say: an hour. Its own
/// deadlines are far below.
const UNLIMITED: Duration = Duration::from_secs(3600);

type IoFuture = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answer = (http::Response<WasiBody>, IoFuture);

/// A filter that wasmtime can keep; it has no useful `Debug` of its own.
struct ForbiddenHeaders(ForbiddenHeaderFilter);

impl std::fmt::Debug for ForbiddenHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ForbiddenHeaders")
    }
}

impl Gate {
    /// A gate with connections, budgets and learned grants of its own.
    pub(crate) fn new(options: GateOptions) -> Self {
        let GateOptions {
            policy,
            limits,
            credentials,
            resolver,
            log,
            surroundings,
        } = options;
        let policy = policy
            .with_credential_headers(credentials.header_names())
            .with_learned_limit(limits.learned_grants);
        let forbidden = policy.forbidden_headers().clone();
        let filter: ForbiddenHeaderFilter = Arc::new(move |name| forbidden.contains(name.as_str()));
        let policy = Arc::new(RwLock::new(policy));
        let places = |count: u32| {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            Semaphore::new(count.min(Semaphore::MAX_PERMITS))
        };
        Self {
            shared: Arc::new(Shared {
                way: match surroundings.transport {
                    Some(transport) => Way::Given(transport),
                    None => Way::Network(Clients::new(Arc::clone(&policy), resolver)),
                },
                observer: surroundings.observer,
                policy,
                egress: Arc::new(limits.egress()),
                places: Arc::new(places(limits.requests_in_flight)),
                line: places(limits.requests_waiting),
                log,
                forbidden: ForbiddenHeaders(filter),
                limits,
                credentials,
                learned: Mutex::default(),
                refused: Mutex::default(),
                asked: Arc::default(),
            }),
        }
    }

    /// Set with every request that is sent.
    pub(crate) fn asked(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.shared.asked)
    }

    /// The last thing that was refused. A guest hears only that, not why.
    pub(crate) fn last_refusal(&self) -> Option<Refusal> {
        let refused = self.shared.refused.lock();
        refused.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl WasiHttpHooks for Gate {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::clone(&self.shared.forbidden.0)
    }

    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        REQUEST_PIECE
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        processed: IoFuture,
    ) -> Box<dyn Future<Output = Result<Answer, Error>> + Send> {
        // Whether the guest processed the answer matters to nobody.
        drop(processed);
        let shared = Arc::clone(&self.shared);
        Box::new(async move {
            let response = shared.send(request, options.unwrap_or_default()).await?;
            Ok((response, Box::new(std::future::ready(Ok(()))) as IoFuture))
        })
    }
}

impl Shared {
    async fn send(
        self: Arc<Self>,
        request: http::Request<WasiBody>,
        options: RequestOptions,
    ) -> Result<http::Response<WasiBody>, Error> {
        let (mut parts, body) = request.into_parts();
        // HTTP/2 says it in the URI; a second one could say something else.
        parts.headers.remove(HOST);
        let permit = self.judge(&parts).map_err(|refusal| self.deny(refusal))?;
        if let Some(label) = permit.credential() {
            self.credentials.add_headers(label, &mut parts.headers);
        }
        let place = self.place().await?;

        let mut body = self.watched(body);
        let stopped = body.stopped();
        let mut sent = None;
        if permit.learns() {
            let limit = self.limits.learn_message_bytes;
            let Collected { data, .. } = collect(&mut body, limit).await.map_err(|_| {
                stopped
                    .take()
                    .unwrap_or(Error::HttpRequestBodySize(Some(limit)))
            })?;
            sent = Some(data.clone());
            body = RequestBody::whole(data);
        }
        let gathered = body.gather().await;
        gathered.map_err(|error| stopped.take().unwrap_or(error))?;
        self.asked.store(true, Ordering::Relaxed);
        let head_within = options.first_byte_timeout.unwrap_or(UNLIMITED);
        let response = match &self.way {
            Way::Network(clients) => {
                let sent = self.over_network(clients, &permit, parts, body, head_within);
                sent.await
            }
            Way::Given(transport) => {
                let sent = over_transport(transport, &permit, parts, body);
                let sent = tokio::time::timeout(head_within, sent).await;
                sent.map_err(|_| Error::HttpResponseTimeout)?
            }
        };
        let response = response.map_err(|error| stopped.take().unwrap_or(error))?;
        let body_within = options.between_bytes_timeout.unwrap_or(UNLIMITED);
        let response = response.map(|body| {
            let budget = self.limits.response_body();
            AnswerBody::new(body, budget, body_within, Arc::clone(&self.log), place)
        });
        match sent {
            None => Ok(response.map(|body| body.boxed_unsync())),
            Some(sent) => self.learn(&permit, &sent, response).await,
        }
    }

    /// Sends a request to where its URI says.
    async fn over_network(
        &self,
        clients: &Clients,
        permit: &Permit,
        parts: http::request::Parts,
        body: RequestBody,
        head_within: Duration,
    ) -> Result<http::Response<Incoming>, Error> {
        let stream = clients
            .stream(permit.lane(), permit.origin())
            .map_err(|error| Error::InternalError(Some(error.to_string())))?;
        let url = stream.url(permit.uri().path(), permit.uri().query());
        let mut request = reqwest::Request::new(parts.method, url);
        *request.version_mut() = http::Version::HTTP_2;
        *request.headers_mut() = parts.headers;
        *request.body_mut() = Some(reqwest::Body::wrap(body));
        let response = tokio::time::timeout(head_within, stream.client().execute(request))
            .await
            .map_err(|_| Error::HttpResponseTimeout)?
            .map_err(|error| self.failed(&error))?;
        self.assert_vetted(permit, &response)?;
        let response = http::Response::<reqwest::Body>::from(response);
        Ok(response.map(|body| Incoming::Network(body, stream)))
    }

    fn judge(&self, parts: &http::request::Parts) -> Result<Permit, Refusal> {
        let policy = self.policy.read().unwrap_or_else(PoisonError::into_inner);
        let permit = policy.decide(&RequestView {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
        })?;
        let headers = self.limits.check_headers(&parts.headers)?;
        self.egress.try_charge(headers + length(permit.uri()))?;
        Ok(permit)
    }

    /// A place among the requests under way, or in the line for one. What is
    /// too much for that is in the host's memory already, so it is refused.
    async fn place(&self) -> Result<Option<OwnedSemaphorePermit>, Error> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(Some(place));
        }
        let in_line = self.line.try_acquire();
        let _in_line = in_line.map_err(|_| Error::ConnectionLimitReached)?;
        // Closed never, so waiting cannot fail.
        Ok(Arc::clone(&self.places).acquire_owned().await.ok())
    }

    /// The body of a request, judged piece by piece.
    fn watched(self: &Arc<Self>, body: WasiBody) -> RequestBody {
        let shared = Arc::clone(self);
        let own = self.limits.request_body();
        RequestBody::new(body, move |piece| {
            let (verdict, error) = match (piece.data_ref(), piece.trailers_ref()) {
                (Some(data), _) => (
                    shared.charge(&own, data.len() as u64),
                    Error::HttpRequestBodySize(None),
                ),
                (None, Some(trailers)) => {
                    (shared.check_trailers(trailers), Error::HttpRequestDenied)
                }
                (None, None) => return Ok(()),
            };
            verdict.map_err(|refusal| {
                shared.note(refusal);
                error
            })
        })
    }

    fn charge(&self, own: &Budget, bytes: u64) -> Result<(), Refusal> {
        own.try_charge(bytes)?;
        self.egress.try_charge(bytes)
    }

    fn check_trailers(&self, trailers: &HeaderMap) -> Result<(), Refusal> {
        {
            let policy = self.policy.read().unwrap_or_else(PoisonError::into_inner);
            policy.forbidden_headers().check(trailers)?;
        }
        let bytes = self.limits.check_headers(trailers)?;
        self.egress.try_charge(bytes)
    }

    /// Reads a whole answer before the guest gets it, so that what it opens is
    /// open by then.
    async fn learn(
        &self,
        permit: &Permit,
        sent: &Bytes,
        response: http::Response<AnswerBody>,
    ) -> Result<http::Response<WasiBody>, Error> {
        let limit = self.limits.learn_message_bytes;
        let (parts, mut body) = response.into_parts();
        let Collected { data, trailers } = collect(&mut body, limit).await?;
        let messages = unary_message(sent, limit)
            .ok()
            .flatten()
            .zip(unary_message(&data, limit).ok().flatten());
        if let Some((request, response)) = messages {
            self.open(permit, &Exchange { request, response });
        }
        let body = Full::new(data)
            .map_err(|never| match never {})
            .with_trailers(std::future::ready(trailers.map(Ok)))
            .boxed_unsync();
        Ok(http::Response::from_parts(parts, body))
    }

    fn open(&self, permit: &Permit, exchange: &Exchange<'_>) {
        let mut policy = self.policy.write().unwrap_or_else(PoisonError::into_inner);
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = policy.learned_len();
        let mut results = policy.learn(permit, exchange);
        let is_full =
            |result: &Result<_, LearnError>| matches!(result, Err(LearnError::Full { .. }));
        if results.iter().any(is_full)
            && let Some(oldest) = learned.pop_front()
        {
            policy.forget(&oldest);
            known = policy.learned_len();
            results = policy.learn(permit, exchange);
        }
        let is_new = policy.learned_len() != known;
        for result in results {
            match result {
                Ok(learnt) if is_new => {
                    tracing::debug!(key = learnt.key, origin = %learnt.origin, "learned a grant");
                    learned.push_back(learnt.key);
                }
                Ok(_) => {}
                Err(error) => self
                    .log
                    .warn(&format_args!("an answer opened nothing: {error}")),
            }
        }
    }

    /// The resolver is what keeps connections off forbidden addresses; this
    /// would notice if it did not.
    fn assert_vetted(&self, permit: &Permit, response: &reqwest::Response) -> Result<(), Error> {
        match response.remote_addr() {
            Some(address) => permit.vet(address.ip()).map_err(|refusal| {
                tracing::error!(%address, "a connection went past the resolver: {refusal}");
                self.deny(refusal)
            }),
            None => Ok(()),
        }
    }

    fn deny(&self, refusal: Refusal) -> Error {
        self.note(refusal);
        Error::HttpRequestDenied
    }

    fn note(&self, refusal: Refusal) {
        self.log.warn(&refusal);
        if let Some(observer) = &self.observer {
            observer.observe(ImportCall::Refused(&refusal.to_string()));
        }
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
    }

    /// What a guest is told about a request that failed on its way.
    fn failed(&self, error: &reqwest::Error) -> Error {
        if let Some(refusal) = find::<Refusal>(error) {
            return self.deny(refusal.clone());
        }
        let io = find::<std::io::Error>(error).map(std::io::Error::kind);
        match io {
            Some(std::io::ErrorKind::ConnectionRefused) => Error::ConnectionRefused,
            Some(std::io::ErrorKind::TimedOut) => Error::ConnectionTimeout,
            _ if error.is_connect() && error.is_timeout() => Error::ConnectionTimeout,
            _ => Error::InternalError(Some(innermost(error))),
        }
    }
}

/// Sends a request to wherever the surroundings take it.
async fn over_transport(
    transport: &Arc<dyn Transport>,
    permit: &Permit,
    parts: http::request::Parts,
    body: RequestBody,
) -> Result<http::Response<Incoming>, Error> {
    let body = body.map_err(|_| SendError::GivenUp).boxed_unsync();
    let mut request = http::Request::new(body);
    *request.method_mut() = parts.method;
    *request.uri_mut() = permit.uri().clone();
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = parts.headers;
    let response = transport.send(request).await.map_err(|error| match error {
        SendError::Refused => Error::ConnectionRefused,
        SendError::TimedOut => Error::ConnectionTimeout,
        SendError::Reset | SendError::GivenUp => Error::ConnectionTerminated,
    })?;
    Ok(response.map(Incoming::Given))
}

/// Bytes of a URI as text.
fn length(uri: &http::Uri) -> u64 {
    let scheme = uri.scheme_str().map_or(0, |scheme| scheme.len() + 3);
    let authority = uri.authority().map_or(0, |text| text.as_str().len());
    let path = uri.path_and_query().map_or(0, |text| text.as_str().len());
    (scheme + authority + path) as u64
}

fn find<'e, T: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The cause at the bottom: what reqwest wraps around it says nothing more.
fn innermost(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut next = StdError::source(error);
    while let Some(error) = next {
        text = error.to_string();
        next = error.source();
    }
    text
}
