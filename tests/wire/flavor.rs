//! Runs through the plugin, in the host.

use crate::foreign::{Foreign, TOKEN_ID, TOKEN_SECRET};
use flavor_host::contract::{
    Event, ExecutionMode, Pipeline, RegistryCredentials, Resources, Retry, RunFinished, RunStatus,
    Step, StepFinished, StepStatus,
};
use flavor_host::credentials::{Secret, modal::TokenPair};
use flavor_host::store::MemoryStore;
use flavor_host::{Host, Plugin, Run, RunRequest, StartError, Target};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::runtime::Runtime;

/// One runtime and one loaded plugin for all tests: runs share nothing else.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
});

static PLUGIN: LazyLock<Plugin> = LazyLock::new(|| {
    let host = Host::new().expect("a host");
    RUNTIME
        .block_on(host.load(default_plugin::COMPONENT))
        .expect("the plugin loads")
});

/// The plugin that all tests share.
pub(crate) fn plugin() -> &'static Plugin {
    &PLUGIN
}

/// The account and the place of a server.
pub(crate) fn target(server: &Foreign) -> Target {
    let credentials = TokenPair::new(TOKEN_ID, Secret::new(TOKEN_SECRET)).unwrap();
    Target::new(&server.url(), credentials).unwrap()
}

/// Longer than any run of these tests takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(400);

/// Runs a test's future. A run that hangs fails its test.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    // Loading it blocks as well, and one cannot be inside the other.
    LazyLock::force(&PLUGIN);
    RUNTIME.block_on(async {
        tokio::time::timeout(PATIENCE, work)
            .await
            .expect("the test ends in time")
    })
}

/// What is to be run.
pub(crate) struct Order {
    pub(crate) pipeline: Pipeline,
    pub(crate) registry: Option<RegistryCredentials>,
    pub(crate) options: Map<String, Value>,
    pub(crate) outputs: bool,
    pub(crate) token_secret: &'static str,
    pub(crate) store: Arc<MemoryStore>,
}

impl Order {
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        Self {
            pipeline: Pipeline {
                run_id: "r1".into(),
                name: "wire".into(),
                execution_mode: ExecutionMode::ContinueOnFailure,
                max_parallelism: None,
                steps,
            },
            registry: None,
            options: Map::new(),
            outputs: false,
            token_secret: TOKEN_SECRET,
            store: Arc::default(),
        }
    }

    pub(crate) async fn start(self, server: &Foreign) -> Result<Run, StartError> {
        PLUGIN.run(self.request(server)).await
    }

    /// Takes a run in the same store up again, to its end.
    pub(crate) async fn resume(self, server: &Foreign) -> Outcome {
        let run = PLUGIN.resume(self.request(server)).await;
        Outcome::of(run.expect("the run goes on")).await
    }

    fn request(self, server: &Foreign) -> RunRequest {
        let credentials = TokenPair::new(TOKEN_ID, Secret::new(self.token_secret)).unwrap();
        let target = Target::new(&server.url(), credentials).unwrap();
        let mut request = RunRequest::new(self.pipeline, target, self.store);
        request.registry = self.registry;
        request.service_options = self.options;
        request.outputs = self.outputs;
        request
    }

    /// Runs it to its end.
    pub(crate) async fn run(self, server: &Foreign) -> Outcome {
        let run = self.start(server).await.expect("the run starts");
        Outcome::of(run).await
    }
}

/// A step that runs `true`.
pub(crate) fn step(name: &str, after: &[&str]) -> Step {
    Step {
        name: name.into(),
        command: vec!["true".into()],
        after: after.iter().map(|name| (*name).into()).collect(),
        image: "python:3.11-slim".into(),
        settings: "{}".into(),
        resources: Resources {
            cpu_count: None,
            gpu_count: None,
            memory: None,
        },
        environment: Vec::new(),
        retry: Retry {
            max_retries: 0,
            delay: 0.0,
            backoff: 1.0,
        },
    }
}

/// A step on the older backend.
pub(crate) fn gpu_step(name: &str, after: &[&str]) -> Step {
    Step {
        settings: r#"{"gpu": "T4"}"#.into(),
        ..step(name, after)
    }
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) finished: RunFinished,
    pub(crate) events: Vec<Event>,
}

impl Outcome {
    pub(crate) async fn of(mut run: Run) -> Self {
        let mut events = Vec::new();
        while let Some(event) = run.next().await {
            events.push(event);
        }
        let finished = run.finish().await.expect("the run says how it ended");
        Self { finished, events }
    }

    pub(crate) fn statuses(&self) -> BTreeMap<&str, StepStatus> {
        let steps = self.finished.steps.iter();
        steps.map(|(step, status)| (&**step, *status)).collect()
    }

    /// Why the last attempt of a step did not complete.
    pub(crate) fn reason(&self, step: &str) -> &str {
        let last = self.events.iter().rev().find_map(|event| match event {
            Event::StepFinished(StepFinished {
                step: name, reason, ..
            }) if name == step => reason.as_deref(),
            _ => None,
        });
        last.unwrap_or_default()
    }

    pub(crate) fn warnings(&self) -> Vec<&str> {
        let warning = self.events.iter().filter_map(|event| match event {
            Event::Warning(warning) => Some(&*warning.message),
            _ => None,
        });
        warning.collect()
    }

    /// What a step wrote, to both its outputs.
    pub(crate) fn output(&self, step: &str) -> String {
        let piece = |event: &Event| match event {
            Event::Output(output) if output.step == step => Some(output.data.clone()),
            _ => None,
        };
        let data: Vec<u8> = self.events.iter().filter_map(piece).flatten().collect();
        String::from_utf8(data).expect("text")
    }

    /// Every step completed, without a warning but for the one about the unit of
    /// memory, which is there to stay as long as ZenML's default is.
    pub(crate) fn assert_completed(&self) {
        assert_eq!(self.finished.status, RunStatus::Completed, "{self:#?}");
        let mut warnings = self.warnings();
        warnings.retain(|warning| !warning.contains("exact_memory"));
        assert_eq!(warnings, [""; 0]);
    }
}
