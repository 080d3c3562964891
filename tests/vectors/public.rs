//! How a case reaches the component. What the public world expresses goes
//! through it and takes the place of what the function for tests said about the
//! same thing, so that both must be right.

use crate::guest::{Catalog, Checked, DocumentKind, Error, FieldError, FlavorKind, Guest};
use serde_json::{Map, Value, json};

/// The component's answer to a case.
pub(crate) async fn answer(guest: &mut Guest, area: &str, input: &Value) -> anyhow::Result<Value> {
    let mut answer = run_case(guest, area, input).await?;
    match (area, input["op"].as_str().unwrap_or_default()) {
        ("config", "build") => {
            if let Some((flavor, kind)) = class(input) {
                let document = input["values"].to_string();
                let checked = validate(guest, flavor, kind, document).await?;
                put_document(&mut answer, input, checked);
            }
        }
        ("memory", "resources") if is_plain(&input["settings"]) => {
            let document = input["settings"].to_string();
            let checked = validate(
                guest,
                FlavorKind::Orchestrator,
                DocumentKind::Resources,
                document,
            )
            .await?;
            if let (Err(Error::Invalid(faults)), Some(error)) = (&checked, answer.get_mut("error"))
            {
                error["errors"] = described(faults);
            } else if checked.is_ok() != answer.get("ok").is_some() {
                answer = json!({"public": format!("{checked:?}")});
            }
        }
        ("flavor", "to_model") => {
            if let Some(flavor) = flavor_kind(input["flavor"].as_str().unwrap_or_default()) {
                let registration = register(guest, flavor, input).await?;
                answer = json!({"ok": registration});
            }
        }
        ("flavor", operation) => {
            if let Some(value) = guest.catalog().await?.answer(operation, input) {
                answer = json!({"ok": value});
            }
        }
        _ => {}
    }
    Ok(answer)
}

async fn run_case(guest: &mut Guest, area: &str, input: &Value) -> anyhow::Result<Value> {
    let (area, document) = (area.to_owned(), input.to_string());
    let called = guest
        .call(async move |accessor, component| {
            component
                .zenml_flavor_cases()
                .call_run_case(accessor, area, document)
                .await
        })
        .await;
    match called {
        Ok(text) => Ok(serde_json::from_str(&text)?),
        Err(error) => Ok(json!({"died": format!("{error:#}")})),
    }
}

async fn validate(
    guest: &mut Guest,
    flavor: FlavorKind,
    kind: DocumentKind,
    document: String,
) -> anyhow::Result<Result<Checked, Error>> {
    guest
        .call(async move |accessor, component| {
            component
                .zenml_flavor_config()
                .call_validate(accessor, flavor, kind, document)
                .await
        })
        .await
}

/// The registration document. The recordings hold its schema elsewhere.
async fn register(guest: &mut Guest, flavor: FlavorKind, input: &Value) -> anyhow::Result<Value> {
    let integration = input["integration"].as_str().map(ToOwned::to_owned);
    let is_custom = input["is_custom"] == true;
    let registration = guest
        .call(async move |accessor, component| {
            component
                .zenml_flavor_catalog()
                .call_registration(accessor, flavor, integration, is_custom)
                .await
        })
        .await?;
    let text = registration.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let mut document: Value = serde_json::from_str(&text)?;
    let catalog = guest.catalog().await?;
    let schema = catalog.answer("config_schema", input);
    if schema.as_ref() == document.get("config_schema") {
        document["config_schema"] = "see config_schema".into();
    }
    Ok(document)
}

/// The public name of a class, for a case that the public world can express: it
/// resolves no secrets, so one whose token pair holds references is left out.
fn class(input: &Value) -> Option<(FlavorKind, DocumentKind)> {
    let values = &input["values"];
    let looks_up = ["token_id", "token_secret"].iter().any(|name| {
        values[*name]
            .as_str()
            .is_some_and(|text| text.starts_with("{{"))
    });
    if looks_up || !is_plain(values) {
        return None;
    }
    let class = input["class"].as_str()?.strip_prefix("Modal")?;
    let (flavor, kind) = match class.strip_suffix("Config") {
        Some(flavor) => (flavor, DocumentKind::Configuration),
        None => (class.strip_suffix("Settings")?, DocumentKind::Settings),
    };
    let flavor = match flavor {
        "Orchestrator" => FlavorKind::Orchestrator,
        "StepOperator" => FlavorKind::StepOperator,
        "Sandbox" => FlavorKind::Sandbox,
        _ => return None,
    };
    Some((flavor, kind))
}

