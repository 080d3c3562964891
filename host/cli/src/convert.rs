//! From a pipeline file to the contract's pipeline.

use crate::exit::Failure;
pub(crate) use flavor_harness::scenario::DEFAULT_IMAGE;
use flavor_harness::scenario::contract_pipeline;
use flavor_host::contract::Pipeline;
use pipeline_file::{LoadError, PipelineFile, RunId};
use std::fs::File;
use std::path::Path;

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
    let mut pipeline = contract_pipeline(file, run_id, max_parallelism);
    if let Some(path) = run_dir {
        for step in &mut pipeline.steps {
            step.environment.retain(|(key, _)| key != RUN_DIR_VARIABLE);
            let path = path.display().to_string();
            step.environment.push((RUN_DIR_VARIABLE.to_owned(), path));
        }
    }
    pipeline
}
