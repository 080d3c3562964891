//! `flavor sandbox attach`

use super::{metadata, open};
use crate::args::AttachArgs;
use crate::exit::{Exit, Failure};
use crate::terminal;
use serde_json::{Map, Value, json};

pub(crate) async fn attach(args: AttachArgs) -> Result<Exit, Failure> {
    let session = open(&args.known, &args.sandbox).await?;
    let tags = session.tags().await?;
    if args.json {
        let tags: Map<String, Value> = tags
            .into_iter()
            .map(|(key, value)| (key, value.into()))
            .collect();
        let object = json!({
            "sandbox": session.id(),
            "dashboard_url": session.dashboard_url(),
            "metadata": metadata(&session)?,
            "tags": tags,
        });
        terminal::say(&object.to_string());
        return Ok(Exit::Done);
    }
    let row = |name: &str, value: &str| vec![name.to_owned(), value.to_owned()];
    let mut rows = vec![
        row("sandbox", session.id()),
        row("dashboard", session.dashboard_url()),
    ];
    rows.extend(
        tags.iter()
            .map(|(key, value)| row("tag", &format!("{key}={value}"))),
    );
    for line in terminal::table(&rows) {
        terminal::say(&terminal::escape(&line));
    }
    Ok(Exit::Done)
}
