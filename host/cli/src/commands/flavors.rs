//! `flavor flavors`

use crate::args::FlavorsArgs;
use crate::exit::{Exit, Failure};
use crate::{plugin, terminal};
use flavor_host::contract::{Flavor, FlavorKind};
use serde_json::json;

pub(crate) async fn flavors(args: FlavorsArgs) -> Result<Exit, Failure> {
    let flavors = plugin::load().await?.flavors().await?;
    if args.json {
        for flavor in &flavors {
            let object = json!({
                "type": kind(flavor),
                "name": flavor.name,
                "display_name": flavor.display_name,
                "docs_url": flavor.docs_url,
                "sdk_docs_url": flavor.sdk_docs_url,
                "logo_url": flavor.logo_url,
            });
            terminal::say(&object.to_string());
        }
        return Ok(Exit::Done);
    }
    let row = |flavor: &Flavor| {
        vec![
            kind(flavor).to_owned(),
            flavor.name.clone(),
            flavor.display_name.clone(),
            flavor.docs_url.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = flavors.iter().map(row).collect();
    for line in terminal::table(&rows) {
        terminal::say(&terminal::escape(&line));
    }
    Ok(Exit::Done)
}

fn kind(flavor: &Flavor) -> &'static str {
    match flavor.kind {
        FlavorKind::Orchestrator => "orchestrator",
        FlavorKind::StepOperator => "step_operator",
        FlavorKind::Sandbox => "sandbox",
    }
}
