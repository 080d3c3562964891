//! `flavor resume`

use crate::args::ResumeArgs;
use crate::controller::{Session, Surroundings, unusable};
use crate::exit::{Exit, Failure};
use crate::recipe::Recipe;
use crate::signals::Interrupts;
use crate::{paths, plugin, render, terminal};
use flavor_host::contract::RunStatus;
use flavor_host::state::StateDir;
use flavor_host::store::RunRecord;
use pipeline_file::RunId;

pub(crate) async fn resume(args: ResumeArgs) -> Result<Exit, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let id: RunId = args.run.parse().map_err(|_| unknown(&args.run))?;
    let mut state = paths::open_state(false)?;
    if let Some(exit) = ended(&recorded(&state, &args.run).await?, &args) {
        return Ok(exit);
    }
    let directory = state
        .run_dir(id.as_str())
        .map_err(|error| unusable(&state, &error))?;
    let lock = directory
        .try_lock()
        .map_err(|error| unusable(&state, &error))?;
    let Some(_lock) = lock else {
        return Err(Failure::bad_input(format!(
            "run `{id}` has a controller that lives: see how it stands with `flavor status {id}`, \
             or stop it with `flavor stop {id}`"
        )));
    };
    // Its last controller may have ended it just now.
    if let Some(exit) = ended(&recorded(&state, &args.run).await?, &args) {
        return Ok(exit);
    }
    let document = state.store().document(id.as_str()).await?;
    let recipe = Recipe::of_run(id.as_str(), document.as_deref())?;
    if recipe.durable {
        state = paths::open_state(true)?;
    }
    let surroundings = Surroundings::of(&recipe)?;
    let plugin = plugin::load().await?;
    let session = Session {
        plugin: &plugin,
        state: &state,
        directory: &directory,
        id: &id,
        recipe: &recipe,
        is_resumed: true,
        json: args.json,
    };
    session.control(surroundings, &mut interrupts).await
}

async fn recorded(state: &StateDir, id: &str) -> Result<RunRecord, Failure> {
    state.store().run(id).await?.ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> Failure {
    Failure::bad_input(format!(
        "there is no run `{id}`, or it died before it was recorded: see `flavor runs list`, or start \
         it with `flavor run FILE --run-id {id}`"
    ))
}

/// A run that has ended is as it is: tells how, as if it had ended here.
fn ended(run: &RunRecord, args: &ResumeArgs) -> Option<Exit> {
    let status = run.summary.status;
    let exit = match status {
        RunStatus::Running | RunStatus::Stopping => return None,
        RunStatus::Completed => Exit::Done,
        RunStatus::Failed => Exit::Failed,
        RunStatus::Stopped => Exit::Stopped,
    };
    terminal::complain(&format!("run {} has ended already", args.run));
    match args.json {
        true => {
            let steps = run.steps.iter();
            let steps = steps.map(|step| (step.name.clone(), step.status.word().into()));
            let error = run.summary.reason.clone();
            render::run_finished(status, error, &steps.collect());
        }
        false => terminal::say(status.word()),
    }
    Some(exit)
}
