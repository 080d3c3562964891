//! Runs a scenario: a plugin, a simulated Modal, a run store and a user, on one
//! thread in virtual time.

use crate::chance::Dice;
use crate::check::{self, Seen};
use crate::clock::SimulatedClock;
use crate::limits;
use crate::network::{Cut, Life, Network, World};
use crate::outcome::{Outcome, Rule, StepOutcome, Violation};
use crate::scenario::{RunEnd, Scenario};
use crate::schedule::Schedule;
use crate::script::ScenarioScript;
use crate::store::SimulatedStore;
use crate::trace::Trace;
use flavor_host::contract::{Change, Event, Pipeline, RunFinished, StepStatus, StopMode};
use flavor_host::credentials::Secret;
use flavor_host::credentials::modal::TokenPair;
use flavor_host::store::{MemoryStore, RunStore as _};
use flavor_host::surroundings::{ImportCall, Observer, Seed, Surroundings};
use flavor_host::{Host, Limits, LoadError, Plugin, Run, RunRequest, StartError, Target};
use modal_local::simulated::{Images, Setup, Simulated};
use pipeline_file::RunId;
use serde_json::Map;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{sleep, sleep_until, timeout};

/// Runs scenarios against one plugin. Cheap to clone; clones share the compiled
/// code.
#[derive(Clone)]
pub struct Simulation {
    plugin: Plugin,
    keeps_trace: bool,
}

/// Why there is no simulation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulationError {
    /// The host does not run on this machine.
    #[error("a simulation cannot be set up: {0}")]
    Machine(String),
    /// The component is no plugin.
    #[error(transparent)]
    Component(#[from] LoadError),
}

/// The simulated Modal's address. No request leaves the process.
const SERVICE_URL: &str = "https://modal.simulated";

impl Simulation {
    /// Compiles a component and loads it into a host of its own. Takes about a
    /// second, so do it once for many runs.
    ///
    /// # Errors
    ///
    /// When it is no plugin, or this machine gives no threads.
    pub fn new(component: &[u8]) -> Result<Self, SimulationError> {
        Self::with_limits(component, Limits::default())
    }