/// A flavor by ZenML's name of its type.
fn flavor_kind(name: &str) -> Option<FlavorKind> {
    let kinds = [
        FlavorKind::Orchestrator,
        FlavorKind::StepOperator,
        FlavorKind::Sandbox,
    ];
    kinds.into_iter().find(|kind| kind_name(*kind) == name)
}

/// Whether a document holds nothing that the recordings write in their own way.
fn is_plain(values: &Value) -> bool {
    let is_plain = |value: &Value| match value {
        Value::Object(fields) => !["bigint", "float", "repeat"]
            .iter()
            .any(|name| fields.contains_key(*name)),
        _ => true,
    };
    values
        .as_object()
        .is_some_and(|values| values.values().all(is_plain))
}

fn put_document(answer: &mut Value, input: &Value, checked: Result<Checked, Error>) {
    match checked {
        Ok(checked) => {
            if let Some(Value::Object(fields)) = answer.get_mut("ok") {
                let document = serde_json::from_str(&checked.document).unwrap_or_default();
                fields.insert("dump".to_owned(), document);
                if !checked.properties.is_empty() {
                    let properties = checked.properties.into_iter();
                    let properties: Map<String, Value> = properties
                        .map(|(name, value)| (name, value.into()))
                        .collect();
                    fields.insert("properties".to_owned(), properties.into());
                }
            }
            // A recording holds warnings about secrets only where it asked for
            // them; the public world always gives them.
            if input["warn_about_plain_text_secrets"] == true && !checked.warnings.is_empty() {
                answer["warnings"] = checked.warnings.into();
            }
        }
        Err(Error::Invalid(faults)) => {
            if let Some(error) = answer.get_mut("error") {
                error["errors"] = described(&faults);
            } else {
                *answer = json!({"public": described(&faults)});
            }
        }
        Err(error) => *answer = json!({"public": format!("{error:?}")}),
    }
}

fn described(faults: &[FieldError]) -> Value {
    let described =
        |fault: &FieldError| json!({"type": fault.kind, "loc": fault.path, "msg": fault.message});
    faults.iter().map(described).collect()
}

impl Catalog {
    /// What the catalog says to a case, if anything.
    fn answer(&self, operation: &str, input: &Value) -> Option<Value> {
        if operation == "integration" {
            let integration = &self.integration;
            let constants = self.flavors.iter().map(|flavor| {
                (
                    kind_name(flavor.kind).to_owned(),
                    Value::from(flavor.name.as_str()),
                )
            });
            return Some(json!({
                "name": integration.name,
                "requirements": integration.requirements,
                "apt_packages": integration.system_packages,
                "flavors": integration.flavor_classes,
                "constants": constants.collect::<Map<String, Value>>(),
            }));
        }
        let kind = input["flavor"].as_str().or(input["component"].as_str())?;
        let flavor = self
            .flavors
            .iter()
            .find(|flavor| kind_name(flavor.kind) == kind)?;
        let schema: Value = serde_json::from_str(&flavor.config_schema).ok()?;
        let order = |schema: &Value| -> Option<Value> {
            Some(schema["properties"].as_object()?.keys().cloned().collect())
        };
        match operation {
            "property" => Some(match input["name"].as_str()? {
                "name" => flavor.name.as_str().into(),
                "type" => kind.into(),
                "display_name" => flavor.display_name.as_str().into(),
                "docs_url" => flavor.docs_url.as_str().into(),
                "sdk_docs_url" => flavor.sdk_docs_url.as_str().into(),
                "logo_url" => flavor.logo_url.as_str().into(),
                "service_connector_requirements" => match &flavor.connector {
                    None => Value::Null,
                    Some(connector) => format!("{connector:?}").into(),
                },
                _ => return None,
            }),
            "config_schema" => Some(schema),
            "config_schema_property" => schema["properties"].get(input["name"].as_str()?).cloned(),
            "config_schema_property_order" => order(&schema),
            "component_facts" | "classes" => {
                let facts: Map<String, Value> = serde_json::from_str(&flavor.facts).ok()?;
                let (classes, facts): (Map<String, Value>, Map<String, Value>) =
                    facts.into_iter().partition(|(name, _)| {
                        ["config_class", "implementation_class"].contains(&name.as_str())
                    });
                match operation {
                    "component_facts" => Some(facts.into()),
                    _ => Some(json!({
                        "config": classes.get("config_class")?,
                        "implementation": classes.get("implementation_class")?,
                    })),
                }
            }
            "settings_fields" => order(&serde_json::from_str(&flavor.settings_schema).ok()?),
            _ => None,
        }
    }
}

fn kind_name(kind: FlavorKind) -> &'static str {
    match kind {
        FlavorKind::Orchestrator => "orchestrator",
        FlavorKind::StepOperator => "step_operator",
        FlavorKind::Sandbox => "sandbox",
    }
}
