//! Cases about the flavors as they are registered.

use super::Input;
use super::encode::{error, object, ok};
use crate::catalog::{DISPLAY_NAME, FLAVORS, Flavor, NAME, REQUIREMENTS};
use crate::config::reference::component_name;
use serde_json::{Map, Value};

pub(super) fn run(operation: &str, input: &Input<'_>) -> Option<Value> {
    match operation {
        "property" => property(flavor(input)?, input.text("name")?).map(ok),
        "classes" => {
            let facts = flavor(input)?.facts();
            let class = |name: &str| facts.get(name).cloned().unwrap_or_default();
            Some(ok(object([
                ("config", class("config_class")),
                ("implementation", class("implementation_class")),
            ])))
        }
        "component_facts" => Some(ok(facts(flavor(input)?))),
        "component_name" => Some(match component_name(input.text("name")?) {
            Ok(name) => ok(name),
            Err(refusal) => error("ValueError", refusal),
        }),
        "integration" => Some(ok(integration())),
        "settings_fields" => Some(ok(names(&flavor(input)?.settings_class().schema()))),
        "config_schema" => Some(ok(flavor(input)?.config_class().schema())),
        "config_schema_property" => {
            let schema = flavor(input)?.config_class().schema();
            let property = schema.get("properties")?.get(input.text("name")?)?;
            Some(ok(property.clone()))
        }
        "config_schema_property_order" => Some(ok(names(&flavor(input)?.config_class().schema()))),
        "to_model" => {
            let is_custom = input.field("is_custom").as_bool()?;
            let mut document = flavor(input)?.registration(input.text("integration"), is_custom);
            // The recording leaves out what it holds elsewhere.
            *document.get_mut("config_schema")? = "see config_schema".into();
            Some(ok(document))
        }
        _ => None,
    }
}

fn flavor(input: &Input<'_>) -> Option<&'static Flavor> {
    let kind = input.text("flavor").or(input.text("component"))?;
    FLAVORS
        .iter()
        .find(|flavor| flavor.kind.zenml_type() == kind)
}

fn property(flavor: &Flavor, name: &str) -> Option<Value> {
    Some(match name {
        "name" => NAME.into(),
        "display_name" => DISPLAY_NAME.into(),
        "type" => flavor.kind.zenml_type().into(),
        "docs_url" => flavor.docs_url().into(),
        "sdk_docs_url" => flavor.sdk_docs_url().into(),
        "logo_url" => flavor.logo_url().into(),
        "service_connector_requirements" => Value::Null,
        _ => return None,
    })
}

/// The facts without the classes, which are an operation of their own.
fn facts(flavor: &Flavor) -> Map<String, Value> {
    let of_classes = ["config_class", "implementation_class"];
    let facts = flavor.facts().into_iter();
    facts
        .filter(|(name, _)| !of_classes.contains(&name.as_str()))
        .collect()
}

fn integration() -> Value {
    let flavors: Vec<String> = FLAVORS.iter().map(Flavor::class).collect();
    let constants = FLAVORS
        .iter()
        .map(|flavor| flavor.kind.zenml_type().to_owned());
    let constants: Map<String, Value> = constants.map(|kind| (kind, NAME.into())).collect();
    object([
        ("name", NAME.into()),
        ("requirements", REQUIREMENTS.to_vec().into()),
        ("apt_packages", Vec::<String>::new().into()),
        ("flavors", flavors.into()),
        ("constants", constants.into()),
    ])
}

fn names(schema: &Value) -> Vec<String> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties
        .map(|fields| fields.keys().cloned().collect())
        .unwrap_or_default()
}
