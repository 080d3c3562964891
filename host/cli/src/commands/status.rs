//! `flavor status`

use super::{known_run, local_time, now, span};
use crate::args::StatusArgs;
use crate::exit::{Exit, Failure};
use crate::{paths, terminal};
use flavor_host::state::Standing;
use flavor_host::store::{RunRecord, StepRecord};
use serde_json::{Map, Value, json};

pub(crate) async fn status(args: StatusArgs) -> Result<Exit, Failure> {
    let state = paths::open_state(false)?;
    let run = known_run(&state, &args.run).await?;
    let standing = state.standing(&args.run, run.summary.status);
    if args.json {
        terminal::say(&object(&run, standing).to_string());
    } else {
        for line in lines(&run, standing) {
            terminal::say(&terminal::escape(&line));
        }
    }
    Ok(Exit::Done)
}

fn lines(run: &RunRecord, standing: Standing) -> Vec<String> {
    let summary = &run.summary;
    let mut lines = vec![
        standing.to_string(),
        format!(
            "{} on {}, started {}, {}",
            summary.name,
            summary.target,
            local_time(summary.created_at),
            span(summary.created_at, summary.ended_at.unwrap_or_else(now)),
        ),
    ];
    if let Some(reason) = &summary.reason {
        lines.push(reason.clone());
    }
    if standing == Standing::Interrupted {
        lines.push(format!(
            "its controller is gone; take it up again with `flavor resume {}`",
            summary.id
        ));
    }
    lines.push(String::new());
    let rows: Vec<Vec<String>> = run.steps.iter().map(row).collect();
    lines.extend(terminal::table(&rows));
    lines
}

fn row(step: &StepRecord) -> Vec<String> {
    let took = step
        .started_at
        .map(|started| span(started, step.ended_at.unwrap_or_else(now)));
    vec![
        step.name.clone(),
        step.status.word().to_owned(),
        took.unwrap_or_default(),
        step.reason.clone().unwrap_or_default(),
    ]
}

fn object(run: &RunRecord, standing: Standing) -> Value {
    let summary = &run.summary;
    let steps: Map<String, Value> = run
        .steps
        .iter()
        .map(|step| {
            let value = json!({
                "status": step.status.word(),
                "attempt": step.attempt,
                "exit_code": step.exit_code,
                "reason": step.reason,
                "sandbox": step.sandbox,
                "metadata": step.metadata,
            });
            (step.name.clone(), value)
        })
        .collect();
    json!({
        "run": summary.id,
        "name": summary.name,
        "target": summary.target,
        "status": standing.word(),
        "reason": summary.reason,
        "created_at": summary.created_at,
        "ended_at": summary.ended_at,
        "metadata": run.metadata,
        "steps": steps,
    })
}
