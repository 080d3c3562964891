//! What ZenML's server and client decide about runs, as far as a run store of its
//! own needs it: how a run stands when its steps stand so, and whether an earlier
//! result of a step stands for it. Facts from ZenML 0.98.0.

mod cache;
mod python;
mod status;

pub use cache::{
    ArtifactStore, CacheKeyError, InputArtifact, StepToCache, cache_key, is_enabled, parse_inputs,
};
pub use status::{ExecutionStatus, run_status};
