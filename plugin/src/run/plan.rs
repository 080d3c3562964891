//! From a pipeline as the host hands it in to one that can be run: everything
//! that can be wrong is found here, before anything starts.

use crate::config::FieldFault;
use crate::config::orchestrator::OrchestratorSettings;
use crate::dag::graph::{Graph, GraphError};
use crate::dag::machine::{ExecutionMode, Retry};
use crate::environment;
use crate::limits;
use crate::modal::image::RegistryLogin;
use crate::modal::sandbox::SandboxSpec;
use crate::names;
use crate::registry;
use crate::resources::cpu::MilliCpu;
use crate::resources::gpu::{self, Choice};
use crate::resources::memory::{Measure, Memory, MemoryError};
use crate::text::non_blank;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

/// A pipeline as the host hands it in.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Names the run.
    pub run_id: String,
    /// What happens to the rest when a step fails.
    pub mode: ExecutionMode,
    /// Steps that may run at the same time; none or 0: no limit.
    pub max_parallelism: Option<u32>,
    /// In the order of declaration.
    pub steps: Vec<Step>,
}

/// A step as the host hands it in.
#[derive(Debug, Clone)]
pub struct Step {
    /// Unique in the pipeline.
    pub name: String,
    /// Command and arguments.
    pub command: Vec<String>,
    /// Steps that must have completed before.
    pub after: Vec<String>,
    /// Reference in a registry.
    pub image: String,
    /// Settings document.
    pub settings: String,
    /// Cores, may be fractional.
    pub cpu_count: Option<f64>,
    /// GPUs.
    pub gpu_count: Option<u32>,
    /// A number and a unit.
    pub memory: Option<String>,
    /// Variables.
    pub environment: Vec<(String, String)>,
    /// Further attempts after the first.
    pub max_retries: u32,
    /// Seconds before the first further attempt.
    pub delay: f64,
    /// Factor by which the delay grows.
    pub backoff: f64,
}

/// A user name and password for one registry.
#[derive(Debug, Clone)]
pub struct RegistryCredentials {
    /// The registry in front of image names.
    pub registry: String,
    /// What it wants to know.
    pub login: RegistryLogin,
}

/// A pipeline that can be run.
#[derive(Debug)]
pub struct Plan {
    /// Names the run.
    pub run_id: String,
    /// The Modal app of the run.
    pub app_name: String,
    /// The graph.
    pub graph: Graph,
    /// What happens to the rest when a step fails.
    pub mode: ExecutionMode,
    /// Steps that may run at the same time.
    pub max_parallelism: Option<NonZeroU32>,
    /// One entry per step of the graph.
    pub steps: Vec<Rc<PlannedStep>>,
    /// What is allowed but probably not meant, with the step it is about.
    pub warnings: Vec<(Rc<str>, String)>,
}

/// A step that can be run.
#[derive(Debug)]
pub struct PlannedStep {
    /// Its name.
    pub name: Rc<str>,
    /// The image it needs.
    pub image: String,
    /// What the image's registry wants to know.
    pub login: Option<RegistryLogin>,
    /// The Modal environment of its app.
    pub modal_environment: Option<String>,
    /// Its sandbox, but for ids, name and tags.
    pub template: SandboxSpec,
    /// What happens when it fails.
    pub retry: Retry,
}

impl Plan {
    /// Checks a pipeline.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn new(
        pipeline: Pipeline,
        registry: Option<&RegistryCredentials>,
    ) -> Result<Self, Vec<FieldFault>> {
        let mut faults = Vec::new();
        if pipeline.run_id.is_empty() {
            faults.push(FieldFault::new(["run-id"], "empty", "a run needs an id"));
        }
        if pipeline.steps.is_empty() {
            let message = "a pipeline needs at least one step";
            faults.push(FieldFault::new(["steps"], "empty", message));
        }
        let steps = pipeline
            .steps
            .iter()
            .map(|step| (step.name.as_str(), step.after.as_slice()));
        let graph = Graph::new(steps)
            .map_err(|errors| faults.extend(errors.iter().map(graph_fault)))
            .ok();
        let mut warnings = Vec::new();
        let mut planned = Vec::with_capacity(pipeline.steps.len());
        for step in pipeline.steps {
            let name = step.name.clone();
            match PlannedStep::new(step, registry) {
                Ok((step, texts)) => {
                    warnings.extend(texts.into_iter().map(|text| (Rc::clone(&step.name), text)));
                    planned.push(Rc::new(step));
                }
                Err(list) => faults.extend(
                    list.into_iter()
                        .map(|fault| fault.below(["steps", name.as_str()])),
                ),
            }
        }
        match graph {
            Some(graph) if faults.is_empty() => Ok(Self {
                app_name: names::app_name(&pipeline.run_id),
                run_id: pipeline.run_id,
                graph,
                mode: pipeline.mode,
                max_parallelism: pipeline.max_parallelism.and_then(NonZeroU32::new),
                steps: planned,
                warnings,
            }),
            _ => Err(faults),
        }
    }
}

