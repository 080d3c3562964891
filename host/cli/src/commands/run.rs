//! `flavor run`

use super::run_id;
use crate::args::RunArgs;
use crate::controller::{Session, Surroundings, unusable};
use crate::exit::{Exit, Failure};
use crate::recipe::Recipe;
use crate::signals::Interrupts;
use crate::target::On;
use crate::{convert, paths, plugin};
use flavor_host::Error;
use flavor_host::contract;
use pipeline_file::PipelineFile;

pub(crate) async fn run(args: RunArgs) -> Result<Exit, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let on = On::parse(&args.on)?;
    let id = run_id(args.run_id.as_deref())?;
    let file = convert::read(&args.file)?;
    check_local_only(&on, &file, &args)?;
    let recipe = Recipe {
        pipeline: file,
        file: args.file.clone(),
        on,
        max_parallelism: args.max_parallelism,
        durable: args.durable,
    };
    let plugin = plugin::load().await?;
    // What is wrong with the pipeline is said before anything exists of it.
    let check = convert::pipeline(&recipe.pipeline, &id, recipe.max_parallelism, None);
    plugin
        .check(no_service(), check)
        .await
        .map_err(|error| in_file(error, &args))?;
    let surroundings = Surroundings::of(&recipe)?;

    let state = paths::open_state(recipe.durable)?;
    let directory = state
        .run_dir(id.as_str())
        .map_err(|error| unusable(&state, &error))?;
    let lock = directory
        .try_lock()
        .map_err(|error| unusable(&state, &error))?;
    // Whoever records a run holds its lock, so nobody does from here on.
    if state.store().run(id.as_str()).await?.is_some() {
        return Err(Failure::bad_input(format!(
            "there is a run `{id}` already: resume it with `flavor resume {id}`, or take another id"
        )));
    }
    let Some(_lock) = lock else {
        return Err(Failure::bad_input(format!(
            "run `{id}` is being started elsewhere: take another id"
        )));
    };
    let session = Session {
        plugin: &plugin,
        state: &state,
        directory: &directory,
        id: &id,
        recipe: &recipe,
        is_resumed: false,
        json: args.json,
    };
    session.control(surroundings, &mut interrupts).await
}

/// `files` and `run_dir` need the steps to be on this machine.
fn check_local_only(on: &On, file: &PipelineFile, args: &RunArgs) -> Result<(), Failure> {
    if *on == On::Local {
        return Ok(());
    }
    let key = match (file.files.is_empty(), file.run_dir) {
        (false, _) => "files",
        (true, true) => "run_dir",
        (true, false) => return Ok(()),
    };
    Err(Failure::bad_input(format!(
        "{}: {key}: works with `--on local` only, because steps on {} cannot see files of this \
         machine; put what they need into the image",
        args.file.display(),
        on.name()
    )))
}

fn in_file(error: Error, args: &RunArgs) -> Failure {
    crate::commands::validate::in_file(error, &args.file)
}

fn no_service() -> contract::Context {
    crate::commands::validate::no_service()
}
