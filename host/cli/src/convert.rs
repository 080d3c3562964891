//! From a pipeline file to the contract's pipeline.

use crate::exit::Failure;
use flavor_host::contract::{ExecutionMode, Pipeline, Resources, Retry, Step};
use pipeline_file::{LoadError, PipelineFile, RunId};
use std::fs::File;
use std::path::Path;

/// The image of steps that name none: the one that ZenML's sandbox flavor has by
/// default. The local Modal ignores images.
pub(crate) const DEFAULT_IMAGE: &str = "python:3.11-slim";

/// Variable in which steps find the directory that the run's steps share.
const RUN_DIR_VARIABLE: &str = "FLAVOR_RUN_DIR";

/// Reads a pipeline file.
pub(crate) fn read(path: &Path) -> Result<PipelineFile, Failure> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|source| LoadError::Read {
        file: name.clone(),
        source,
    });
    file.and_then(|file| PipelineFile::from_reader(&name, file))
        .map_err(Failure::bad_input)
}

/// The pipeline as a plugin takes it.
pub(crate) fn pipeline(
    file: &PipelineFile,
    run_id: &RunId,
    max_parallelism: Option<u32>,
    run_dir: Option<&Path>,
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
        steps: file
            .steps
            .iter()
            .map(|step| convert_step(step, file, run_dir))
            .collect(),
    }
}

fn convert_step(step: &pipeline_file::Step, file: &PipelineFile, run_dir: Option<&Path>) -> Step {
    let effective = step.effective(file);
    let mut environment: Vec<(String, String)> = effective
        .environment
        .iter()
        .map(|(key, value)| (key.as_str().to_owned(), value.as_str().to_owned()))
        .collect();
    if let Some(path) = run_dir {
        environment.retain(|(key, _)| key != RUN_DIR_VARIABLE);
        environment.push((RUN_DIR_VARIABLE.to_owned(), path.display().to_string()));
    }
    let settings = effective.settings.as_json().clone();
    Step {
        name: step.name.as_str().to_owned(),
        command: step.command.clone(),
        after: step
            .after
            .iter()
            .map(|name| name.as_str().to_owned())
            .collect(),
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
        environment,
        retry: match &step.retry {
            Some(retry) => Retry {
                max_retries: retry.max_retries,
                delay: retry.delay_seconds,
                backoff: retry.backoff,
            },
            None => Retry {
                max_retries: 0,
                delay: 0.0,
                backoff: 1.0,
            },
        },
    }
}
