//! Pipeline files: what a pipeline is, as a person writes it down.
//!
//! [`PipelineFile::from_reader`] turns a file's bytes into types that hold nothing
//! wrong, or into [`InvalidFile`]: everything that is wrong with the file, each
//! with line, column, path of keys, and what to do about it. What needs more than
//! the file, such as cycles and the names in `after`, is for the plugin to say.
//!
//! # The file
//!
//! ```yaml
//! name: example                       # required
//! steps:                              # required: name → step
//!   prepare:
//!     command: [sh, -c, "echo hi"]    # required: program and arguments
//!   train:
//!     command: [python, train.py]
//!     after: [prepare]
//!     settings: {gpu: T4}             # over the pipeline's, key by key
//!     retry: {max_retries: 2, delay: 5, backoff: 2}
//! execution_mode: fail_fast           # stop_on_failure, continue_on_failure
//! image: python:3.13-slim
//! registry: registry.example.com
//! settings: {region: us-east-1, cloud: aws, modal_environment: main, timeout: 3600, exact_memory: true}
//! resources: {cpu_count: 2, gpu_count: 1, memory: 4GiB}
//! environment: {LOG_LEVEL: "debug"}
//! run_dir: true
//! files: [data/in.csv]
//! enable_cache: false                 # true for no step where there is a run_dir
//! ```
//!
//! A step may have `image`, `settings`, `resources`, `environment` and `enable_cache`
//! as well; see [`Step::effective`]. Unknown and repeated keys are problems. A key with no
//! value (`null`) counts as left out, except in `settings`, where it is a value
//! that overrides the pipeline's.
//!
//! # JSON or YAML
//!
//! A file whose name ends in `.json` is JSON. Any other is JSON when it is one
//! well-formed JSON object or array, and YAML when it is not. Both give the same
//! pipeline; the difference is which syntax errors are reported.
//!
//! YAML is version 1.2 with anchors, aliases and merge keys: `no`, `off` and
//! `2026-11-22` are texts, `0o17` is a number. Where a text is asked for, a number
//! or boolean is a problem rather than converted: `1.10` would come out as `1.1`
//! somewhere on the way.
//!
//! # Limits
//!
//! See [`limits`]. Whatever the bytes, parsing ends within seconds and never
//! panics.

pub mod decode;
mod document;
mod error;
mod json;
pub mod limits;
mod names;
mod node;
mod pipeline;
mod problems;
mod values;
mod yaml;

pub use document::object_from_reader;
pub use error::{InvalidFile, LoadError, Location, Problem};
pub use names::{NameError, RunId, StepName};
pub use pipeline::{Effective, ExecutionMode, PipelineFile, Resources, Retry, Settings, Step};
pub use values::{CpuCount, EnvKey, EnvValue, Environment, MemorySize, RelativePath, ValueError};
