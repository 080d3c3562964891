//! `flavor stop`

use super::known_run;
use crate::args::StopArgs;
use crate::exit::{Exit, Failure};
use crate::{paths, terminal};
use flavor_host::contract::StopMode;
use flavor_host::state::{Standing, StateDir};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a forced stop is waited for: the run itself has ten seconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often it is looked whether the run has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(crate) async fn stop(args: StopArgs) -> Result<Exit, Failure> {
    let state = paths::open_state(false)?;
    match standing(&state, &args.run).await? {
        standing @ Standing::Recorded(_) if !standing.is_active() => {
            terminal::complain(&format!("run {} has ended already", args.run));
            terminal::say(standing.word());
            return Ok(Exit::Done);
        }
        Standing::Interrupted => {
            return Err(Failure::new(
                Exit::Failed,
                format!(
                    "the controller of run `{0}` is gone, so nobody would stop it: take it up \
                     again with `flavor resume {0}`, or end its sandboxes with `flavor reap`",
                    args.run
                ),
            ));
        }
        Standing::Recorded(_) => {}
    }
    let mode = match args.graceful {
        true => StopMode::Graceful,
        false => StopMode::Force,
    };
    state.request_stop(&args.run, mode).await?;
    let ended = match mode {
        // Running steps may take as long as they like.
        StopMode::Graceful => standing(&state, &args.run).await?,
        StopMode::Force => wait_for_end(&state, &args.run).await?,
    };
    terminal::say(ended.word());
    Ok(Exit::Done)
}

async fn wait_for_end(state: &StateDir, run: &str) -> Result<Standing, Failure> {
    let give_up_at = Instant::now() + PATIENCE;
    loop {
        let standing = standing(state, run).await?;
        if !standing.is_active() {
            return Ok(standing);
        }
        if Instant::now() > give_up_at {
            return Err(Failure::new(
                Exit::Failed,
                format!("run `{run}` was asked to stop, but has not ended within {PATIENCE:?}"),
            ));
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn standing(state: &StateDir, run: &str) -> Result<Standing, Failure> {
    let record = known_run(state, run).await?;
    Ok(state.standing(run, record.summary.status))
}
