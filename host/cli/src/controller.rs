//! A run that this process controls: `flavor run` begins one, `flavor resume` takes
//! one up again.

use crate::caching::{self, CacheKeys};
use crate::exit::{Exit, Failure};
use crate::local::{self, Local, LocalFiles};
use crate::recipe::Recipe;
use crate::render::{self, Renderer, RunFacts};
use crate::signals::Interrupts;
use crate::target::{self, On};
use crate::{convert, registry, remote, terminal};
use flavor_host::contract::{Error, Event, RegistryCredentials, RunStatus, StopMode, StoreError};
use flavor_host::outputs::OutputWriter;
use flavor_host::state::{RunDir, StateDir};
use flavor_host::store::RunStore as _;
use flavor_host::{Plugin, Run, RunRequest, StartError, Target};
use pipeline_file::RunId;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// After the first interruption a run has this long to end.
const STOPPING: Duration = Duration::from_secs(9);

/// After the second one it has this long.
const STOPPING_AT_ONCE: Duration = Duration::from_millis(1500);

/// When a run was interrupted that took longer.
const STILL_RUNNING: &str = "before its sandboxes were known to have ended";

/// What a run needs of the world outside, with the credentials of the day.
pub(crate) struct Surroundings {
    files: LocalFiles,
    registry: Option<RegistryCredentials>,
    /// None: a local Modal of its own.
    target: Option<Target>,
}

impl Surroundings {
    /// Finds them all, before anything is done.
    pub(crate) fn of(recipe: &Recipe) -> Result<Self, Failure> {
        Ok(Self {
            files: LocalFiles::new(&recipe.file, &recipe.pipeline.files)?,
            registry: match &recipe.pipeline.registry {
                Some(server) => registry::login(server)?,
                None => None,
            },
            target: match &recipe.on {
                On::Local => None,
                On::Modal => Some(target::remote(None)?),
                On::Url(url) => Some(target::remote(Some(url))?),
            },
        })
    }
}

/// Everything about one run.
pub(crate) struct Session<'s> {
    pub(crate) plugin: &'s Plugin,
    pub(crate) state: &'s StateDir,
    /// Locked by this process.
    pub(crate) directory: &'s RunDir,
    pub(crate) id: &'s RunId,
    pub(crate) recipe: &'s Recipe,
    /// Another controller has begun it.
    pub(crate) is_resumed: bool,
    /// One JSON object a line.
    pub(crate) json: bool,
}

