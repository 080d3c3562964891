//! Runs a pipeline through a plugin.

use crate::contract::{
    Context, Event, Pipeline, RegistryCredentials, RunFinished, RunStatus, Service, StopMode,
    StoreError,
};
use crate::credentials::modal::TokenPair;
use crate::credentials::{Concealed, Credentials, Secret, conceal};
use crate::error::Error;
use crate::guest::{Grants, GuestState};
use crate::host::Plugin;
use crate::http::{Gate, GateOptions};
use crate::instance::Instance;
use crate::limits::{DROPPED_RUN, EVENT_BATCH};
use crate::redact::Redactor;
use crate::store::{NewRun, RunStore};
use crate::target::{Target, TargetError};
use flavor_policy::Refusal;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::PollSender;
use wasmtime::StoreContextMut;
use wasmtime::component::{Source, StreamConsumer, StreamResult};

/// What is to be run, where, and with what.
#[derive(Clone)]
pub struct RunRequest {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// The Modal server, and the account there.
    pub target: Target,
    /// What the run store calls the target; its URL by default.
    pub target_name: String,
    /// Where the run is recorded.
    pub store: Arc<dyn RunStore>,
    /// Configuration of the orchestrator. Credentials in it take the place of
    /// the target's; the plugin sees opaque texts.
    pub config: Value,
    /// Login of one image registry.
    pub registry: Option<RegistryCredentials>,
    /// Options of the plugin's client for the service.
    pub service_options: Map<String, Value>,
    /// Whether outputs of steps are wanted as events.
    pub outputs: bool,
    /// What the plugin may use of the network.
    pub network: flavor_policy::Limits,
    /// Cache keys by steps. A step with one does not run when a step of an earlier
    /// run in the same store has completed under it; [`zenml::cache_key`] makes
    /// keys the way ZenML does. None by default: every step runs.
    ///
    /// [`zenml::cache_key`]: crate::zenml::cache_key
    pub cache_keys: BTreeMap<String, String>,
}

impl RunRequest {
    /// A run with outputs and default settings.
    pub fn new(pipeline: Pipeline, target: Target, store: Arc<dyn RunStore>) -> Self {
        Self {
            pipeline,
            target_name: target.url(),
            target,
            store,
            config: Value::Object(Map::new()),
            registry: None,
            service_options: Map::new(),
            outputs: true,
            network: flavor_policy::Limits::default(),
            cache_keys: BTreeMap::new(),
        }
    }

    /// What the plugin is told about its surroundings, and what it is not.
    fn context(&self) -> (Context, Vec<(String, Secret)>) {
        let Concealed { document, taken } = conceal(self.config.clone());
        let context = Context {
            service: Service {
                url: self.target.url(),
                options: Value::Object(self.service_options.clone()).to_string(),
            },
            config: document.to_string(),
            registry: self.registry.clone(),
            outputs: self.outputs,
        };
        (context, taken)
    }
}

