//! Whether a stack can work with a component of Modal: its code runs far away,
//! so nothing that it needs may be on this machine.

use crate::dag::machine::ExecutionMode;
use serde_json::Value;
use std::fmt;

/// Which component of ours the stack is checked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// The orchestrator. It starts every step away from this machine, so no
    /// component may keep files here.
    Orchestrator,
    /// The step operator.
    StepOperator,
}

/// One component of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackComponent {
    /// What the user calls it.
    pub name: String,
    /// Its kind, by ZenML's name for it.
    pub kind: String,
    /// Whether it is on this machine. Of a container registry this is told by
    /// its address instead, when that is known.
    pub is_local: bool,
    /// Where it keeps files on this machine, if it does. An empty path counts.
    pub local_path: Option<String>,
    /// The address of a container registry.
    pub uri: Option<String>,
}

impl StackComponent {
    /// A component whose configuration is known as a document.
    pub fn configured(
        name: String,
        kind: String,
        is_local: bool,
        local_path: Option<String>,
        config: &Value,
    ) -> Self {
        let uri = config.get("uri").and_then(Value::as_str);
        Self {
            name,
            kind,
            is_local,
            local_path,
            uri: uri.map(ToOwned::to_owned),
        }
    }

    fn is_on_this_machine(&self) -> bool {
        match (self.kind.as_str(), &self.uri) {
            (CONTAINER_REGISTRY, Some(uri)) => is_local_registry(uri),
            _ => self.is_local,
        }
    }
}

const ARTIFACT_STORE: &str = "artifact_store";
const CONTAINER_REGISTRY: &str = "container_registry";
const IMAGE_BUILDER: &str = "image_builder";

/// Why a stack cannot work with the component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StackFault {
    /// Kinds of component that it has none of, in alphabetical order.
    Missing(Vec<&'static str>),
    /// Its artifact store is on this machine.
    LocalArtifactStore {
        /// What the user calls it.
        name: String,
        /// For which component of ours that matters.
        checked: Checked,
    },
    /// Its container registry is on this machine.
    LocalRegistry {
        /// What the user calls it.
        name: String,
        /// For which component of ours that matters.
        checked: Checked,
    },
    /// A component keeps files on this machine.
    LocalPath {
        /// What the user calls it.
        name: String,
        /// Its kind.
        kind: String,
        /// Where.
        path: String,
    },
}

impl fmt::Display for StackFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(kinds) => write!(f, "the stack has no {}", kinds.join(" and no ")),
            Self::LocalArtifactStore {
                name,
                checked: Checked::Orchestrator,
            } => write!(
                f,
                "The Modal orchestrator runs code remotely and needs to read and write files in \
                 the artifact store, but the artifact store `{name}` of the active stack is \
                 local. Please use a remote artifact store with the Modal orchestrator."
            ),
            Self::LocalArtifactStore {
                name,
                checked: Checked::StepOperator,
            } => write!(
                f,
                "The Modal step operator runs code remotely and needs to write files into the \
                 artifact store, but the artifact store `{name}` of the active stack is local. \
                 Please ensure that your stack contains a remote artifact store when using the \
                 Modal step operator."
            ),
            Self::LocalRegistry {
                name,
                checked: Checked::Orchestrator,
            } => write!(
                f,
                "The Modal orchestrator runs code remotely and needs to pull Docker images, but \
                 the container registry `{name}` of the active stack is local. Please use a \
                 remote container registry with the Modal orchestrator."
            ),
            Self::LocalRegistry {
                name,
                checked: Checked::StepOperator,
            } => write!(
                f,
                "The Modal step operator runs code remotely and needs to push/pull Docker \
                 images, but the container registry `{name}` of the active stack is local. \
                 Please ensure that your stack contains a remote container registry when using \
                 the Modal step operator."
            ),
            Self::LocalPath { name, kind, path } => write!(
                f,
                "The `{name}` {kind} stores runtime files at local path `{path}`. A Modal \
                 sandbox runs away from this machine and cannot access local filesystem paths. \
                 Please replace it with a remote-compatible stack component before using the \
                 Modal orchestrator."
            ),
        }
    }
}

impl std::error::Error for StackFault {}