impl Session<'_> {
    /// Sees the run to its end.
    pub(crate) async fn control(
        &self,
        surroundings: Surroundings,
        interrupts: &mut Interrupts,
    ) -> Result<Exit, Failure> {
        local::end_leftovers(self.state).await;
        let Surroundings {
            files,
            registry,
            target,
        } = surroundings;
        let recipe = self.recipe;
        let cache = caching::keys(&recipe.pipeline, self.id, &recipe.on, &files)?;
        if let Some(target) = target {
            return self.run_on(target, registry, cache, interrupts).await;
        }
        let local = Local::start(self.directory, files).await?;
        let result = match local.target() {
            Ok(target) => self.run_on(target, registry, cache, interrupts).await,
            Err(failure) => Err(failure),
        };
        local.shutdown().await;
        result
    }

    async fn run_on(
        &self,
        target: Target,
        registry: Option<RegistryCredentials>,
        cache: CacheKeys,
        interrupts: &mut Interrupts,
    ) -> Result<Exit, Failure> {
        let url = target.url();
        let request = RunRequest {
            registry,
            cache_keys: cache.keys,
            cache_parts: cache.parts,
            ..self.request(target)?
        };
        let mut renderer = render::renderer(self.json);
        renderer.run_started(&RunFacts {
            id: self.id.to_string(),
            name: self.recipe.pipeline.name.clone(),
            target: self.recipe.on.name().to_owned(),
            steps: self.step_names(),
        });
        let limits = self.plugin.host().limits();
        let outputs = self
            .directory
            .outputs()
            .and_then(|outputs| outputs.writer(limits.step_output_bytes, limits.run_output_bytes))
            .map_err(|error| unusable(self.state, &error))?;
        let started = tokio::select! {
            started = self.start(request) => started,
            () = interrupts.next() => return Err(self.not_started(renderer.as_mut()).await),
        };
        let run = started.map_err(|error| {
            let failure = remote::failure(error, &url);
            let failure = match self.is_resumed {
                true => failure.and(&self.advice()),
                false => failure,
            };
            renderer.failed(&failure);
            failure
        })?;
        self.follow(run, renderer.as_mut(), outputs, interrupts)
            .await
    }

    async fn start(&self, request: RunRequest) -> Result<Run, StartError> {
        match self.is_resumed {
            true => self.plugin.resume(request).await,
            false => self.plugin.run(request).await,
        }
    }

    fn request(&self, target: Target) -> Result<RunRequest, Failure> {
        let recipe = self.recipe;
        let run_dir = match recipe.pipeline.run_dir {
            true => Some(
                self.directory
                    .shared()
                    .map_err(|error| unusable(self.state, &error))?,
            ),
            false => None,
        };
        let pipeline = convert::pipeline(
            &recipe.pipeline,
            self.id,
            recipe.max_parallelism,
            run_dir.as_deref(),
        );
        let mut request = RunRequest::new(pipeline, target, Arc::new(self.state.store().clone()));
        request.target_name = recipe.on.name().to_owned();
        request.document = Some(recipe.to_json());
        Ok(request)
    }

    /// Shows and keeps what happens until the run is over.
    async fn follow(
        &self,
        mut run: Run,
        renderer: &mut dyn Renderer,
        mut outputs: OutputWriter,
        interrupts: &mut Interrupts,
    ) -> Result<Exit, Failure> {
        let mut stop_by: Option<Instant> = None;
        let mut output_failed = false;
        loop {
            let event = tokio::select! {
                biased;
                () = interrupts.next() => {
                    let patience = match stop_by {
                        None => {
                            renderer.stopping();
                            run.stop(StopMode::Force).await?;
                            STOPPING
                        }
                        Some(_) => STOPPING_AT_ONCE,
                    };
                    stop_by = Some(Instant::now() + patience);
                    continue;
                }
                () = sleep_until(stop_by.unwrap_or_else(far_away)), if stop_by.is_some() => {
                    return Err(self.cut_off(renderer, STILL_RUNNING).await);
                }
                event = run.next() => event,
            };
            let Some(event) = event else { break };
            if let Err(error) = outputs.record(&event) {
                if !output_failed {
                    terminal::complain(&format!("warning: output cannot be kept: {error}"));
                }
                output_failed = true;
            }
            renderer.event(&event);
            if matches!(event, Event::RunFinished(_)) {
                break;
            }
        }
        match run.finish().await {
            Ok(finished) => {
                // What it came to is not written down.
                if let Some(Error::Store(StoreError::Unavailable(_))) = &finished.error {
                    terminal::complain(&self.advice());
                }
                Ok(Exit::of_run(&finished))
            }
            Err(error) => {
                let mut failure = Failure::from(error);
                if self.can_be_resumed().await {
                    failure = failure.and(&self.advice());
                }
                renderer.failed(&failure);
                Err(failure)
            }
        }
    }

    /// Whether the run is not recorded as ended: sandboxes of it may still run.
    async fn can_be_resumed(&self) -> bool {
        let recorded = self.state.store().run(self.id.as_str()).await;
        matches!(recorded, Ok(Some(run)) if !run.summary.status.is_final())
    }

    fn advice(&self) -> String {
        let id = self.id;
        format!("take run {id} up again with `flavor resume {id}`")
    }

    /// Interrupted while it started.
    async fn not_started(&self, renderer: &mut dyn Renderer) -> Failure {
        if !self.is_resumed {
            return self.cut_off(renderer, "before it had begun").await;
        }
        let id = self.id;
        let message = format!("interrupted before run {id} was taken up again");
        let failure = Failure::new(Exit::Stopped, message).and(&self.advice());
        renderer.failed(&failure);
        failure
    }

    /// The run does not end by itself in time: records that.
    async fn cut_off(&self, renderer: &mut dyn Renderer, when: &str) -> Failure {
        let reason = format!("interrupted {when}");
        let failure = Failure::new(Exit::Stopped, format!("run {} was {reason}", self.id));
        renderer.failed(&failure);
        let store = self.state.store();
        // A run that was never recorded needs no end.
        let _ = store
            .end(self.id.as_str(), RunStatus::Stopped, Some(reason))
            .await;
        failure
    }

    fn step_names(&self) -> Vec<String> {
        let steps = self.recipe.pipeline.steps.iter();
        steps.map(|step| step.name.as_str().to_owned()).collect()
    }
}

pub(crate) fn unusable(state: &StateDir, error: &std::io::Error) -> Failure {
    let path = state.path().display();
    Failure::new(
        Exit::Failed,
        format!("the state directory {path} cannot be used: {error}"),
    )
}

/// For a timer that is not on.
fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}
