//! Runs a pipeline through a plugin.

use crate::connection::{Connection, Opened, Voice};
use crate::contract::{
    Context, Event, Pipeline, RegistryCredentials, RunFinished, StopMode, StoreError,
};
use crate::credentials::modal::TokenError;
use crate::error::Error;
use crate::events::{self, EventConsumer, EventReader, EventsEnd};
use crate::guest::Grants;
use crate::host::Plugin;
use crate::instance::Instance;
use crate::limits::DROPPED_RUN;
use crate::redact::Redactor;
use crate::store::{NewRun, OwnRun, RunStore};
use crate::target::{Target, TargetError};
use flavor_policy::Refusal;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

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
    /// What the keys were made of, in a form of the host app's own. Kept with the
    /// steps: [`SqliteStore::cache_records`] gives it back, to tell why a step was not
    /// cached.
    ///
    /// [`SqliteStore::cache_records`]: crate::store::SqliteStore::cache_records
    pub cache_parts: BTreeMap<String, String>,
    /// What the host app needs to start the run again after its own death, in a
    /// form of its own. Kept with the run: [`SqliteStore::document`] gives it back.
    ///
    /// [`SqliteStore::document`]: crate::store::SqliteStore::document
    pub document: Option<String>,
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
            cache_parts: BTreeMap::new(),
            document: None,
        }
    }

    /// What the run has in common with other calls.
    fn connection(&self) -> Connection {
        Connection {
            target: self.target.clone(),
            config: self.config.clone(),
            registry: self.registry.clone(),
            service_options: self.service_options.clone(),
            network: self.network.clone(),
            // Its controller is the plugin itself.
            forward_credentials: false,
        }
    }
}

/// Why a run, a session or a single call did not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The plugin, the service or the policy said no.
    #[error(transparent)]
    Run(#[from] Error),
    /// The run could not be recorded. Only runs are.
    #[error("the run could not be recorded: {0}")]
    Store(StoreError),
    /// The target is unusable.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The credentials in the configuration are unusable.
    #[error(transparent)]
    Credentials(#[from] TokenError),
}

/// A run under way. Read its events until there are none, or call
/// [`finish`](Self::finish).
///
/// Dropping it stops the run by force, in the background, for at most ten
/// seconds; that needs the runtime it was started on. [`abandon`](Self::abandon)
/// lets go of it without stopping it.
pub struct Run {
    record: Arc<Record>,
    events: EventReader,
    finished: Option<RunFinished>,
    /// Whether nothing of it is this handle's to stop: it was begun before, and has
    /// not been taken up yet.
    is_begun_elsewhere: bool,
    task: Option<JoinHandle<Result<(), Error>>>,
}

/// What it takes to say how a run ended when its plugin cannot.
struct Record {
    id: String,
    store: Arc<dyn RunStore>,
    run: Arc<OwnRun>,
    voice: Voice,
    redactor: Redactor,
}

impl Record {
    /// Records a run as failed, unless it can be resumed, and gives the error as it
    /// may be shown.
    async fn failed(&self, error: Error) -> Error {
        let error = self.voice.error(error);
        self.run.fail(error.to_string()).await;
        error
    }
}

impl Plugin {
    /// Starts a run: records it, and returns once the plugin has found it
    /// acceptable and the service has answered.
    ///
    /// Runs on the current tokio runtime, which must have its timer and I/O
    /// drivers on. The instance lives on one task; the returned handle can move
    /// to any thread. Dropping the future while the plugin makes up its mind
    /// stops the run as dropping a [`Run`] does.
    ///
    /// # Errors
    ///
    /// When it does not begin. It is then recorded as failed, unless it could
    /// not be recorded at all.
    pub async fn run(&self, request: RunRequest) -> Result<Run, StartError> {
        let opened = request.connection().open(self.host())?;
        let created = request.store.create(NewRun::of(&request)).await;
        created.map_err(StartError::Store)?;
        self.begin(request, opened, Ordinal::First).await
    }

    /// Takes a run up again whose controller is gone: what runs is watched, what is
    /// not known is asked about, and only what is known not to exist is started.
    /// The request has to be the one that the run was started with, but for
    /// credentials. Whoever had the run before is fenced off. A run that has ended
    /// already stays as it is recorded: ask the store first. Dropping the future stops
    /// nothing.
    ///
    /// # Errors
    ///
    /// When it does not begin: its store does not know the run, or the service is not
    /// there. What is recorded of the run stays as it is, so that it can be tried
    /// again.
    pub async fn resume(&self, request: RunRequest) -> Result<Run, StartError> {
        let opened = request.connection().open(self.host())?;
        self.begin(request, opened, Ordinal::Later).await
    }

    async fn begin(
        &self,
        request: RunRequest,
        opened: Opened,
        ordinal: Ordinal,
    ) -> Result<Run, StartError> {
        let limits = self.host().limits();
        let id = request.pipeline.run_id.clone();
        let own = OwnRun::new(
            id.clone(),
            Arc::clone(&request.store),
            opened.redactor.clone(),
            !request.cache_keys.is_empty(),
            limits,
        );
        let own = Arc::new(match ordinal {
            Ordinal::First => own,
            Ordinal::Later => own.resumed(),
        });
        let record = Arc::new(Record {
            id,
            store: request.store,
            run: Arc::clone(&own),
            voice: opened.voice(),
            redactor: opened.redactor.clone(),
        });
        let grants = Grants {
            run: Some(own),
            ..opened.grants()
        };
        let context = Context {
            service: opened.service,
            config: opened.config,
            registry: opened.registry,
            outputs: request.outputs,
        };
        let instance = match self.instantiate(grants).await {
            Ok(instance) => instance,
            Err(error) => return Err(record.failed(error).await.into()),
        };
        let (consumer, events, end) = events::channel(limits);
        let (accepted, acceptance) = oneshot::channel();
        let life = drive(instance, context, request.pipeline, consumer, end, accepted);
        // From here on the handle ends the run, whoever drops it.
        let mut run = Run {
            record,
            events,
            finished: None,
            is_begun_elsewhere: ordinal == Ordinal::Later,
            task: Some(tokio::spawn(life)),
        };
        match run.accepted(acceptance, limits.start_time).await {
            Ok(()) => {
                run.is_begun_elsewhere = false;
                Ok(run)
            }
            Err(error) => Err(run.give_up(error).await.into()),
        }
    }
}

/// Whether a run begins, or is taken up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ordinal {
    First,
    Later,
}