    /// The same under other limits. They count real time where they bound CPU, and
    /// virtual time otherwise.
    ///
    /// # Errors
    ///
    /// As [`Simulation::new`].
    pub fn with_limits(component: &[u8], limits: Limits) -> Result<Self, SimulationError> {
        let machine = |error: &dyn std::fmt::Display| SimulationError::Machine(error.to_string());
        let host = Host::builder().limits(limits).build();
        let host = host.map_err(|error| machine(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.map_err(|error| machine(&error))?;
        Ok(Self::of(runtime.block_on(host.load(component))?))
    }

    /// Simulations of a plugin that a host app has loaded: under the limits of that
    /// host, in other surroundings.
    #[must_use]
    pub fn of(plugin: Plugin) -> Self {
        Self {
            plugin,
            keeps_trace: false,
        }
    }

    /// Keeps the lines of the trace, for people to read.
    #[must_use]
    pub fn keeping_trace(mut self) -> Self {
        self.keeps_trace = true;
        self
    }

    /// Runs a scenario. The same scenario, seed and component give the same outcome,
    /// whatever else this machine does.
    ///
    /// Must not be called on a thread of an async runtime: it has one of its own.
    #[must_use]
    pub fn run(&self, scenario: &Scenario, seed: u64) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.simulate(scenario, seed)),
            Err(error) => failed(format!("the simulation has no runtime: {error}")),
        }
    }

    async fn simulate(&self, scenario: &Scenario, seed: u64) -> Outcome {
        let run_id = RunId::from_bits(seed.into());
        let pipeline = scenario.contract_pipeline(&run_id);
        let scenario = Arc::new(scenario.clone());
        let stage = match Stage::new(&scenario, seed, self.keeps_trace) {
            Ok(stage) => stage,
            Err(error) => return failed(error),
        };
        let user = tokio::spawn(stop_by_user(
            Arc::clone(&stage.records),
            run_id.as_str().to_owned(),
            scenario.stops.clone(),
            Arc::clone(&stage.world),
        ));
        let mut events = Vec::new();
        let play = self.play(&stage, &pipeline, &mut events);
        let ended = timeout(limits::LONGEST_RUN, play).await;
        let (end, error, fault) = match ended {
            Ok(Ended { end, error, fault }) => (end, error, fault),
            Err(_) => (
                RunEnd::Interrupted,
                None,
                Some(format!(
                    "it still went on after {} days",
                    limits::LONGEST_RUN.as_secs() / 86_400
                )),
            ),
        };
        let duration = stage.world.trace.now();
        user.abort();
        // The hash is that of the run itself; what comes after it is clearing up.
        let trace_hash = stage.world.trace.hash();
        let waited = timeout(limits::AFTER_RUN, stage.settled()).await;
        drop(waited);
        let changes = stage.records.changes(run_id.as_str());
        let steps = steps(&pipeline, &changes, &events);
        let sandboxes = stage.world.modal.sandboxes();
        let calls = stage.world.schedule.calls();
        let faults = stage.world.schedule.happened(duration);
        let mut violations = Vec::new();
        if let Some(what) = fault {
            violations.push(Violation {
                rule: Rule::Ends,
                what,
            });
        }
        check::all(
            &Seen {
                scenario: &scenario,
                pipeline: &pipeline,
                end,
                error: error.as_deref(),
                steps: &steps,
                events: &events,
                changes: &changes,
                sandboxes: &sandboxes,
                calls: &calls,
                faults: &faults,
                duration,
                memory: stage.world.trace.largest(),
                origin: stage.origin,
                secrets: &stage.secrets,
                leaks: stage.world.trace.leaks(),
            },
            &mut violations,
        );
        let (run_metadata, _) = metadata(&changes);
        Outcome {
            end,
            error,
            steps,
            events,
            calls,
            sandboxes: sandboxes.len() as u64,
            most_running: check::most_running(&sandboxes),
            run_metadata,
            duration,
            trace_hash,
            trace_entries: stage.world.trace.entries(),
            trace: stage.world.trace.take_lines(),
            faults,
            violations,
        }
    }

    /// One controller after another, until one of them comes to an end.
    async fn play(
        &self,
        stage: &Stage,
        pipeline: &Pipeline,
        events: &mut Vec<(Duration, Event)>,
    ) -> Ended {
        let mut is_first = true;
        let mut refused = 0;
        loop {
            if let Some(ended) = recorded_end(&stage.records.changes(&pipeline.run_id)) {
                // Its controller died after its last word was written down.
                return ended;
            }
            let life = Life::new();
            let plugin = self.plugin.within(stage.surroundings(&life));
            let request = stage.request(pipeline.clone(), &life);
            let mut run = None;
            let controller = control(&plugin, request, is_first, stage, events, &mut run);
            let ended = tokio::select! {
                biased;
                cut = life.over() => Err(cut),
                ended = controller => Ok(ended),
            };
            if let Some(run) = run {
                run.abandon().await;
            }
            match ended {
                // Whoever looks after runs tries again for a while.
                Ok(ended) if ended.end == RunEnd::Refused && ended.fault.is_none() && !is_first => {
                    refused += 1;
                    if refused > limits::RESUMES {
                        return Ended {
                            end: RunEnd::Interrupted,
                            ..ended
                        };
                    }
                    sleep(limits::RESUME_PAUSE).await;
                }
                Ok(ended) => return ended,
                Err(Cut::Circling) => {
                    return Ended {
                        end: RunEnd::Interrupted,
                        error: None,
                        fault: Some("it asks and asks, without end".to_owned()),
                    };
                }
                Err(Cut::Killed { restart_after }) => {
                    is_first = false;
                    sleep(restart_after).await;
                }
            }
        }
    }
}

/// How a run came to its end.
struct Ended {
    end: RunEnd,
    error: Option<String>,
    /// What the plugin did that it must never do.
    fault: Option<String>,
}

/// How a run ended, if that is recorded: then nobody takes it up again.
fn recorded_end(changes: &[Change]) -> Option<Ended> {
    changes.iter().rev().find_map(|change| match change {
        Change::Run(run) if run.status.is_final() => Some(Ended {
            end: RunEnd::Ended(run.status),
            error: run.reason.clone(),
            fault: None,
        }),
        _ => None,
    })
}

