//! `flavor flavors`

use crate::args::FlavorsArgs;
use crate::exit::{Exit, Failure};
use crate::{plugin, terminal};
use flavor_host::contract::{Flavor, FlavorKind};
use serde_json::{Map, Value};

pub(crate) async fn flavors(args: FlavorsArgs) -> Result<Exit, Failure> {
    let plugin = plugin::load().await?;
    let flavors = plugin.flavors().await?;
    if args.json {
        let integration = plugin.integration().await?;
        for flavor in &flavors {
            let registration =
                plugin.registration(flavor.kind, Some(integration.name.clone()), false);
            let mut object = document(&registration.await?)?;
            object.insert(
                "settings_schema".to_owned(),
                document(&flavor.settings_schema)?.into(),
            );
            object.insert("facts".to_owned(), document(&flavor.facts)?.into());
            terminal::say(&Value::Object(object).to_string());
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

/// ZenML's name of what a flavor is for.
pub(crate) fn kind(flavor: &Flavor) -> &'static str {
    match flavor.kind {
        FlavorKind::Orchestrator => "orchestrator",
        FlavorKind::StepOperator => "step_operator",
        FlavorKind::Sandbox => "sandbox",
    }
}

/// A document of the plugin.
pub(crate) fn document(text: &str) -> Result<Map<String, Value>, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("the plugin's catalog is no JSON: {error}"),
        )
    })
}
