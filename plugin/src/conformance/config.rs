//! Cases about configurations and settings.

use super::Input;
use super::encode::{error, fields, invalid, observed, ok};
use crate::catalog::Kind;
use crate::config::class::{CLASSES, Class, ORCHESTRATOR_CONFIG};
use crate::config::document::{Document, DocumentError};
use crate::config::fault::FieldFault;
use crate::config::reference::{LookUp, Resolved, SecretReference, Secrets};
use crate::config::settings::effective;
use serde_json::{Map, Value};
use std::cell::RefCell;

pub(super) fn run(operation: &str, input: &Input<'_>) -> Option<Value> {
    if let Some(field) = operation.strip_prefix("build_and_read:") {
        return build(input, |document, secrets| read(document, field, secrets));
    }
    if let Some(field) = operation.strip_prefix("assign:") {
        // A document has no way to assign: that it says so is pydantic's way.
        let frozen = FieldFault::new([field], "frozen_instance", "Instance is frozen");
        return build(input, |document, _| {
            invalid(document.class().name, std::slice::from_ref(&frozen))
        });
    }
    match operation {
        "build" => build(input, |document, _| ok(described(document, true))),
        "secret_reference" => {
            let reference = input.text("text").and_then(SecretReference::parse);
            Some(ok(reference.map(|reference| pair(&reference))))
        }
        "orchestrator_settings" => orchestrator_settings(input),
        _ => None,
    }
}

/// Builds the document and answers from it.
fn build(input: &Input<'_>, answer: impl FnOnce(&Document, &Store) -> Value) -> Option<Value> {
    let name = input.text("class")?;
    let class = CLASSES.into_iter().find(|class| class.name == name)?;
    let secrets = Store::new(input.field("secrets"));
    let checked = class.read(fields(input.field("values")), &secrets);
    let result = match checked.result {
        Ok(document) => answer(&document, &secrets),
        Err(error) => encoded(class, error),
    };
    // The warnings about plain secrets are for whoever registers a component; the
    // others are always told.
    let is_about_secrets = |warning: &String| warning.starts_with("You specified a plain-text");
    let wants_all = input.field("warn_about_plain_text_secrets") == &Value::Bool(true);
    let warnings = checked.warnings.into_iter();
    let warnings = warnings
        .filter(|warning| wants_all || !is_about_secrets(warning))
        .collect();
    let result = observed(result, "warnings", warnings);
    Some(observed(
        result,
        "secrets_asked",
        secrets.asked.into_inner(),
    ))
}

/// Why a document of a class was refused.
pub(super) fn encoded(class: &Class, refusal: DocumentError) -> Value {
    match refusal {
        DocumentError::Invalid(faults) => invalid(class.name, &faults),
        DocumentError::Secret(missing) => error("KeyError", missing),
    }
}

fn described(document: &Document, whole: bool) -> Value {
    let mut described = Map::new();
    described.insert("dump".to_owned(), document.values().clone().into());
    if whole {
        let mut given: Vec<&str> = document.given().collect();
        given.sort_unstable();
        described.insert("set_fields".to_owned(), given.into());
        let properties = document.properties().into_iter();
        let properties: Map<String, Value> = properties
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        if !properties.is_empty() {
            described.insert("properties".to_owned(), properties.into());
        }
    }
    Value::Object(described)
}

fn read(document: &Document, field: &str, secrets: &Store) -> Value {
    let text = match document.resolved(field, secrets) {
        Err(missing) => return error("KeyError", missing),
        Ok(Some(Resolved::Text(text))) => Value::from(text),
        Ok(Some(Resolved::Concealed)) => Value::from("concealed"),
        // Not a text: read as it stands.
        Ok(None) => document.values().get(field).cloned().unwrap_or_default(),
    };
    let required: Vec<Value> = document.required_secrets().iter().map(pair).collect();
    let mut described = described(document, false);
    if let Value::Object(fields) = &mut described {
        fields.insert("read".to_owned(), text);
        fields.insert("required_secrets".to_owned(), required.into());
    }
    ok(described)
}

fn orchestrator_settings(input: &Input<'_>) -> Option<Value> {
    let secrets = Store::new(input.field("secrets"));
    let config = ORCHESTRATOR_CONFIG.read(fields(input.field("config")), &secrets);
    let config = match config.result {
        Ok(config) => config,
        Err(error) => return Some(encoded(&ORCHESTRATOR_CONFIG, error)),
    };
    let component = input.text("component_name")?;
    let run_settings = fields(input.field("run_settings"));
    let settings = effective(
        Kind::Orchestrator,
        component,
        &config,
        &run_settings,
        &secrets,
    );
    Some(match settings {
        Ok(settings) => ok(settings.into_values()),
        Err(error) => encoded(Class::settings(Kind::Orchestrator), error),
    })
}

fn pair(reference: &SecretReference) -> Value {
    vec![reference.name.as_str(), reference.key.as_str()].into()
}

/// A secret store with scripted content, which notes what was asked for.
struct Store {
    secrets: Map<String, Value>,
    asked: RefCell<Vec<String>>,
}

impl Store {
    fn new(content: &Value) -> Self {
        Self {
            secrets: fields(content),
            asked: RefCell::default(),
        }
    }
}

impl Secrets for Store {
    fn look_up(&self, reference: &SecretReference) -> LookUp {
        self.asked.borrow_mut().push(reference.name.clone());
        let Some(Value::Object(secret)) = self.secrets.get(&reference.name) else {
            return LookUp::NoSecret;
        };
        match secret.get(&reference.key).and_then(Value::as_str) {
            Some(value) => LookUp::Value(value.to_owned()),
            None => LookUp::NoKey {
                available: secret.keys().cloned().collect(),
            },
        }
    }
}