/// The life of a controller that nobody kills.
async fn control(
    plugin: &Plugin,
    request: RunRequest,
    is_first: bool,
    stage: &Stage,
    events: &mut Vec<(Duration, Event)>,
    under_way: &mut Option<Run>,
) -> Ended {
    let started = match is_first {
        true => plugin.run(request).await,
        false => plugin.resume(request).await,
    };
    let run = match started {
        Ok(run) => under_way.insert(run),
        Err(error) => return not_started(&error),
    };
    while let Some(event) = run.next().await {
        let trace = &stage.world.trace;
        trace.add(format_args!("event {event:?}"), &[]);
        events.push((trace.now(), event));
    }
    let finished = match under_way.take() {
        Some(run) => run.finish().await,
        None => Err(flavor_host::Error::NoResult),
    };
    match finished {
        Ok(RunFinished { status, error, .. }) => Ended {
            end: RunEnd::Ended(status),
            error: error.map(|error| error.to_string()),
            fault: None,
        },
        Err(error) => Ended {
            end: RunEnd::Interrupted,
            error: Some(error.to_string()),
            fault: Some(format!("the plugin is gone: {error}")),
        },
    }
}

fn not_started(error: &StartError) -> Ended {
    let is_plugins_fault = matches!(
        error,
        StartError::Run(
            flavor_host::Error::Trapped { .. }
                | flavor_host::Error::Spinning { .. }
                | flavor_host::Error::BrokenContract { .. }
                | flavor_host::Error::NoResult
        )
    );
    Ended {
        end: RunEnd::Refused,
        error: Some(error.to_string()),
        fault: is_plugins_fault.then(|| format!("the plugin is gone: {error}")),
    }
}

/// An outcome of a run that could not be simulated.
fn failed(error: String) -> Outcome {
    Outcome {
        end: RunEnd::Refused,
        error: Some(error.clone()),
        steps: Vec::new(),
        events: Vec::new(),
        calls: BTreeMap::new(),
        sandboxes: 0,
        most_running: 0,
        run_metadata: Map::new(),
        duration: Duration::ZERO,
        trace_hash: String::new(),
        trace_entries: 0,
        trace: Vec::new(),
        faults: Vec::new(),
        violations: vec![Violation {
            rule: Rule::Ends,
            what: error,
        }],
    }
}

/// What a run is played on.
struct Stage {
    scenario: Arc<Scenario>,
    world: Arc<World>,
    clock: Arc<SimulatedClock>,
    seed: Seed,
    target: Target,
    records: Arc<MemoryStore>,
    cached: Arc<BTreeSet<String>>,
    /// Time since 1970 at the start.
    origin: Duration,
    secrets: Vec<String>,
}

impl Stage {
    fn new(scenario: &Arc<Scenario>, seed: u64, keeps_trace: bool) -> Result<Self, String> {
        let dice = Dice::new(seed);
        let schedule = Arc::new(Schedule::new(scenario, seed));
        let script = Arc::new(ScenarioScript {
            scenario: Arc::clone(scenario),
            schedule: Arc::clone(&schedule),
        });
        let capacity = &scenario.service;
        let mut setup = Setup::new(dice.bytes("modal"), script);
        setup.gpus.clone_from(&capacity.gpus);
        setup.images = Images {
            build_time: capacity.image_build,
            failure: capacity
                .image_build_fails
                .then(|| "the image cannot be built".to_owned()),
        };
        setup.auth_token_lifetime = capacity.token_lifetime;
        if let Some(most) = capacity.sandboxes {
            setup.limits.running_sandboxes = usize::try_from(most).unwrap_or(usize::MAX);
        }
        let origin = setup.now;
        let (id, secret) = (
            setup.credentials.token_id.clone(),
            setup.credentials.token_secret.clone(),
        );
        let secrets = vec![id.clone(), secret.clone(), TOKEN_MARK.to_owned()];
        let credentials =
            TokenPair::new(id, Secret::new(secret)).map_err(|error| error.to_string())?;
        let target = Target::new(SERVICE_URL, credentials).map_err(|error| error.to_string())?;
        let jumps = schedule.clock_jumps();
        Ok(Self {
            world: Arc::new(World {
                trace: Arc::new(Trace::new(keeps_trace, secrets.clone())),
                schedule,
                modal: Simulated::new(setup),
                latency: capacity.latency,
                arrived: Notify::new(),
            }),
            clock: Arc::new(SimulatedClock::new(origin, jumps)),
            seed: Seed::new(dice.bytes("plugin")),
            target,
            records: Arc::new(MemoryStore::new()),
            cached: Arc::new(scenario.cached.iter().cloned().collect()),
            scenario: Arc::clone(scenario),
            origin,
            secrets,
        })
    }