/// Why a run did not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The plugin, the service or the policy said no.
    #[error(transparent)]
    Run(#[from] Error),
    /// The run could not be recorded.
    #[error("the run could not be recorded: {0}")]
    Store(StoreError),
    /// The target is unusable.
    #[error(transparent)]
    Target(#[from] TargetError),
}

/// A run under way. Read its events until there are none, or call
/// [`finish`](Self::finish).
///
/// Dropping it stops the run by force, in the background, for at most ten
/// seconds; that needs the runtime it was started on.
pub struct Run {
    id: String,
    store: Arc<dyn RunStore>,
    events: mpsc::Receiver<Vec<Event>>,
    waiting: VecDeque<Event>,
    finished: Option<RunFinished>,
    task: Option<JoinHandle<Result<(), Error>>>,
    gate: Gate,
    redactor: Redactor,
}

impl Plugin {
    /// Starts a run: records it, and returns once the plugin has found it
    /// acceptable and the service has answered.
    ///
    /// Runs on the current tokio runtime, which must have its timer and I/O
    /// drivers on. The instance lives on one task; the returned handle can move
    /// to any thread.
    ///
    /// # Errors
    ///
    /// When it does not begin. It is then recorded as failed, unless it could
    /// not be recorded at all.
    pub async fn run(&self, request: RunRequest) -> Result<Run, StartError> {
        let policy = request.target.policy()?;
        let (context, taken) = request.context();
        let credentials =
            explicit_pair(&taken).unwrap_or_else(|| request.target.credentials().clone());
        let secrets = secrets(&credentials, request.registry.as_ref());
        let label = Target::credential_label()?;
        let gate = Gate::new(GateOptions {
            policy,
            limits: request.network.clone(),
            credentials: Credentials::new(vec![credentials.credential(label)]),
        });
        let run = NewRun::of(&request);
        let id = run.id.clone();
        let store = Arc::clone(&request.store);
        store.create(run).await.map_err(StartError::Store)?;
        let started = self.start(request, context, gate.clone(), secrets.clone());
        match started.await {
            Ok((events, task)) => Ok(Run {
                id,
                store,
                events,
                waiting: VecDeque::new(),
                finished: None,
                task: Some(task),
                gate,
                redactor: Redactor::new(secrets),
            }),
            Err(error) => {
                let error = with_refusal(error, gate.last_refusal());
                let reason = Redactor::new(secrets).redact(error.to_string());
                // The error itself is what the caller has to hear about.
                let _ = store.end(&id, RunStatus::Failed, Some(reason)).await;
                Err(error.into())
            }
        }
    }

    async fn start(
        &self,
        request: RunRequest,
        context: Context,
        gate: Gate,
        secrets: Vec<Secret>,
    ) -> Result<(mpsc::Receiver<Vec<Event>>, JoinHandle<Result<(), Error>>), Error> {
        let limits = self.host().limits();
        let instance = self
            .instantiate(Grants {
                gate,
                run_store: Some(request.store),
                forwardable: None,
                secrets,
            })
            .await?;
        let batches = limits.events_waiting.div_ceil(EVENT_BATCH).max(1);
        let (sender, events) = mpsc::channel(batches);
        let (accepted, acceptance) = oneshot::channel();
        let task = tokio::spawn(drive(instance, context, request.pipeline, sender, accepted));
        let limit = limits.start_time;
        match tokio::time::timeout(limit, acceptance).await {
            Ok(Ok(Ok(()))) => Ok((events, task)),
            Ok(Ok(Err(refused))) => Err(refused),
            // The task ended without a word about it: its own error says why.
            Ok(Err(_)) => Err(match task.await {
                Ok(Err(error)) => error,
                _ => Error::NoResult,
            }),
            Err(_) => {
                task.abort();
                Err(Error::TooSlow { limit })
            }
        }
    }
}

impl Run {
    /// The run's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The next event; none when the run is over.
    pub async fn next(&mut self) -> Option<Event> {
        while self.waiting.is_empty() {
            let batch = self.events.recv().await?;
            self.waiting.extend(batch);
        }
        let event = self.waiting.pop_front().map(|event| self.redacted(event));
        if let Some(Event::RunFinished(finished)) = &event {
            self.finished = Some(finished.clone());
        }
        event
    }

    /// Asks the run to stop. It goes on sending events until it has.
    ///
    /// # Errors
    ///
    /// When the request cannot be recorded.
    pub async fn stop(&self, mode: StopMode) -> Result<(), StoreError> {
        self.store.request_stop(&self.id, mode).await
    }

    /// Waits for the end, whatever events are still to come.
    ///
    /// # Errors
    ///
    /// When the plugin ended without saying how the run did. The run is then
    /// recorded as failed; sandboxes of it may still exist.
    pub async fn finish(mut self) -> Result<RunFinished, Error> {
        while self.next().await.is_some() {}
        let ended = match self.task.take() {
            Some(task) => task.await,
            None => Ok(Ok(())),
        };
        let error = match (self.finished.take(), ended) {
            (Some(finished), _) => return Ok(finished),
            (None, Ok(Err(error))) => error,
            (None, Ok(Ok(()))) => Error::NoResult,
            (None, Err(error)) => Error::Trapped {
                message: error.to_string(),
            },
        };
        let error = with_refusal(error, self.gate.last_refusal());
        let reason = self.redactor.redact(error.to_string());
        let _ = self
            .store
            .end(&self.id, RunStatus::Failed, Some(reason))
            .await;
        Err(error)
    }

    /// What the policy refused last, if anything. Plugins only hear that they
    /// were refused.
    pub fn last_refusal(&self) -> Option<Refusal> {
        self.gate.last_refusal()
    }

    fn redacted(&self, event: Event) -> Event {
        match event {
            Event::Warning(mut warning) => {
                warning.message = self.redactor.redact(warning.message);
                Event::Warning(warning)
            }
            Event::StepFinished(mut finished) => {
                finished.reason = finished.reason.map(|reason| self.redactor.redact(reason));
                Event::StepFinished(finished)
            }
            other => other,
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let Some(mut task) = self.task.take().filter(|task| !task.is_finished()) else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            task.abort();
            return;
        };
        let store = Arc::clone(&self.store);
        let id = std::mem::take(&mut self.id);
        runtime.spawn(async move {
            let stopping = async {
                let _ = store.request_stop(&id, StopMode::Force).await;
                let _ = (&mut task).await;
            };
            if tokio::time::timeout(DROPPED_RUN, stopping).await.is_err() {
                tracing::warn!(
                    run = id,
                    "a dropped run did not stop in time and was cut off"
                );
                task.abort();
            }
        });
    }
}

/// The life of the instance that runs a pipeline.
async fn drive(
    mut instance: Instance,
    context: Context,
    pipeline: Pipeline,
    events: mpsc::Sender<Vec<Event>>,
    accepted: oneshot::Sender<Result<(), Error>>,
) -> Result<(), Error> {
    let call = instance.call_unlimited(async move |accessor, plugin| {
        let orchestrator = plugin.zenml_flavor_orchestrator();
        match orchestrator.call_run(accessor, context, pipeline).await? {
            Err(refused) => {
                let _ = accepted.send(Err(refused.into()));
            }
            Ok(stream) => {
                let (consumer, ended) = EventConsumer::new(events);
                accessor.with(|access| stream.pipe(access, consumer))?;
                let _ = accepted.send(Ok(()));
                // Dropped with the consumer, at the end of the stream.
                let _ = ended.await;
            }
        }
        Ok(())
    });
    call.await
}

/// Takes events out of the plugin's stream, as fast as they are read.
struct EventConsumer {
    sender: PollSender<Vec<Event>>,
    _ended: oneshot::Sender<()>,
}

impl EventConsumer {
    fn new(sender: mpsc::Sender<Vec<Event>>) -> (Self, oneshot::Receiver<()>) {
        let (ended, receiver) = oneshot::channel();
        let consumer = Self {
            sender: PollSender::new(sender),
            _ended: ended,
        };
        (consumer, receiver)
    }
}

impl StreamConsumer<GuestState> for EventConsumer {
    type Item = Event;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        mut store: StoreContextMut<'_, GuestState>,
        mut source: Source<'_, Event>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        match self.sender.poll_reserve(cx) {
            // A plugin that wants to take its write back may.
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
            // Nobody reads any more. The plugin hears so and goes on.
            Poll::Ready(Err(_)) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Ready(Ok(())) => {}
        }
        let count = source.remaining(&mut store).min(EVENT_BATCH);
        let mut batch = Vec::with_capacity(count);
        source.read(&mut store, &mut batch)?;
        Poll::Ready(match self.sender.send_item(batch) {
            Ok(()) => Ok(StreamResult::Completed),
            Err(_) => Ok(StreamResult::Dropped),
        })
    }
}

