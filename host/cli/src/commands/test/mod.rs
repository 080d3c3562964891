//! `flavor test`

mod find;
mod html;
mod json;
mod junit;
mod markup;
mod plain;
mod report;
mod work;

use crate::args::TestArgs;
use crate::exit::{Exit, Failure};
use crate::{plugin, terminal};
use find::Case;
use flavor_harness::Simulation;
use flavor_host::{Host, Plugin};
use report::{Report, Tested};
use std::num::NonZeroU64;
use std::path::Path;

pub(crate) async fn test(args: TestArgs) -> Result<Exit, Failure> {
    let cases = match &args.replay {
        Some(file) => vec![find::scenario(file)?],
        None => find::cases(&args.scenarios, args.chaos)?,
    };
    let plugin = match &args.plugin {
        Some(path) => load(path).await?,
        None => plugin::load().await?,
    };
    let simulation = Simulation::of(plugin);
    // Simulations have runtimes of their own, which must not be inside of this one.
    let work = tokio::task::spawn_blocking(move || match args.replay {
        Some(_) => replay(&simulation, &cases, args.seed),
        None => run(&simulation, &cases, &args),
    });
    work.await
        .map_err(|error| Failure::new(Exit::Failed, format!("the tests broke off: {error}")))?
}

/// A component in a file of its own.
async fn load(path: &Path) -> Result<Plugin, Failure> {
    let component = std::fs::read(path).map_err(|error| {
        Failure::bad_input(format!("{}: cannot be read: {error}", path.display()))
    })?;
    let host = Host::new().map_err(|error| Failure::new(Exit::Failed, format!("{error:#}")))?;
    Ok(host.load(&component).await?)
}

/// Every case with every seed.
fn run(simulation: &Simulation, cases: &[Case], args: &TestArgs) -> Result<Exit, Failure> {
    let seeds = args.seeds.and_then(NonZeroU64::new);
    let runs = work::runs(cases, args.seed, seeds);
    let mut report = Report::default();
    let mut show = match args.json {
        true => json::show as fn(&Tested<'_>),
        false => plain::show,
    };
    // Of many seeds only those are shown that fail.
    if seeds.is_some() && !args.json {
        show = |tested| {
            if !tested.passed() {
                plain::show(tested);
            }
        };
    }
    work::each(simulation, runs, |tested| {
        show(&tested);
        let goes_on = tested.passed() || !args.fail_fast;
        report.add(tested);
        goes_on
    });
    match args.json {
        true => json::summary(&report),
        false => plain::summary(&report),
    }
    if let Some(path) = &args.junit {
        write(path, &junit::document(&report))?;
    }
    if let Some(path) = &args.html {
        write(path, &html::page(&report))?;
    }
    Ok(match report.failed() {
        0 => Exit::Done,
        _ => Exit::Failed,
    })
}

/// One case, with all that the plugin does.
fn replay(simulation: &Simulation, cases: &[Case], seed: Option<u64>) -> Result<Exit, Failure> {
    let simulation = simulation.clone().keeping_trace();
    let mut exit = Exit::Done;
    for run in work::runs(cases, seed, None) {
        let tested = work::once(&simulation, run);
        for line in &tested.outcome.trace {
            terminal::say(&terminal::escape(line));
        }
        plain::show(&tested);
        if !tested.passed() {
            exit = Exit::Failed;
        }
    }
    Ok(exit)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| {
        let message = format!(
            "{}: the report cannot be written: {error}; check the directory and its permissions",
            path.display()
        );
        Failure::new(Exit::Failed, message)
    })
}