    /// What one controller finds around it.
    fn surroundings(&self, life: &Life) -> Surroundings {
        Surroundings {
            transport: Some(Arc::new(Network {
                world: Arc::clone(&self.world),
                life: life.clone(),
            })),
            clock: Some(self.clock.clone()),
            seed: Some(self.seed.clone()),
            observer: Some(Arc::new(Living {
                trace: Arc::clone(&self.world.trace),
                life: life.clone(),
            })),
            uninterrupted: true,
        }
    }

    fn request(&self, pipeline: Pipeline, life: &Life) -> RunRequest {
        let store = SimulatedStore {
            world: Arc::clone(&self.world),
            life: life.clone(),
            records: Arc::clone(&self.records),
            cached: Arc::clone(&self.cached),
        };
        let mut request = RunRequest::new(pipeline, self.target.clone(), Arc::new(store));
        let keys = self.scenario.cached.iter();
        request.cache_keys = keys.map(|step| (step.clone(), step.clone())).collect();
        request
    }

    /// Waits until nothing runs any more.
    async fn settled(&self) {
        while self.world.modal.running() > 0 {
            sleep(Duration::from_secs(1)).await;
        }
    }
}

/// How every short-lived token of the simulated Modal begins.
const TOKEN_MARK: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// Hears a controller for as long as it lives.
#[derive(Debug)]
struct Living {
    trace: Arc<Trace>,
    life: Life,
}

impl Observer for Living {
    fn observe(&self, call: ImportCall<'_>) {
        if !self.life.is_over() {
            self.trace.observe(call);
        }
    }
}

async fn stop_by_user(
    records: Arc<MemoryStore>,
    run: String,
    stops: Vec<(Duration, StopMode)>,
    world: Arc<World>,
) {
    let start = tokio::time::Instant::now();
    for (at, mode) in stops {
        if let Some(at) = start.checked_add(at) {
            sleep_until(at).await;
        }
        // Before the run is known there is nothing to stop.
        let asked = records.request_stop(&run, mode).await;
        world.trace.add(
            format_args!("the user asks for a stop: {mode:?} {asked:?}"),
            &[],
        );
    }
}

/// What was recorded of the steps, and what was told last.
fn steps(
    pipeline: &Pipeline,
    changes: &[Change],
    events: &[(Duration, Event)],
) -> Vec<StepOutcome> {
    let (_, mut metadata) = metadata(changes);
    let mut steps: BTreeMap<&str, StepOutcome> = BTreeMap::new();
    for step in &pipeline.steps {
        steps.insert(
            &step.name,
            StepOutcome {
                name: step.name.clone(),
                status: StepStatus::Pending,
                attempts: 0,
                exit_code: None,
                reason: None,
                metadata: metadata.remove(step.name.as_str()).unwrap_or_default(),
            },
        );
    }
    for change in changes {
        match change {
            Change::Intent(intent) => {
                if let Some(step) = steps.get_mut(intent.step.as_str()) {
                    step.attempts = step.attempts.max(intent.attempt.saturating_add(1));
                }
            }
            Change::Step(change) => {
                if let Some(step) = steps.get_mut(change.step.as_str()) {
                    step.status = change.status;
                    step.exit_code = change.exit_code;
                    step.reason.clone_from(&change.reason);
                    // Some attempts fail before a sandbox is asked for.
                    if matches!(change.status, StepStatus::Failed | StepStatus::Completed) {
                        step.attempts = step.attempts.max(change.attempt.saturating_add(1));
                    }
                }
            }
            _ => {}
        }
    }
    let finished = events.iter().rev().find_map(|(_, event)| match event {
        Event::RunFinished(finished) => Some(finished),
        _ => None,
    });
    for (name, status) in finished.iter().flat_map(|finished| &finished.steps) {
        if let Some(step) = steps.get_mut(name.as_str()) {
            step.status = *status;
        }
    }
    let names = pipeline.steps.iter().map(|step| step.name.as_str());
    names.filter_map(|name| steps.remove(name)).collect()
}

type Facts = Map<String, serde_json::Value>;

/// The facts about the run, and about its steps.
fn metadata(changes: &[Change]) -> (Facts, BTreeMap<&str, Facts>) {
    let mut of_run = Facts::new();
    let mut of_steps: BTreeMap<&str, Facts> = BTreeMap::new();
    for change in changes {
        let Change::Metadata(metadata) = change else {
            continue;
        };
        let values = serde_json::from_str::<Facts>(&metadata.values).unwrap_or_default();
        match &metadata.step {
            None => of_run.extend(values),
            Some(step) => of_steps.entry(step).or_default().extend(values),
        }
    }
    (of_run, of_steps)
}
