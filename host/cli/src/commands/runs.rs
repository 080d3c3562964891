//! `flavor runs`

use super::{local_time, now, span};
use crate::args::{RunsListArgs, RunsPruneArgs};
use crate::exit::{Exit, Failure};
use crate::render::counted;
use crate::{paths, terminal};
use flavor_host::state::Standing;
use flavor_host::store::RunSummary;
use serde_json::json;

/// A day, in the store's terms.
const DAY: i64 = 86_400_000_000;

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

pub(crate) async fn prune(args: RunsPruneArgs) -> Result<Exit, Failure> {
    let state = paths::open_state(false)?;
    let runs = to_forget(state.store().runs().await?, &args, now());
    let mut forgotten = 0_usize;
    for run in runs {
        let is_gone = args.dry_run
            || state.forget(&run.id).await.map_err(|error| {
                Failure::new(
                    Exit::Failed,
                    format!(
                        "run {} is not forgotten: {error}; run the command again",
                        run.id
                    ),
                )
            })?;
        if is_gone {
            forgotten += 1;
            terminal::say(&match args.json {
                true => json!({"run": run.id, "forgotten": !args.dry_run}).to_string(),
                false => terminal::escape(&run.id),
            });
        }
    }
    let runs = counted(forgotten, "run");
    terminal::complain(&match args.dry_run {
        true => format!("{runs} would be forgotten (--dry-run)"),
        false => format!("{runs} forgotten"),
    });
    Ok(Exit::Done)
}

/// Those of the given runs, newest first, that have ended and that no rule keeps.
fn to_forget(runs: Vec<RunSummary>, args: &RunsPruneArgs, now: i64) -> Vec<RunSummary> {
    let days = i64::from(args.older_than.unwrap_or_default());
    let ended_before = now.saturating_sub(days.saturating_mul(DAY));
    let ended = runs.into_iter().filter(|run| run.status.is_final());
    let beyond = ended.skip(args.keep.unwrap_or_default());
    let is_old = |run: &RunSummary| run.ended_at.is_some_and(|ended| ended <= ended_before);
    beyond.filter(is_old).collect()
}