impl NewRun {
    fn of(request: &RunRequest) -> Self {
        let pipeline = &request.pipeline;
        Self {
            id: pipeline.run_id.clone(),
            name: pipeline.name.clone(),
            target: request.target_name.clone(),
            steps: pipeline
                .steps
                .iter()
                .map(|step| step.name.clone())
                .collect(),
            cache_keys: request.cache_keys.clone(),
        }
    }
}

/// A pair that stands in the configuration itself. Halves are the plugin's to
/// complain about.
fn explicit_pair(taken: &[(String, Secret)]) -> Option<TokenPair> {
    let find = |wanted: &str| {
        let entry = taken.iter().find(|(key, _)| key == wanted)?;
        Some(entry.1.clone())
    };
    let id = find("token_id")?;
    TokenPair::new(id.reveal(), find("token_secret")?).ok()
}

fn secrets(credentials: &TokenPair, registry: Option<&RegistryCredentials>) -> Vec<Secret> {
    let mut secrets = vec![credentials.secret().clone()];
    secrets.extend(registry.map(|registry| Secret::new(registry.password.clone())));
    secrets
}

/// The policy's own words, where the plugin only knows that it was refused.
fn with_refusal(error: Error, refusal: Option<Refusal>) -> Error {
    match (error, refusal) {
        (Error::Plugin(crate::contract::Error::Refused(refused)), Some(refusal)) => {
            Error::Plugin(crate::contract::Error::Refused(crate::contract::Refusal {
                reason: refusal.to_string(),
                ..refused
            }))
        }
        (error, _) => error,
    }
}
