//! From a scenario's pipeline to the contract's.

use flavor_host::contract::{ExecutionMode, Pipeline, Resources, Retry, Step};
use pipeline_file::{PipelineFile, RunId};

use super::Scenario;

/// The image of steps that name none: the one that ZenML's sandbox flavor has by
/// default. The local Modal ignores images.
pub const DEFAULT_IMAGE: &str = "python:3.11-slim";

impl Scenario {
    /// The pipeline as a plugin takes it.
    #[must_use]
    pub fn contract_pipeline(&self, run_id: &RunId) -> Pipeline {
        let max_parallelism = self.max_parallelism.map(|most| most.get());
        contract_pipeline(&self.pipeline, run_id, max_parallelism)
    }
}

/// The pipeline of a pipeline file, as a plugin takes it.
#[must_use]
pub fn contract_pipeline(
    file: &PipelineFile,
    run_id: &RunId,
    max_parallelism: Option<u32>,
) -> Pipeline {
    Pipeline {
        run_id: run_id.as_str().to_owned(),
        name: file.name.clone(),
        execution_mode: match file.execution_mode {
            pipeline_file::ExecutionMode::FailFast => ExecutionMode::FailFast,
            pipeline_file::ExecutionMode::StopOnFailure => ExecutionMode::StopOnFailure,
            pipeline_file::ExecutionMode::ContinueOnFailure => ExecutionMode::ContinueOnFailure,
        },
        max_parallelism,
        steps: file.steps.iter().map(|step| convert(step, file)).collect(),
    }
}

fn convert(step: &pipeline_file::Step, file: &PipelineFile) -> Step {
    let effective = step.effective(file);
    let environment = effective.environment.iter();
    let settings = effective.settings.as_json().clone();
    let after = step.after.iter();
    let retry = step.retry.unwrap_or(pipeline_file::Retry {
        max_retries: 0,
        ..pipeline_file::Retry::default()
    });
    Step {
        name: step.name.as_str().to_owned(),
        command: step.command.clone(),
        after: after.map(|name| name.as_str().to_owned()).collect(),
        image: effective.image.unwrap_or(DEFAULT_IMAGE).to_owned(),
        settings: serde_json::Value::Object(settings).to_string(),
        resources: Resources {
            cpu_count: effective.resources.cpu_count.map(|count| count.get()),
            gpu_count: effective.resources.gpu_count,
            memory: effective
                .resources
                .memory
                .map(|memory| memory.as_str().to_owned()),
        },
        environment: environment
            .map(|(key, value)| (key.as_str().to_owned(), value.as_str().to_owned()))
            .collect(),
        retry: Retry {
            max_retries: retry.max_retries,
            delay: retry.delay_seconds,
            backoff: retry.backoff,
        },
    }
}
