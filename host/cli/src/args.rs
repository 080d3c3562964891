//! The command line, as typed.

mod sandbox;
mod step;
mod values;

pub(crate) use sandbox::{
    App, AttachArgs, CpArgs, CreateArgs, DestroyArgs, ExecArgs, Known, ListArgs, NewSandbox,
    RestoreArgs, SandboxCommand, SnapshotArgs,
};
pub(crate) use step::{
    StepCancelArgs, StepCommand, StepStatusArgs, StepWaitArgs, SubmitArgs, Submitted,
};
pub(crate) use values::{Pair, Place, Variable, environment};

use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand, ValueEnum};
use flavor_host::contract::FlavorKind;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Runs ML pipelines on Modal through a sandboxed plugin.
#[derive(Debug, Parser)]
#[command(name = "flavor", version, propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a pipeline
    Run(RunArgs),
    /// Take up a run again whose controller is gone
    ///
    /// What runs is watched, what is not known is asked about, and only what is
    /// known not to exist is started. The run goes on where it was sent, as it was
    /// started; credentials are looked for anew. A run that has ended stays as it
    /// is, and gives its exit code.
    Resume(ResumeArgs),
    /// Check a pipeline without running anything
    Validate(ValidateArgs),
    /// Show how a run and its steps stand
    Status(StatusArgs),
    /// Show what the steps of a run wrote
    Logs(LogsArgs),
    /// Stop a run
    Stop(StopArgs),
    /// Look at all runs
    #[command(subcommand)]
    Runs(RunsCommand),
    /// End sandboxes of runs that nobody looks after any more
    ///
    /// Only sandboxes are ended that runs recorded here are known to have created, and
    /// whose runs have ended or have lost their controller. Sandboxes of runs that are
    /// not recorded here are listed and left alone: somebody else may look after them.
    /// When a list cannot be read to its end, nothing is ended.
    Reap(ReapArgs),
    /// Run single steps, each in a sandbox of its own
    #[command(subcommand)]
    Step(StepCommand),
    /// Work in sandboxes: commands, files, snapshots
    #[command(subcommand)]
    Sandbox(SandboxCommand),
    /// Run scenarios against a simulated Modal, in virtual time
    ///
    /// A scenario is a pipeline, what its steps do, what goes wrong, and what is to come
    /// of it. A seed fixes everything: the same scenario, seed and plugin give the same
    /// trace, whose hash is shown.
    Test(TestArgs),
    /// List the flavors that the plugin offers
    Flavors(FlavorsArgs),
    /// Show the JSON Schema of a flavor's configuration or settings
    Schema(SchemaArgs),
    /// Look at configurations
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show what is in force: plugin, targets, credentials, directories
    Doctor,
    /// Serve Modal's protocol on this machine
    ///
    /// Sandboxes are processes of this machine. NOTHING IS ISOLATED: commands run
    /// as you, on your files; images are ignored, CPU and memory are not
    /// enforced.
    ///
    /// Clients must present the token pair in MODAL_TOKEN_ID and
    /// MODAL_TOKEN_SECRET; without these a pair is made up and printed as two
    /// export lines on stderr.
    ModalLocal(ModalLocalArgs),
}

/// Where something is that outlives the command that made it.
#[derive(Debug, ClapArgs)]
pub(crate) struct OnArg {
    /// Where it is: `modal` (Modal's cloud), or the URL of a Modal server. `local` would
    /// end with this command: serve one with `flavor modal-local` and give its URL
    #[arg(id = "on", long, value_name = "TARGET", default_value = "local")]
    pub(crate) target: String,
}

/// What is asked of a machine.
#[derive(Debug, ClapArgs)]
pub(crate) struct Machine {
    /// Settings document (YAML or JSON); flags go over it
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// GPU type, such as A100 or A100:2
    #[arg(long, value_name = "TYPE")]
    pub(crate) gpu: Option<String>,
    /// Memory with a unit, such as 512MB or 2GiB
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Seconds that the sandbox lives at most
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u32>,
}

