//! Cases about names, metadata and commands.

use super::Input;
use super::encode::{decoded, error, fields, object, ok, pairs};
use super::python;
use crate::entrypoint::{COMMAND, Entrypoint, EntrypointOption, Kind, RUN};
use crate::metadata::{self as values, Metadata};
use crate::names::{self, NoRunId, metadata};
use crate::submission::images::{ORCHESTRATOR_KEY, STEP_OPERATOR_KEY};
use serde_json::{Map, Value};

pub(super) fn run(operation: &str, input: &Input<'_>) -> Option<Value> {
    let environment = |name: &str| input.field("environment").get(name).and_then(Value::as_str);
    match operation {
        "app_name" => Some(ok(names::app_name(input.text("run_id")?))),
        "static_step_metadata_key" => Some(ok(names::step_sandbox_key(input.text("step")?))),
        "step_operator_app_name" => Some(ok(names::step_operator_app_name(
            input.text("step_run_id")?,
            input.text("step")?,
        ))),
        "constants" => Some(ok(constants())),
        "step_sandbox_metadata" => Some(ok(names::step_sandbox_metadata(
            input.text("sandbox_id")?,
            input.text("modal_environment"),
        ))),
        "pipeline_run_metadata" => Some(names::run_metadata(environment).map_or_else(no_run, ok)),
        "orchestrator_run_id" => {
            Some(names::orchestrator_run_id(environment).map_or_else(no_run, ok))
        }
        "metadata_value" => {
            let metadata = metadata_of(input);
            Some(ok(values::text(&metadata, input.text("key")?)))
        }
        "metadata_with_prefix" => {
            let found = values::names_below(&metadata_of(input), metadata::STEP_SANDBOX_PREFIX);
            Some(ok(pairs(
                found
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str())),
            )))
        }
        "entrypoint_command" => {
            kind(input)?;
            Some(ok(COMMAND.to_vec()))
        }
        "entrypoint_options" => {
            let required = |option: &EntrypointOption| {
                (option.name.to_owned(), Value::from(option.is_required))
            };
            let options: Map<String, Value> = kind(input)?.options().iter().map(required).collect();
            Some(ok(options))
        }
        "entrypoint_argv" => {
            let given = input.field("values").as_object()?;
            let given: Map<String, Value> = given
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name.clone(), python::text(value).into()))
                .collect();
            let value = |name: &str| given.get(name).and_then(Value::as_str);
            Some(match Entrypoint::new(kind(input)?, value) {
                Ok(entrypoint) => ok(entrypoint.argv()),
                Err(missing @ crate::entrypoint::CommandError::Missing(_)) => {
                    error("KeyError", missing)
                }
                Err(refusal) => error("ValueError", refusal),
            })
        }
        "parse_controller_arguments" => parse(Kind::StaticController, input),
        "parse_step_operator_arguments" => parse(Kind::StepOperator, input),
        _ => None,
    }
}

fn no_run(refusal: NoRunId) -> Value {
    let mut answer = error("RuntimeError", refusal);
    if let Some(Value::Object(fields)) = answer.get_mut("error") {
        let cause = object([
            ("type", "KeyError".into()),
            ("message", format!("'{}'", names::RUN_ID_VARIABLE).into()),
        ]);
        fields.insert("cause".to_owned(), cause);
    }
    answer
}

fn metadata_of(input: &Input<'_>) -> Metadata {
    fields(&decoded(input.field("metadata")))
}

fn kind(input: &Input<'_>) -> Option<Kind> {
    Some(match input.text("entrypoint")? {
        "static_controller" => Kind::StaticController,
        "dynamic_pipeline" => Kind::DynamicPipeline,
        "step" => Kind::Step,
        "step_operator" => Kind::StepOperator,
        _ => return None,
    })
}

fn parse(kind: Kind, input: &Input<'_>) -> Option<Value> {
    let arguments = input.field("argv").as_array()?;
    let arguments: Option<Vec<String>> = arguments
        .iter()
        .map(|argument| argument.as_str().map(ToOwned::to_owned))
        .collect();
    Some(match kind.parse(&arguments?) {
        Ok(values) => {
            let value = |(name, value): (&str, Option<String>)| (name.to_owned(), value.into());
            ok(values
                .into_iter()
                .map(value)
                .collect::<Map<String, Value>>())
        }
        Err(refusal) => error("ValueError", refusal),
    })
}

fn constants() -> Value {
    let pause = crate::limits::METADATA_RETRY.as_secs_f64();
    object([
        ("run_id_env", names::RUN_ID_VARIABLE.into()),
        ("app_name_env", names::APP_NAME_VARIABLE.into()),
        (
            "orchestrator_run_id_key",
            metadata::ORCHESTRATOR_RUN_ID.into(),
        ),
        (
            "orchestration_sandbox_key",
            metadata::ORCHESTRATION_SANDBOX.into(),
        ),
        ("app_name_key", metadata::APP_NAME.into()),
        ("sandbox_key", metadata::SANDBOX.into()),
        ("static_step_prefix", metadata::STEP_SANDBOX_PREFIX.into()),
        ("environment_key", metadata::ENVIRONMENT.into()),
        ("orchestrator_image_key", ORCHESTRATOR_KEY.into()),
        ("step_operator_image_key", STEP_OPERATOR_KEY.into()),
        ("step_operator_sandbox_key", metadata::SANDBOX.into()),
        (
            "step_operator_environment_key",
            metadata::ENVIRONMENT.into(),
        ),
        ("run_id_option", RUN.into()),
        ("step_metadata_retry_seconds", pause.into()),
    ])
}
