//! `flavor runs list`

use super::{local_time, now, span};
use crate::args::RunsListArgs;
use crate::exit::{Exit, Failure};
use crate::{paths, terminal};
use flavor_host::state::Standing;
use serde_json::json;

pub(crate) async fn list(args: RunsListArgs) -> Result<Exit, Failure> {
    let state = paths::open_state(false)?;
    let runs = state.store().runs().await?;
    let mut rows = Vec::with_capacity(runs.len());
    let mut interrupted = Vec::new();
    for run in runs {
        let standing = state.standing(&run.id, run.status);
        if standing == Standing::Interrupted {
            interrupted.push(run.id.clone());
        }
        if args.json {
            let object = json!({
                "run": run.id,
                "name": run.name,
                "target": run.target,
                "status": standing.word(),
                "created_at": run.created_at,
                "ended_at": run.ended_at,
            });
            terminal::say(&object.to_string());
        } else {
            rows.push(vec![
                run.id,
                run.name,
                standing.to_string(),
                run.target,
                local_time(run.created_at),
                span(run.created_at, run.ended_at.unwrap_or_else(now)),
            ]);
        }
    }
    for line in terminal::table(&rows) {
        terminal::say(&terminal::escape(&line));
    }
    for run in interrupted {
        terminal::complain(&format!(
            "run {run} was interrupted; take it up again with `flavor resume {run}`"
        ));
    }
    Ok(Exit::Done)
}
