//! `flavor sandbox list`

use super::connection;
use crate::args::{ListArgs, Pair};
use crate::commands::{local_time, microseconds};
use crate::exit::{Exit, Failure};
use crate::{plugin, remote, terminal};
use flavor_host::contract::Listed;
use serde_json::{Map, Value, json};

pub(crate) async fn list(args: ListArgs) -> Result<Exit, Failure> {
    let connection = connection(&args.known)?;
    let url = connection.target.url();
    let tags = args.tag.into_iter().map(Pair::into_tag).collect();
    let plugin = plugin::load().await?;
    let listed = plugin.list_sandboxes(connection, tags, args.all).await;
    let listed = listed.map_err(|error| remote::failure(error, &url))?;
    if args.json {
        for sandbox in listed {
            terminal::say(&object(sandbox).to_string());
        }
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = listed.iter().map(row).collect();
    for line in terminal::table(&rows) {
        terminal::say(&terminal::escape(&line));
    }
    Ok(Exit::Done)
}

fn state(sandbox: &Listed) -> &'static str {
    match sandbox.finished {
        true => "finished",
        false => "running",
    }
}

fn row(sandbox: &Listed) -> Vec<String> {
    let tags = sandbox.tags.iter();
    let tags: Vec<String> = tags.map(|(key, value)| format!("{key}={value}")).collect();
    vec![
        sandbox.sandbox.clone(),
        sandbox.name.clone().unwrap_or_default(),
        state(sandbox).to_owned(),
        local_time(microseconds(sandbox.created_at)),
        tags.join(" "),
    ]
}

fn object(sandbox: Listed) -> Value {
    let tags: Map<String, Value> = sandbox
        .tags
        .into_iter()
        .map(|(key, value)| (key, value.into()))
        .collect();
    json!({
        "sandbox": sandbox.sandbox,
        "name": sandbox.name,
        "finished": sandbox.finished,
        "created_at": microseconds(sandbox.created_at),
        "tags": tags,
    })
}
