//! Why something could not be submitted.

use super::images::MissingImage;
use crate::names::RUN_ID_VARIABLE;
use crate::resources::gpu::GpuError;
use crate::resources::memory::MemoryError;

/// Why something could not be submitted. `E` is the service's failure, `R` that
/// of ZenML's server.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SubmitError<E, R> {
    /// Nobody would start it when its time comes.
    #[error(
        "Scheduling {} pipelines is not supported for the Modal orchestrator yet.",
        match dynamic { true => "dynamic", false => "static" }
    )]
    Scheduled {
        /// Whether the pipeline decides for itself.
        dynamic: bool,
    },
    /// Nothing was built for the pipeline.
    #[error(
        "Missing build for snapshot {snapshot}. This is probably because the build was manually \
         deleted."
    )]
    NoBuild {
        /// The compiled pipeline.
        snapshot: String,
    },
    /// No image was built under the key.
    #[error("{0}")]
    Image(MissingImage),
    /// The stack has no registry that images could come from.
    #[error("{0}")]
    NoRegistry(&'static str),
    /// A step of the step operator has nothing to run.
    #[error("Modal step operator received an empty entrypoint command.")]
    EmptyCommand,
    /// A step is started outside a run.
    #[error(
        "Unable to get Modal orchestrator run ID from the {RUN_ID_VARIABLE} environment variable."
    )]
    NoRunId,
    /// GPUs cannot be chosen.
    #[error("{0}")]
    Gpu(GpuError),
    /// Memory cannot be asked for.
    #[error("{0}")]
    Memory(MemoryError),
    /// The sandbox of a controller that was waited for ended with a failure.
    #[error("Modal orchestration sandbox `{sandbox}` failed with exit code {code}.")]
    ControllerFailed {
        /// Modal's id of it.
        sandbox: String,
        /// Its exit code.
        code: i32,
    },
    /// Modal said no or is not there.
    #[error("{0}")]
    Service(E),
    /// ZenML's server said no or is not there.
    #[error("{0}")]
    Records(R),
}