/// Whose login is used.
#[derive(Debug, ClapArgs)]
pub(crate) struct RegistryArg {
    /// Registry whose login is used for its images: FLAVOR_REGISTRY_USERNAME and
    /// FLAVOR_REGISTRY_PASSWORD, else docker's entry for exactly that registry
    #[arg(id = "registry", long, value_name = "SERVER")]
    pub(crate) server: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RunArgs {
    /// Pipeline file (YAML or JSON)
    pub(crate) file: PathBuf,
    /// Where to run it: `local` (on this machine, nothing isolated), `modal`
    /// (Modal's cloud), or the URL of a Modal server
    #[arg(long, value_name = "TARGET", default_value = "local")]
    pub(crate) on: String,
    /// Most steps that run at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_parallelism: Option<u32>,
    /// Id of the run; made up without it
    #[arg(long, value_name = "ID")]
    pub(crate) run_id: Option<String>,
    /// Let what is recorded survive a power cut
    #[arg(long)]
    pub(crate) durable: bool,
    /// Write one JSON object per event
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ResumeArgs {
    /// Id of the run
    pub(crate) run: String,
    /// Write one JSON object per event
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ValidateArgs {
    /// Pipeline file (YAML or JSON)
    pub(crate) file: PathBuf,
    /// Write JSON objects
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct StatusArgs {
    /// Id of the run
    pub(crate) run: String,
    /// Say of each step why it was cached, or why not
    #[arg(long)]
    pub(crate) explain_cache: bool,
    /// Write one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LogsArgs {
    /// Id of the run
    pub(crate) run: String,
    /// One step only; its output comes byte for byte
    pub(crate) step: Option<String>,
    /// Write one JSON object per piece of output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct StopArgs {
    /// Id of the run
    pub(crate) run: String,
    /// Let running steps finish
    #[arg(long, conflicts_with = "force")]
    pub(crate) graceful: bool,
    /// End running steps (default)
    #[arg(long, action = ArgAction::SetTrue)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List runs, newest first
    List(RunsListArgs),
    /// Forget runs that have ended
    ///
    /// Their records, what their steps wrote and what these shared are removed, and
    /// their results no longer stand for later ones. With both rules, what either of
    /// them keeps is kept. Runs that go on are never forgotten.
    Prune(RunsPruneArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RunsListArgs {
    /// Write one JSON object per run
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct TestArgs {
    /// Scenario files, and directories with scenario files in them; with --chaos also
    /// pipeline files
    #[arg(value_name = "SCENARIO", required_unless_present = "replay")]
    pub(crate) scenarios: Vec<PathBuf>,
    /// Run each scenario with so many seeds in a row
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: Option<u64>,
    /// The first seed; without it, that of each scenario
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,
    /// Stop soon after the first run that fails
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Let everything go wrong that can, by seed, and check what must hold whatever goes
    /// wrong; what the scenarios expect is not looked at
    #[arg(long)]
    pub(crate) chaos: bool,
    /// Run one scenario and show all that the plugin does, with the virtual time
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scenarios", "seeds", "chaos"])]
    pub(crate) replay: Option<PathBuf>,
    /// Component to test, in place of the plugin that comes with this program
    #[arg(long, value_name = "FILE")]
    pub(crate) plugin: Option<PathBuf>,
    /// Write one JSON object per run
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a report as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Write a report as a page
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
#[command(group = clap::ArgGroup::new("rule").required(true).multiple(true))]
pub(crate) struct RunsPruneArgs {
    /// Keep runs that ended less than so many days ago
    #[arg(long, value_name = "DAYS", group = "rule")]
    pub(crate) older_than: Option<u32>,
    /// Keep so many of the runs that have ended, the newest
    #[arg(long, value_name = "N", group = "rule")]
    pub(crate) keep: Option<usize>,
    /// Forget interrupted runs too, by the time of their start. They cannot be resumed
    /// then, and `flavor reap` no longer knows their sandboxes: run it first
    #[arg(long)]
    pub(crate) interrupted: bool,
    /// Only say which runs would be forgotten
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Write one JSON object per run
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ReapArgs {
    /// Where to look: `local`, `modal`, or the URL of a Modal server. Without it,
    /// wherever runs that are recorded here may have left something
    #[arg(long, value_name = "TARGET")]
    pub(crate) on: Option<String>,
    /// Look into this environment of the Modal account; may be repeated. Without it,
    /// into the default one and those that recorded runs have used
    #[arg(long, value_name = "NAME")]
    pub(crate) modal_environment: Vec<String>,
    /// Only list them
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Write one JSON object per sandbox
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct FlavorsArgs {
    /// Write one JSON object per flavor
    #[arg(long)]
    pub(crate) json: bool,
}

/// A flavor, as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FlavorName {
    /// Runs whole pipelines
    Orchestrator,
    /// Runs single steps
    #[value(alias = "step_operator")]
    StepOperator,
    /// Opens interactive sessions
    Sandbox,
}

impl From<FlavorName> for FlavorKind {
    fn from(name: FlavorName) -> Self {
        match name {
            FlavorName::Orchestrator => Self::Orchestrator,
            FlavorName::StepOperator => Self::StepOperator,
            FlavorName::Sandbox => Self::Sandbox,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SchemaArgs {
    /// Which flavor
    #[arg(long, value_name = "FLAVOR")]
    pub(crate) flavor: FlavorName,
    /// The schema of what is given per pipeline and step, instead of what is
    /// stored with a component
    #[arg(long)]
    pub(crate) settings: bool,
    /// Write it on one line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a configuration or settings document
    ///
    /// Token values in the document do not reach the plugin: they read
    /// `credential:0` and so on.
    Validate(ConfigValidateArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ConfigValidateArgs {
    /// Which flavor it is for
    #[arg(long, value_name = "FLAVOR")]
    pub(crate) flavor: FlavorName,
    /// The document is given per pipeline and step, instead of stored with a
    /// component
    #[arg(long)]
    pub(crate) settings: bool,
    /// Document (YAML or JSON)
    pub(crate) file: PathBuf,
    /// Write one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ModalLocalArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Allow an address that other machines can reach. Whoever knows the token
    /// can then run commands as you
    #[arg(long)]
    pub(crate) allow_remote: bool,
    /// Keep the server's state here; without it, in a temporary directory
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Most sandboxes that run at the same time; 4096 without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_sandboxes: Option<u32>,
    /// Most MiB of disk that sandboxes, their output and snapshots take; 102400 without it
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_disk: Option<u32>,
}