/// Checks a stack, given by its components in the order in which it holds them.
///
/// # Errors
///
/// The first fault: a missing component, then the artifact store, then the
/// registry, then what keeps files here.
pub fn validate_stack(checked: Checked, components: &[StackComponent]) -> Result<(), StackFault> {
    let of_kind = |kind: &str| components.iter().find(|component| component.kind == kind);
    let missing: Vec<_> = [ARTIFACT_STORE, CONTAINER_REGISTRY, IMAGE_BUILDER]
        .into_iter()
        .filter(|kind| of_kind(kind).is_none())
        .collect();
    if !missing.is_empty() {
        return Err(StackFault::Missing(missing));
    }
    let local = |kind| of_kind(kind).filter(|component| component.is_on_this_machine());
    if let Some(store) = local(ARTIFACT_STORE) {
        return Err(StackFault::LocalArtifactStore {
            name: store.name.clone(),
            checked,
        });
    }
    if let Some(registry) = local(CONTAINER_REGISTRY) {
        return Err(StackFault::LocalRegistry {
            name: registry.name.clone(),
            checked,
        });
    }
    if checked == Checked::StepOperator {
        return Ok(());
    }
    let keeps_files = |component: &StackComponent| {
        let path = component.local_path.clone()?;
        Some(StackFault::LocalPath {
            name: component.name.clone(),
            kind: component.kind.clone(),
            path,
        })
    };
    match components.iter().find_map(keeps_files) {
        Some(fault) => Err(fault),
        None => Ok(()),
    }
}

/// Whether an address names a registry on this machine the way ZenML tells it:
/// exactly `localhost` and a port of four or five digits.
fn is_local_registry(uri: &str) -> bool {
    uri.trim_end_matches('/')
        .strip_prefix("localhost:")
        .is_some_and(|port| {
            (4..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
        })
}

/// Reads the name of an execution mode.
///
/// # Errors
///
/// When the orchestrator has no such mode.
pub fn execution_mode(name: &str) -> Result<ExecutionMode, UnknownMode> {
    match name {
        "fail_fast" => Ok(ExecutionMode::FailFast),
        "stop_on_failure" => Ok(ExecutionMode::StopOnFailure),
        "continue_on_failure" => Ok(ExecutionMode::ContinueOnFailure),
        _ => Err(UnknownMode(name.to_owned())),
    }
}

/// The orchestrator has no execution mode of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Execution mode {0} is not supported by the ModalOrchestrator orchestrator.")]
pub struct UnknownMode(String);

/// Checks the execution mode of a pipeline before it is submitted. A dynamic
/// pipeline decides for itself, so its mode is not looked at.
///
/// # Errors
///
/// When the orchestrator has no such mode.
pub fn validate_execution_mode(name: &str, dynamic: bool) -> Result<(), UnknownMode> {
    match dynamic {
        true => Ok(()),
        false => execution_mode(name).map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Checked, StackComponent, StackFault, is_local_registry, validate_stack};

    fn component(kind: &str) -> StackComponent {
        StackComponent {
            name: format!("my-{kind}"),
            kind: kind.into(),
            is_local: false,
            local_path: None,
            uri: None,
        }
    }

    #[test]
    fn an_empty_stack_lacks_everything() {
        assert_eq!(
            validate_stack(Checked::StepOperator, &[]),
            Err(StackFault::Missing(vec![
                "artifact_store",
                "container_registry",
                "image_builder"
            ]))
        );
    }

    #[test]
    fn a_registry_without_address_is_believed() {
        let mut stack = [
            component("artifact_store"),
            component("container_registry"),
            component("image_builder"),
        ];
        assert_eq!(validate_stack(Checked::Orchestrator, &stack), Ok(()));
        stack[1].is_local = true;
        assert!(matches!(
            validate_stack(Checked::Orchestrator, &stack),
            Err(StackFault::LocalRegistry { .. })
        ));
        stack[1].uri = Some("registry.example.com".into());
        assert_eq!(validate_stack(Checked::Orchestrator, &stack), Ok(()));
    }

    #[test]
    fn only_localhost_and_a_port_is_local() {
        for uri in ["localhost:5000", "localhost:50000//"] {
            assert!(is_local_registry(uri), "{uri}");
        }
        for uri in [
            "localhost",
            "localhost:500",
            "localhost:5000/a",
            "LOCALHOST:5000",
        ] {
            assert!(!is_local_registry(uri), "{uri}");
        }
    }
}
