//! What a pipeline file says.

use std::time::Duration;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value};

use crate::limits::RETRY_DELAY_SECONDS;
use crate::names::StepName;
use crate::values::{CpuCount, Environment, MemorySize, RelativePath};

/// A pipeline as its file describes it.
///
/// Parsed, not planned: step names are unique and well formed, but `after` may
/// name steps that do not exist or form a cycle; the plugin says so.
///
/// Serialises to the file's own form, so that a recorded pipeline can be parsed
/// again; that form holds the values of environment variables, secrets or not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PipelineFile {
    /// Name of the pipeline; not blank.
    pub name: String,
    /// What happens to the rest when a step fails.
    pub execution_mode: ExecutionMode,
    /// Image of the steps that name none of their own; not blank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Server name of the registry whose credentials are sent along; not blank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// Settings of the platform, for every step.
    #[serde(skip_serializing_if = "Settings::is_empty")]
    pub settings: Settings,
    /// Resources, for every step.
    #[serde(skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
    /// Environment variables, for every step.
    #[serde(skip_serializing_if = "Environment::is_empty")]
    pub environment: Environment,
    /// Whether results of earlier runs stand for the steps that do not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_cache: Option<bool>,
    /// Whether the steps share a directory that is kept with the run. No step
    /// caches then.
    pub run_dir: bool,
    /// Files and folders copied into each step's working directory.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<RelativePath>,
    /// The steps in the order of the file; at least one, each name once.
    #[serde(serialize_with = "steps_as_map")]
    pub steps: Vec<Step>,
}

/// One step of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Its key in `steps`.
    #[serde(skip)]
    pub name: StepName,
    /// Program and arguments; at least the program, which is not empty, and no
    /// NUL anywhere.
    pub command: Vec<String>,
    /// Steps that must complete first, as written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<StepName>,
    /// Image, in place of the pipeline's; not blank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Settings, over the pipeline's.
    #[serde(skip_serializing_if = "Settings::is_empty")]
    pub settings: Settings,
    /// Resources, over the pipeline's.
    #[serde(skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
    /// Environment variables, over the pipeline's.
    #[serde(skip_serializing_if = "Environment::is_empty")]
    pub environment: Environment,
    /// Whether and how the step is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Whether the result of an earlier run stands for it, in place of what the
    /// pipeline says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_cache: Option<bool>,
}

impl Step {
    /// What holds for this step: its own keys over the pipeline's, key by key.
    #[must_use]
    pub fn effective<'p>(&'p self, pipeline: &'p PipelineFile) -> Effective<'p> {
        Effective {
            image: self.image.as_deref().or(pipeline.image.as_deref()),
            settings: self.settings.over(&pipeline.settings),
            resources: self.resources.over(&pipeline.resources),
            environment: self.environment.over(&pipeline.environment),
            enable_cache: self
                .enable_cache
                .or(pipeline.enable_cache)
                .unwrap_or_default(),
        }
    }
}

/// What holds for a step once the pipeline's keys are filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective<'p> {
    /// The image, when step or pipeline names one.
    pub image: Option<&'p str>,
    /// The settings.
    pub settings: Settings,
    /// The resources.
    pub resources: Resources,
    /// The environment variables.
    pub environment: Environment,
    /// Whether the result of an earlier run stands for it. Not unless the file says
    /// so: unlike ZenML's steps these are commands, which may be run for what they do
    /// and not for what they give.
    pub enable_cache: bool,
}

/// What happens to the rest of a run when a step fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionMode {
    /// Running steps are cut short, no further ones start.
    FailFast,
    /// Running steps end in their own time, no further ones start.
    StopOnFailure,
    /// Only the steps below the failed one are skipped. ZenML's default, and the
    /// one here.
    #[default]
    ContinueOnFailure,
}

impl ExecutionMode {
    /// All modes.
    pub const ALL: [Self; 3] = [Self::FailFast, Self::StopOnFailure, Self::ContinueOnFailure];

    /// The mode as the file writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FailFast => "fail_fast",
            Self::StopOnFailure => "stop_on_failure",
            Self::ContinueOnFailure => "continue_on_failure",
        }
    }
}

/// Settings of the platform: some of [`Settings::KEYS`], in the order of the file,
/// each with a value of its type.
///
/// A `null` is a value: a step's `gpu: null` takes the pipeline's GPU away. The
/// rules beyond the types are the plugin's.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Settings(Map<String, Value>);

impl Settings {
    /// The keys there are: four texts that may be `null`, `timeout`, an integer,
    /// and `exact_memory`, a boolean.
    pub const KEYS: [&str; 6] = [
        "gpu",
        "region",
        "cloud",
        "modal_environment",
        "timeout",
        "exact_memory",
    ];

    /// Takes values that were checked.
    pub(crate) fn new(values: Map<String, Value>) -> Self {
        Self(values)
    }

    /// The value of a key; `None` when the file does not say, `Null` when it says
    /// so.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// The settings as the JSON object that the plugin validates.
    #[must_use]
    pub fn as_json(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Whether the file says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These settings over those of `base`, key by key.
    #[must_use]
    pub fn over(&self, base: &Self) -> Self {
        let mut merged = base.0.clone();
        merged.extend(self.0.clone());
        Self(merged)
    }
}

/// Resources of a step; what is absent is the platform's default.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Resources {
    /// Processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_count: Option<CpuCount>,
    /// GPUs; zero says that there shall be none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_count: Option<u32>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemorySize>,
}

impl Resources {
    /// Whether the file says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These resources over those of `base`, key by key.
    #[must_use]
    pub fn over(&self, base: &Self) -> Self {
        Self {
            cpu_count: self.cpu_count.or(base.cpu_count),
            gpu_count: self.gpu_count.or(base.gpu_count),
            memory: self.memory.clone().or_else(|| base.memory.clone()),
        }
    }
}

/// Whether and how a failed step is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Retry {
    /// Attempts after the first; 1 when the file does not say.
    pub max_retries: u32,
    /// Pause before the first retry in seconds, from 0 to a day; 0 when the file
    /// does not say.
    #[serde(rename = "delay")]
    pub delay_seconds: f64,
    /// What every further pause is multiplied by; finite, 0 or above, 1 when the
    /// file does not say.
    pub backoff: f64,
}

impl Retry {
    /// The pause before a retry, counted from 1; at most a day.
    ///
    /// ```
    /// # use pipeline_file::Retry;
    /// let retry = Retry { max_retries: 3, delay_seconds: 2.0, backoff: 3.0 };
    /// let pauses = [1, 2, 3].map(|number| retry.pause(number).as_secs());
    /// assert_eq!(pauses, [2, 6, 18]);
    /// ```
    #[must_use]
    pub fn pause(&self, number: u32) -> Duration {
        let exponent = i32::try_from(number.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.delay_seconds * self.backoff.powi(exponent);
        // 0 times infinity is no number: without a delay there is none to grow.
        let seconds = if seconds.is_nan() { 0.0 } else { seconds };
        Duration::from_secs_f64(seconds.clamp(0.0, RETRY_DELAY_SECONDS))
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_retries: 1,
            delay_seconds: 0.0,
            backoff: 1.0,
        }
    }
}

fn steps_as_map<S: Serializer>(steps: &[Step], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(steps.len()))?;
    for step in steps {
        map.serialize_entry(step.name.as_str(), step)?;
    }
    map.end()
}
