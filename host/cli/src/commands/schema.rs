//! `flavor schema`

use super::flavors::document;
use crate::args::SchemaArgs;
use crate::exit::{Exit, Failure};
use crate::{plugin, terminal};
use flavor_host::contract::FlavorKind;
use serde_json::Value;

pub(crate) async fn schema(args: SchemaArgs) -> Result<Exit, Failure> {
    let kind = FlavorKind::from(args.flavor);
    let flavors = plugin::load().await?.flavors().await?;
    let flavor = flavors.into_iter().find(|flavor| flavor.kind == kind);
    let flavor = flavor
        .ok_or_else(|| Failure::bad_input("the plugin has no such flavor: see `flavor flavors`"))?;
    let text = match args.settings {
        true => flavor.settings_schema,
        false => flavor.config_schema,
    };
    let schema = Value::Object(document(&text)?);
    terminal::say(&match args.json {
        true => schema.to_string(),
        false => format!("{schema:#}"),
    });
    Ok(Exit::Done)
}
