//! Names that ZenML and Modal know things by.

use crate::text::{first_chars, non_blank};
use std::fmt::Write as _;

/// Environment variable that names the run inside its sandboxes.
pub const RUN_ID_VARIABLE: &str = "ZENML_MODAL_RUN_ID";
/// Environment variable that names the Modal app inside its sandboxes.
pub const APP_NAME_VARIABLE: &str = "ZENML_MODAL_APP_NAME";

/// Metadata keys under which ZenML's integration publishes what it knows.
pub mod metadata {
    /// The run, as the orchestrator knows it.
    pub const ORCHESTRATOR_RUN_ID: &str = "orchestrator_run_id";
    /// The sandbox that the controller runs in.
    pub const ORCHESTRATION_SANDBOX: &str = "modal_orchestration_sandbox_id";
    /// The Modal app of the run.
    pub const APP_NAME: &str = "modal_app_name";
    /// The sandbox of a step, published on the step.
    pub const SANDBOX: &str = "sandbox_id";
    /// The Modal environment, when one was chosen.
    pub const ENVIRONMENT: &str = "modal_environment";
    /// Followed by a step's name: its sandbox, published on the run.
    pub const STEP_SANDBOX_PREFIX: &str = "modal_step_sandbox_id_";
}

/// Tags that mark a sandbox as belonging to an attempt of a step of a run.
/// They travel in the create request itself, so that no sandbox exists without
/// an owner.
pub mod tag {
    /// The run.
    pub const RUN: &str = "zenml_run_id";
    /// The step.
    pub const STEP: &str = "zenml_step";
    /// The attempt, counted from 0.
    pub const ATTEMPT: &str = "zenml_attempt";
    /// The epoch of the controller that created it.
    pub const EPOCH: &str = "zenml_epoch";
}

/// Longest name that Modal takes for an app or a sandbox, in code points.
const NAME_LIMIT: usize = 64;

/// The Modal app of a run.
pub fn app_name(run_id: &str) -> String {
    limited(&format!("zenml-{run_id}"))
}

/// The metadata key of a step's sandbox on the run.
pub fn step_sandbox_key(step: &str) -> String {
    format!("{}{step}", metadata::STEP_SANDBOX_PREFIX)
}

/// The Modal app of a single step that the step operator runs.
pub fn step_operator_app_name(step_run_id: &str, step: &str) -> String {
    limited(&format!("zenml-{step_run_id}-{step}"))
}

/// What is published on a step once its sandbox exists.
pub fn step_sandbox_metadata(
    sandbox: &str,
    environment: Option<&str>,
) -> serde_json::Map<String, serde_json::Value> {
    let mut values = serde_json::Map::new();
    values.insert(metadata::SANDBOX.to_owned(), sandbox.into());
    if let Some(environment) = non_blank(environment) {
        values.insert(metadata::ENVIRONMENT.to_owned(), environment.into());
    }
    values
}

/// What is published on a run by the code that runs in its controller, from the
/// environment that it finds there.
///
/// # Errors
///
/// When the environment names no run.
pub fn run_metadata<'a>(
    variable: impl Fn(&str) -> Option<&'a str>,
) -> Result<serde_json::Map<String, serde_json::Value>, NoRunId> {
    let mut values = serde_json::Map::new();
    let run_id = orchestrator_run_id(&variable)?;
    values.insert(metadata::ORCHESTRATOR_RUN_ID.to_owned(), run_id.into());
    if let Some(app) = variable(APP_NAME_VARIABLE).filter(|app| !app.is_empty()) {
        values.insert(metadata::APP_NAME.to_owned(), app.into());
    }
    Ok(values)
}

/// The run that a process in a sandbox belongs to.
///
/// # Errors
///
/// When the environment names none.
pub fn orchestrator_run_id<'a>(
    variable: impl Fn(&str) -> Option<&'a str>,
) -> Result<&'a str, NoRunId> {
    variable(RUN_ID_VARIABLE).ok_or(NoRunId)
}

/// The environment of a process names no run. ZenML words it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Unable to get Modal orchestrator run ID from the {RUN_ID_VARIABLE} environment variable.")]
pub struct NoRunId;

/// The name of a step's sandbox: the same for every create request of one
/// attempt, different for each attempt. Modal refuses a second running sandbox
/// of one name in an app, which is a last guard against starting a step twice.
///
/// Step and attempt are told apart by a `.`; a step name too long for that is
/// cut and told apart by a checksum.
pub fn sandbox_name(step: &str, attempt: u32) -> String {
    let mut name = format!("{step}.{attempt}");
    if name.len() > NAME_LIMIT {
        let suffix = format!("-{:08x}.{attempt}", fnv1a(step));
        name = first_chars(step, NAME_LIMIT.saturating_sub(suffix.len())).to_owned();
        let _ = write!(name, "{suffix}");
    }
    name
}

fn limited(name: &str) -> String {
    first_chars(name, NAME_LIMIT).to_owned()
}

/// 32-bit FNV-1a: names need telling apart, nothing depends on it being hard to
/// forge.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::{app_name, sandbox_name, step_operator_app_name, step_sandbox_metadata};

    #[test]
    fn names_are_cut_at_64_code_points() {
        assert_eq!(app_name(&"b".repeat(200)).len(), 64);
        assert_eq!(app_name(&"ж".repeat(200)).chars().count(), 64);
        assert!(step_operator_app_name("id", &"s".repeat(99)).starts_with("zenml-id-sss"));
    }

    #[test]
    fn sandbox_names_differ_by_step_and_attempt() {
        assert_eq!(sandbox_name("train", 0), "train.0");
        let long = "s".repeat(64);
        let other = format!("{}t", "s".repeat(63));
        for name in [sandbox_name(&long, 0), sandbox_name(&other, 7)] {
            assert_eq!(name.len(), 64, "{name}");
        }
        assert_ne!(sandbox_name(&long, 0), sandbox_name(&other, 0));
        assert_ne!(sandbox_name(&long, 0), sandbox_name(&long, 1));
    }

    #[test]
    fn a_blank_environment_is_none() {
        assert_eq!(step_sandbox_metadata("sb-1", Some("  ")).len(), 1);
        let values = step_sandbox_metadata("sb-1", Some("\u{1c}main"));
        assert_eq!(values["modal_environment"], "main");
    }
}
