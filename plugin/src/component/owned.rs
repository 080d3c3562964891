//! Sandboxes of runs, whoever's: the part of the export `orchestrator` by which those
//! are found and ended that nobody looks after any more.

use super::bindings::exports::zenml::flavor::orchestrator::{Context, Owned};
use super::bindings::zenml::flavor::types::Error;
use super::submission::client;
use crate::limits;
use crate::modal::catalogue::Wanted;
use crate::modal::sandbox::{Listed, SandboxHandle};
use crate::names::tag;
use std::str::FromStr;

/// Tags cannot be asked for by their keys alone, so it is asked for all sandboxes.
pub(super) async fn list(
    context: Context,
    environment: Option<String>,
) -> Result<Vec<Owned>, Error> {
    let wanted = Wanted {
        tags: &[],
        finished: false,
        environment: environment.as_deref(),
        most: limits::OWNED,
    };
    let all = client(&context.service)?.list_all("", wanted).await?;
    Ok(all.into_iter().filter_map(owned).collect())
}

pub(super) async fn end(context: Context, sandbox: String) -> Result<(), Error> {
    let client = client(&context.service)?;
    let handle = SandboxHandle::attached(sandbox);
    client
        .terminate_sandbox(&handle, limits::TERMINATE_PATIENCE)
        .await?;
    Ok(())
}

/// What the tags say; none when they name no run.
fn owned(sandbox: Listed) -> Option<Owned> {
    let said = |key: &str| {
        let mut tags = sandbox.tags.iter();
        tags.find_map(|(name, value)| (name == key).then_some(value))
    };
    Some(Owned {
        run_id: said(tag::RUN)?.clone(),
        step: said(tag::STEP).cloned(),
        attempt: number(said(tag::ATTEMPT)),
        epoch: number(said(tag::EPOCH)),
        created_at: sandbox.created_at,
        sandbox: sandbox.id,
    })
}

fn number<N: FromStr>(text: Option<&String>) -> Option<N> {
    text?.parse().ok()
}
