//! `flavor`: runs pipelines on Modal through a plugin that it does not trust.

mod args;
mod caching;
mod commands;
mod controller;
mod convert;
mod exit;
mod local;
mod paths;
mod plugin;
mod raw;
mod recipe;
mod registry;
mod remote;
mod render;
mod screen;
mod signals;
mod target;
mod terminal;

use args::{Args, Command, ConfigCommand, RunsCommand};
use clap::Parser as _;
use exit::{Exit, Failure};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Saves a sixth of the CPU of a wide pipeline.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        // clap's own code for usage errors is 2 as well; help is no error.
        Err(error) => {
            let _ = error.print();
            return match error.use_stderr() {
                true if commands::sandbox::is_exec(std::env::args_os()) => Exit::NotRun.into(),
                true => Exit::BadInput.into(),
                false => Exit::Done.into(),
            };
        }
    };
    log_to_stderr(&args.command);
    // One thread: the work is waiting, and what computes goes to threads of its
    // own.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return Failure::new(Exit::Failed, format!("no async runtime: {error}")).report();
        }
    };
    let result = runtime.block_on(dispatch(args.command));
    // A blocking call that still runs must not keep the process.
    runtime.shutdown_background();
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(),
    }
}

async fn dispatch(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(args) => commands::run::run(args).await,
        Command::Resume(args) => commands::resume::resume(args).await,
        Command::Validate(args) => commands::validate::validate(args).await,
        Command::Status(args) => commands::status::status(args).await,
        Command::Logs(args) => commands::logs::logs(args).await,
        Command::Stop(args) => commands::stop::stop(args).await,
        Command::Runs(RunsCommand::List(args)) => commands::runs::list(args).await,
        Command::Runs(RunsCommand::Prune(args)) => commands::runs::prune(args).await,
        Command::Reap(args) => commands::reap::reap(args).await,
        Command::Step(command) => commands::step::dispatch(command).await,
        Command::Sandbox(command) => commands::sandbox::dispatch(command).await,
        Command::Test(args) => commands::test::test(args).await,
        Command::Flavors(args) => commands::flavors::flavors(args).await,
        Command::Schema(args) => commands::schema::schema(args).await,
        Command::Config(ConfigCommand::Validate(args)) => commands::config::validate(args).await,
        Command::Doctor => commands::doctor::doctor().await,
        Command::ModalLocal(args) => commands::modal_local::serve(args).await,
    }
}

/// Diagnostics go to stderr: errors and warnings, or what `FLAVOR_LOG` asks for.
fn log_to_stderr(command: &Command) {
    let usual = match command {
        // What goes wrong in a simulation does so on purpose, thousands of times.
        Command::Test(_) => "off",
        _ => "warn",
    };
    let filter = EnvFilter::try_from_env("FLAVOR_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| terminal::Log)
        .with_ansi(terminal::is_watched() && terminal::wants_colours())
        .without_time()
        .with_target(false)
        .init();
}
