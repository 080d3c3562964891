//! `flavor sandbox`, as typed.

use super::{Machine, OnArg, Pair, Place, RegistryArg, Variable};
use clap::{Args as ClapArgs, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum SandboxCommand {
    /// Create a sandbox and print its id
    ///
    /// It lives on until `destroy`, or until its timeout.
    Create(CreateArgs),
    /// Run a command in a sandbox
    ///
    /// Hands on standard input and both outputs, byte for byte, and ends with the
    /// command's exit code. 125 means that the command was not run, or that its end
    /// is not known.
    ///
    /// An interrupt leaves the command running and ends with 130. With --tty it is a
    /// byte for the command.
    Exec(ExecArgs),
    /// Copy a file into a sandbox or out of it
    ///
    /// One side is SANDBOX:PATH with an absolute path, the other is a path on this
    /// machine, or `-` for standard input or output.
    Cp(CpArgs),
    /// Keep the files of a sandbox as an image and print the image's id
    Snapshot(SnapshotArgs),
    /// Create a sandbox with the files of a snapshot and print its id
    Restore(RestoreArgs),
    /// See whether a sandbox is there and runs, and what it is
    Attach(AttachArgs),
    /// List sandboxes, newest first
    List(ListArgs),
    /// End sandboxes
    Destroy(DestroyArgs),
}

/// What a new sandbox is like.
#[derive(Debug, ClapArgs)]
pub(crate) struct NewSandbox {
    #[command(flatten)]
    pub(crate) on: OnArg,
    #[command(flatten)]
    pub(crate) machine: Machine,
    #[command(flatten)]
    pub(crate) registry: RegistryArg,
    /// Cores
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cpu: Option<u32>,
    /// Variable of the sandbox; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) env: Vec<Variable>,
    /// Tag to find it by; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) tag: Vec<Pair>,
    /// Name that it goes by while it runs
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) app: App,
    /// Write one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct App {
    /// Modal app that sandboxes belong to; the plugin's own without it
    #[arg(long, value_name = "APP")]
    pub(crate) app: Option<String>,
}

/// A sandbox that there is.
#[derive(Debug, ClapArgs)]
pub(crate) struct Known {
    #[command(flatten)]
    pub(crate) on: OnArg,
    #[command(flatten)]
    pub(crate) app: App,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    pub(crate) new: NewSandbox,
    /// Image in a registry; the settings' without it
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    pub(crate) new: NewSandbox,
    /// Id that `snapshot` printed
    #[arg(value_name = "IMAGE_ID")]
    pub(crate) image: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    pub(crate) known: Known,
    /// Working directory, an absolute path; the sandbox's own without it
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<String>,
    /// Variable of the command; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) env: Vec<Variable>,
    /// Seconds after which the service ends the command
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) timeout: Option<u32>,
    /// Give the command a terminal, of the size of this one
    #[arg(long, short)]
    pub(crate) tty: bool,
    /// Id of the sandbox, or its name
    pub(crate) sandbox: String,
    /// Program and arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CpArgs {
    #[command(flatten)]
    pub(crate) known: Known,
    /// Where from
    pub(crate) source: Place,
    /// Where to; into a directory that is there, or one that ends with `/` in the
    /// sandbox, under the same name
    pub(crate) target: Place,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SnapshotArgs {
    #[command(flatten)]
    pub(crate) known: Known,
    /// Id of the sandbox, or its name
    pub(crate) sandbox: String,
    /// Write one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AttachArgs {
    #[command(flatten)]
    pub(crate) known: Known,
    /// Id of the sandbox, or its name
    pub(crate) sandbox: String,
    /// Write one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) known: Known,
    /// Only those with this tag; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) tag: Vec<Pair>,
    /// Those that have ended, too
    #[arg(long)]
    pub(crate) all: bool,
    /// Write one JSON object per sandbox
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DestroyArgs {
    #[command(flatten)]
    pub(crate) known: Known,
    /// Ids of sandboxes, or their names
    #[arg(required = true, value_name = "SANDBOX")]
    pub(crate) sandboxes: Vec<String>,
}