impl Run {
    /// The run's id.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// The next event; none when the run is over.
    pub async fn next(&mut self) -> Option<Event> {
        let event = self.record.redactor.event(self.events.next().await?);
        if let Event::RunFinished(finished) = &event {
            self.finished = Some(finished.clone());
        }
        Some(event)
    }

    /// Asks the run to stop. It goes on sending events until it has.
    ///
    /// # Errors
    ///
    /// When the request cannot be recorded.
    pub async fn stop(&self, mode: StopMode) -> Result<(), StoreError> {
        self.record.store.request_stop(&self.record.id, mode).await
    }

    /// Waits for the end, whatever events are still to come.
    ///
    /// # Errors
    ///
    /// When the plugin ended without saying how the run did. The run is then
    /// recorded as failed, unless sandboxes of it may exist: then it is left as it
    /// is recorded, and [`Plugin::resume`] takes it up again.
    pub async fn finish(mut self) -> Result<RunFinished, Error> {
        while self.next().await.is_some() {}
        let ended = self.ended().await;
        match (self.finished.take(), ended) {
            (Some(finished), _) => Ok(finished),
            (None, ended) => {
                let error = ended.err().unwrap_or(Error::NoResult);
                Err(self.record.failed(error).await)
            }
        }
    }

    /// Lets go of the run without stopping it, as the death of this process would: its
    /// instance ends at once, what it has begun runs on, and nothing more is recorded.
    /// [`Plugin::resume`] takes it up again, here or elsewhere.
    pub async fn abandon(mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // Cut off or ended: it is gone.
            let _ = task.await;
        }
    }

    /// What the policy refused last, if anything. Plugins only hear that they
    /// were refused.
    pub fn last_refusal(&self) -> Option<Refusal> {
        self.record.voice.last_refusal()
    }

    /// Waits until the plugin has taken the run on.
    async fn accepted(
        &mut self,
        acceptance: oneshot::Receiver<Result<(), Error>>,
        limit: Duration,
    ) -> Result<(), Error> {
        match tokio::time::timeout(limit, acceptance).await {
            Ok(Ok(answer)) => answer,
            // The task ended without a word about it: its own error says why.
            Ok(Err(_)) => Err(self.ended().await.err().unwrap_or(Error::NoResult)),
            Err(_) => Err(Error::TooSlow { limit }),
        }
    }

    /// Waits for the end of the instance.
    async fn ended(&mut self) -> Result<(), Error> {
        let Some(task) = &mut self.task else {
            return Ok(());
        };
        let ended = task.await;
        self.task = None;
        ended.unwrap_or_else(|error| Err(Error::trapped(&error.to_string())))
    }

    /// Ends a run that was not taken on.
    async fn give_up(mut self, error: Error) -> Error {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.record.failed(error).await
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let Some(mut task) = self.task.take().filter(|_| self.finished.is_none()) else {
            return;
        };
        let runtime = match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !self.is_begun_elsewhere => runtime,
            _ => {
                task.abort();
                return;
            }
        };
        let record = Arc::clone(&self.record);
        runtime.spawn(async move {
            let stopping = async {
                if !task.is_finished() {
                    let stop = record.store.request_stop(&record.id, StopMode::Force);
                    let _ = stop.await;
                }
                (&mut task).await
            };
            let error = match tokio::time::timeout(DROPPED_RUN, stopping).await {
                Ok(Ok(Ok(()))) => return,
                Ok(Ok(Err(error))) => error,
                Ok(Err(error)) => Error::trapped(&error.to_string()),
                Err(_) => {
                    task.abort();
                    Error::TooSlow { limit: DROPPED_RUN }
                }
            };
            tracing::warn!(run = record.id, "a dropped run did not stop: {error}");
            record.failed(error).await;
        });
    }
}

/// The life of the instance that runs a pipeline.
async fn drive(
    mut instance: Instance,
    context: Context,
    pipeline: Pipeline,
    consumer: EventConsumer,
    mut end: EventsEnd,
    accepted: oneshot::Sender<Result<(), Error>>,
) -> Result<(), Error> {
    let over = &mut end;
    let call = instance.call_unlimited(async move |accessor, plugin| {
        let orchestrator = plugin.zenml_flavor_orchestrator();
        match orchestrator.call_run(accessor, context, pipeline).await? {
            Err(refused) => {
                let _ = accepted.send(Err(refused.into()));
            }
            Ok(stream) => {
                accessor.with(|access| stream.pipe(access, consumer))?;
                let _ = accepted.send(Ok(()));
                over.wait().await;
            }
        }
        Ok(())
    });
    match (call.await, end.is_conclusive()) {
        // What happens in the plugin after its last word does not matter.
        (_, true) => Ok(()),
        (Ok(()), false) => Err(Error::NoResult),
        (Err(error), false) => Err(error),
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
            cache_parts: request.cache_parts.clone(),
            document: request.document.clone(),
        }
    }
}