impl PlannedStep {
    fn new(
        step: Step,
        registry: Option<&RegistryCredentials>,
    ) -> Result<(Self, Vec<String>), Vec<FieldFault>> {
        let mut faults = Vec::new();
        let mut warnings = Vec::new();
        if step.name.is_empty() {
            faults.push(FieldFault::new([], "empty", "a step needs a name"));
        }
        check_command(&step.command, &mut faults);
        if non_blank(Some(&step.image)).is_none() {
            faults.push(FieldFault::new(["image"], "empty", "a step needs an image"));
        }
        check_environment(&step.environment, &mut faults);
        let cpu = match step.cpu_count.map(MilliCpu::from_cores) {
            None => MilliCpu::default(),
            Some(Ok(cpu)) => cpu,
            Some(Err(error)) => {
                faults.push(FieldFault::new(
                    ["resources", "cpu_count"],
                    "greater_than",
                    error,
                ));
                MilliCpu::default()
            }
        };
        let settings = OrchestratorSettings::parse(&step.settings);
        let measure = match &settings {
            Ok(settings) => settings.measure,
            Err(_) => Measure::default(),
        };
        let memory =
            memory(step.memory.as_deref(), measure, &mut warnings).unwrap_or_else(|error| {
                let place = ["resources", "memory"];
                faults.push(FieldFault::new(place, error.kind(), error));
                0
            });
        let settings = settings
            .map_err(|list| faults.extend(list.into_iter().map(|fault| fault.below(["settings"]))))
            .ok();
        let gpu = settings.as_ref().and_then(|settings| {
            match gpu::choose(settings.gpu.as_deref(), step.gpu_count, gpu::ORCHESTRATOR) {
                Ok(choice) => {
                    warnings.extend(choice.warning());
                    match choice {
                        Choice::Gpu(gpu) => Some(gpu),
                        Choice::Cpu | Choice::CpuDespite { .. } => None,
                    }
                }
                Err(error) => {
                    faults.push(FieldFault::new(["settings", "gpu"], "gpu", error));
                    None
                }
            }
        });
        let retry = retry(&step, &mut faults);
        let Some(settings) = settings.filter(|_| faults.is_empty()) else {
            return Err(faults);
        };
        let login = registry
            .filter(|credentials| registry::holds(&credentials.registry, &step.image))
            .map(|credentials| credentials.login.clone());
        let optional = |text: Option<&str>| non_blank(text).map(ToOwned::to_owned);
        let step = Self {
            name: step.name.into(),
            image: step.image,
            login,
            modal_environment: optional(settings.modal_environment.as_deref()),
            template: SandboxSpec {
                command: step.command,
                environment: environment::split(step.environment),
                cpu,
                memory,
                gpu,
                region: optional(settings.region.as_deref()),
                cloud: optional(settings.cloud.as_deref()),
                timeout: settings.timeout,
                ..SandboxSpec::default()
            },
            retry,
        };
        Ok((step, warnings))
    }
}

/// The number for the request; 0 leaves it to Modal.
fn memory(
    text: Option<&str>,
    measure: Measure,
    warnings: &mut Vec<String>,
) -> Result<u32, MemoryError> {
    let Some(text) = text else {
        return Ok(0);
    };
    let amount = Memory::parse(text)?;
    let number = amount.request(measure)?;
    warnings.extend(measure.warning(text, amount));
    Ok(number)
}

fn graph_fault(error: &GraphError) -> FieldFault {
    let kind = match error {
        GraphError::TooManySteps => "too_long",
        GraphError::Repeated { .. } => "repeated",
        GraphError::UnknownUpstream { .. } => "unknown_upstream",
        GraphError::Cycle { .. } => "cycle",
    };
    match error.step() {
        Some(step) => FieldFault::new(["steps", step, "after"], kind, error),
        None => FieldFault::new(["steps"], kind, error),
    }
}

fn check_command(command: &[String], faults: &mut Vec<FieldFault>) {
    let length: usize = command.iter().map(String::len).sum();
    let message = if command.is_empty() {
        "a step needs a command"
    } else if length > limits::ARGUMENTS {
        "the arguments together are longer than the 65536 bytes that Modal takes; \
         put what is long into a file or an environment variable"
    } else if command.iter().any(|argument| argument.contains('\0')) {
        "an argument contains a NUL character, which no command can be given"
    } else {
        return;
    };
    faults.push(FieldFault::new(["command"], "command", message));
}

fn check_environment(variables: &[(String, String)], faults: &mut Vec<FieldFault>) {
    for (name, value) in variables {
        let mut letters = name.bytes();
        let is_name = letters
            .next()
            .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
            && letters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let message = if !is_name {
            "not a name for an environment variable: use letters, digits and underscores, no digit first"
        } else if value.contains('\0') {
            "the value contains a NUL character, which no environment variable can hold"
        } else {
            continue;
        };
        faults.push(FieldFault::new(
            ["environment", name],
            "environment",
            message,
        ));
    }
}

fn retry(step: &Step, faults: &mut Vec<FieldFault>) -> Retry {
    let delay = Duration::try_from_secs_f64(step.delay).unwrap_or_else(|_| {
        let message = "a delay is a number of seconds, 0 or more";
        faults.push(FieldFault::new(["retry", "delay"], "delay", message));
        Duration::ZERO
    });
    if !step.backoff.is_finite() || step.backoff < 1.0 {
        let message = "a backoff is a factor of 1 or more";
        faults.push(FieldFault::new(["retry", "backoff"], "backoff", message));
    }
    Retry {
        max_retries: step.max_retries,
        delay,
        backoff: step.backoff,
    }
}
