//! `flavor config validate`

use super::flavors::document;
use crate::args::{ConfigValidateArgs, FlavorName};
use crate::exit::{Exit, Failure};
use crate::{plugin, terminal};
use clap::ValueEnum as _;
use flavor_host::Error;
use flavor_host::contract::{self, Checked, DocumentKind, FieldError};
use pipeline_file::object_from_reader;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::path::Path;

pub(crate) async fn validate(args: ConfigValidateArgs) -> Result<Exit, Failure> {
    let outcome = check(&args).await;
    if args.json {
        let object = match &outcome {
            Ok(Ok(checked)) => valid(checked)?,
            Ok(Err(faults)) => json!({
                "valid": false,
                "errors": faults.iter().map(described).collect::<Vec<_>>(),
            }),
            Err(failure) => json!({"valid": false, "error": failure.message()}),
        };
        terminal::say(&object.to_string());
    }
    match outcome? {
        Ok(checked) => {
            if !args.json {
                for warning in &checked.warnings {
                    terminal::complain(&format!("warning: {}", terminal::escape(warning)));
                }
                terminal::say(&format!("{}: valid {}", args.file.display(), what(&args)));
            }
            Ok(Exit::Done)
        }
        Err(faults) => Err(in_file(&args.file, &faults)),
    }
}

/// The checked document, or what is wrong with it. A failure is something else:
/// the file cannot be read, the plugin does not answer.
async fn check(args: &ConfigValidateArgs) -> Result<Result<Checked, Vec<FieldError>>, Failure> {
    let document = read(&args.file)?;
    let kind = match args.settings {
        true => DocumentKind::Settings,
        false => DocumentKind::Configuration,
    };
    let plugin = plugin::load().await?;
    match plugin
        .validate(args.flavor.into(), kind, document.into())
        .await
    {
        Ok(checked) => Ok(Ok(checked)),
        Err(Error::Plugin(contract::Error::Invalid(faults))) => Ok(Err(faults)),
        Err(error) => Err(error.into()),
    }
}

fn read(path: &Path) -> Result<Map<String, Value>, Failure> {
    let name = path.display().to_string();
    let file = File::open(path)
        .map_err(|error| Failure::bad_input(format!("{name} cannot be read: {error}")))?;
    object_from_reader(&name, file).map_err(Failure::bad_input)
}

fn valid(checked: &Checked) -> Result<Value, Failure> {
    let properties = checked.properties.iter();
    let properties: Map<String, Value> = properties
        .map(|(name, value)| (name.clone(), Value::from(*value)))
        .collect();
    Ok(json!({
        "valid": true,
        "document": document(&checked.document)?,
        "warnings": checked.warnings,
        "properties": properties,
    }))
}

fn described(fault: &FieldError) -> Value {
    json!({"path": fault.path, "type": fault.kind, "message": fault.message})
}

/// One line for each fault, with the file's name and the place in it.
fn in_file(path: &Path, faults: &[FieldError]) -> Failure {
    let line = |fault: &FieldError| match fault.path.is_empty() {
        true => format!("{}: {}", path.display(), fault.message),
        false => format!(
            "{}: {}: {}",
            path.display(),
            fault.path.join("."),
            fault.message
        ),
    };
    let lines: Vec<String> = faults.iter().map(line).collect();
    Failure::bad_input(lines.join("\n"))
}

/// What the document is, for people.
fn what(args: &ConfigValidateArgs) -> String {
    let name = FlavorName::to_possible_value(&args.flavor);
    let name = name.as_ref().map_or("", |name| name.get_name());
    match args.settings {
        true => format!("{name} settings"),
        false => format!("{name} configuration"),
    }
}
