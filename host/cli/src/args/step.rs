//! `flavor step`, as typed.

use super::{Machine, OnArg, RegistryArg, Variable};
use clap::{Args as ClapArgs, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum StepCommand {
    /// Start a step in a sandbox of its own and print what finds it again
    ///
    /// That is one JSON object. The step runs whether anybody waits for it or not.
    Submit(Box<SubmitArgs>),
    /// Print how a step stands
    Status(StepStatusArgs),
    /// Wait for the end of a step; 0 when it completed, else 1
    Wait(StepWaitArgs),
    /// End a step
    Cancel(StepCancelArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SubmitArgs {
    #[command(flatten)]
    pub(crate) on: OnArg,
    #[command(flatten)]
    pub(crate) machine: Machine,
    #[command(flatten)]
    pub(crate) registry: RegistryArg,
    /// Image in a registry
    #[arg(long, value_name = "IMAGE", default_value = crate::convert::DEFAULT_IMAGE)]
    pub(crate) image: String,
    /// GPUs
    #[arg(long, value_name = "N")]
    pub(crate) gpu_count: Option<u32>,
    /// Cores, may be fractional
    #[arg(long, value_name = "N")]
    pub(crate) cpu: Option<f64>,
    /// Variable of the step; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) env: Vec<Variable>,
    /// Name of the step
    #[arg(long, value_name = "STEP", default_value = "step")]
    pub(crate) name: String,
    /// Id of the step's run; made up without it
    #[arg(long, value_name = "ID")]
    pub(crate) run_id: Option<String>,
    /// Program and arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// A step that was submitted.
#[derive(Debug, ClapArgs)]
pub(crate) struct Submitted {
    #[command(flatten)]
    pub(crate) on: OnArg,
    /// File with what `submit` printed, `-` for standard input, or the id of the
    /// step's sandbox
    #[arg(value_name = "STEP")]
    pub(crate) metadata: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct StepStatusArgs {
    #[command(flatten)]
    pub(crate) step: Submitted,
    /// Write one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct StepWaitArgs {
    #[command(flatten)]
    pub(crate) step: Submitted,
    /// Write one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct StepCancelArgs {
    #[command(flatten)]
    pub(crate) step: Submitted,
}
