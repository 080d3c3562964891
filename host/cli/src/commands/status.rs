//! `flavor status`

use super::{known_run, local_time, now, span};
use crate::args::StatusArgs;
use crate::caching;
use crate::exit::{Exit, Failure};
use crate::{paths, terminal};
use flavor_host::contract::StepStatus;
use flavor_host::state::Standing;
use flavor_host::store::{CacheRecord, RunRecord, StepRecord};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// What is recorded about the cache, by steps.
type CacheRecords = HashMap<String, CacheRecord>;

pub(crate) async fn status(args: StatusArgs) -> Result<Exit, Failure> {
    let state = paths::open_state(false)?;
    let run = known_run(&state, &args.run).await?;
    let standing = state.standing(&args.run, run.summary.status);
    let cache = match args.explain_cache {
        true => {
            let records = state.store().cache_records(&args.run).await?;
            let by_step = records.into_iter().map(|known| (known.step.clone(), known));
            Some(by_step.collect())
        }
        false => None,
    };
    if args.json {
        terminal::say(&object(&run, standing, cache.as_ref()).to_string());
    } else {
        for line in lines(&run, standing, cache.as_ref()) {
            terminal::say(&terminal::escape(&line));
        }
    }
    Ok(Exit::Done)
}

fn lines(run: &RunRecord, standing: Standing, cache: Option<&CacheRecords>) -> Vec<String> {
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
    let row = |step: &StepRecord| match cache {
        Some(cache) => explanation(step, cache.get(&step.name)),
        None => row(step),
    };
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

fn explanation(step: &StepRecord, known: Option<&CacheRecord>) -> Vec<String> {
    let why = match (known, step.status) {
        (None, _) => "not cached: its pipeline file does not say `enable_cache: true`".to_owned(),
        (Some(known), StepStatus::Cached) => match &known.source {
            Some(source) => format!(
                "cached: step {} of run {} has completed under the same key",
                source.step, source.run
            ),
            None => "cached: the run that completed it has been forgotten".to_owned(),
        },
        (Some(_), StepStatus::Pending | StepStatus::Skipped) => "did not run".to_owned(),
        (Some(known), _) => not_cached(known),
    };
    vec![step.name.clone(), step.status.word().to_owned(), why]
}

fn not_cached(known: &CacheRecord) -> String {
    let Some(last) = &known.last else {
        return "not cached: no earlier run of this pipeline has completed it".to_owned();
    };
    match differences(known).as_deref() {
        None => format!("not cached: its key is not that of run {}", last.run),
        Some([]) => format!("not cached: run {} completed it too late", last.run),
        Some(different) => format!(
            "not cached: differs from run {} in {}",
            last.run,
            different.join(", ")
        ),
    }
}

/// In what a step differs from its last completion; none when that is not known.
fn differences(known: &CacheRecord) -> Option<Vec<String>> {
    let own = caching::parts(known.parts.as_deref())?;
    let last = caching::parts(known.last.as_ref()?.parts.as_deref())?;
    Some(caching::differences(&own, &last))
}

fn cache_object(known: Option<&CacheRecord>) -> Value {
    let Some(known) = known else {
        return json!({"enabled": false});
    };
    let source = known.source.as_ref();
    let last = known.last.as_ref();
    json!({
        "enabled": true,
        "key": known.key,
        "source": source.map(|source| json!({"run": source.run, "step": source.step})),
        "last": last.map(|last| json!({"run": last.run, "differs_in": differences(known)})),
    })
}

fn object(run: &RunRecord, standing: Standing, cache: Option<&CacheRecords>) -> Value {
    let summary = &run.summary;
    let steps: Map<String, Value> = run
        .steps
        .iter()
        .map(|step| {
            let mut value = json!({
                "status": step.status.word(),
                "attempt": step.attempt,
                "exit_code": step.exit_code,
                "reason": step.reason,
                "sandbox": step.sandbox,
                "metadata": step.metadata,
            });
            if let (Some(cache), Some(object)) = (cache, value.as_object_mut()) {
                object.insert("cache".to_owned(), cache_object(cache.get(&step.name)));
            }
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
