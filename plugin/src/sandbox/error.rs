//! What sessions fail with. Texts are ZenML's, so that what users search for and
//! what other programs look for is found.

use super::service::ServiceError;
use super::words::SplitError;
use crate::config::FieldFault;
use crate::resources::gpu::GpuError;
use crate::resources::settings::CLASS;
use crate::text::{first_chars, quoted};
use serde_json::{Map, Value};
use std::fmt;
use uuid::Uuid;

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OpenError<E: ServiceError> {
    /// The service failed.
    #[error("{0}")]
    Service(E),
    /// There is no sandbox.
    #[error("{0}")]
    Create(CreateError<E>),
    /// The service does not know the sandbox.
    #[error("Failed to attach to Modal sandbox '{id}' ({}): {cause}", cause.kind())]
    Attach {
        /// Which.
        id: String,
        /// The service's reason.
        cause: E,
    },
    /// The sandbox is over.
    #[error(
        "Modal sandbox '{id}' has already terminated (destroyed or TTL expired); create a new \
         session instead."
    )]
    Ended {
        /// Which.
        id: String,
    },
    /// The snapshot was taken by another component.
    #[error(
        "Cannot restore snapshot from sandbox '{snapshot}' on a different sandbox '{component}'."
    )]
    OtherComponent {
        /// The component of the snapshot.
        snapshot: Uuid,
        /// The component that was asked.
        component: Uuid,
    },
    /// There is no sandbox from the snapshot.
    #[error("Failed to restore Modal sandbox from image '{image}' ({}): {cause}", cause.kind())]
    Restore {
        /// The snapshot's image.
        image: String,
        /// What failed.
        cause: CreateError<E>,
    },
}

/// Why there is no new sandbox.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CreateError<E: ServiceError> {
    /// The service failed.
    #[error("{0}")]
    Service(E),
    /// The GPU makes no sense.
    #[error("{0}")]
    Gpu(GpuError),
    /// What is asked of the machine makes no sense.
    #[error("{0}")]
    Resources(ResourceFaults),
}

impl<E: ServiceError> CreateError<E> {
    /// The name under which ZenML raises it.
    pub fn kind(&self) -> &str {
        match self {
            Self::Service(error) => error.kind(),
            Self::Gpu(_) => "StackComponentInterfaceError",
            Self::Resources(_) => "ValidationError",
        }
    }
}

/// Everything wrong with what is asked of the machine.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceFaults {
    faults: Vec<FieldFault>,
    /// The values as they were given.
    document: Map<String, Value>,
}

impl ResourceFaults {
    pub(super) fn new(faults: Vec<FieldFault>, document: &Map<String, Value>) -> Self {
        Self {
            faults,
            document: document.clone(),
        }
    }

    /// What is wrong. Holds at least one.
    pub fn faults(&self) -> &[FieldFault] {
        &self.faults
    }
}

impl fmt::Display for ResourceFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.faults.len();
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "{count} validation error{plural} for {CLASS}")?;
        for fault in &self.faults {
            let place = fault.path.join(".");
            let (input, kind) = match self.document.get(&place) {
                Some(Value::String(text)) => (shortened(&quoted(text)), "str"),
                Some(other) => (other.to_string(), "int"),
                None => ("None".to_owned(), "NoneType"),
            };
            write!(
                f,
                "\n{place}\n  {} [type={}, input_value={input}, input_type={kind}]",
                fault.message, fault.kind
            )?;
        }
        Ok(())
    }
}

/// pydantic shows the two ends of what is longer than this.
const SHOWN: usize = 50;

fn shortened(text: &str) -> String {
    let length = text.chars().count();
    if length <= SHOWN {
        return text.to_owned();
    }
    let head = first_chars(text, SHOWN / 2);
    let tail: String = text.chars().skip(length - (SHOWN / 2 - 1)).collect();
    format!("{head}...{tail}")
}

/// What a session fails with.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SessionError<E: ServiceError> {
    /// The handle was given up.
    #[error(
        "Sandbox session `{id}` has been closed. Create a new session (or re-attach to the sandbox) \
         to keep interacting with it."
    )]
    Closed {
        /// The service's id of the sandbox.
        id: String,
    },
    /// A command line cannot be split into words.
    #[error(transparent)]
    Words(#[from] SplitError),
    /// Asked for in the way that ZenML's sandbox of Modal does not have.
    #[error("ModalSandboxSession does not support async execution.")]
    NoBackground,
    /// The service did not start a command.
    #[error("Modal exec failed to launch ({}): {cause}", cause.kind())]
    Launch {
        /// The service's reason.
        cause: E,
    },
    /// The service did not end the sandbox.
    #[error(
        "Failed to terminate Modal sandbox '{id}': {cause}. It may keep running (and billing) until \
         its TTL; retry destroy() or stop it from the Modal dashboard."
    )]
    Terminate {
        /// The service's id of the sandbox.
        id: String,
        /// The service's reason.
        cause: E,
    },
    /// The service failed.
    #[error("{0}")]
    Service(E),
}

/// What a command in a session fails with.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProcessError<E: ServiceError> {
    /// It runs on.
    #[error("Modal command did not exit within {timeout} seconds.")]
    StillRunning {
        /// How long was waited.
        timeout: Seconds,
    },
    /// Its output was collected before.
    #[error("process output was already collected")]
    Collected,
    /// A single command cannot be ended.
    #[error(
        "The Modal sandbox cannot kill an individual command: Modal's ContainerProcess has no \
         per-command termination. Use session.destroy() to tear down the whole sandbox instead."
    )]
    CannotKill,
    /// The service failed.
    #[error("{0}")]
    Service(E),
}

/// A number of seconds, shown the way it was given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Seconds {
    /// Without a fraction.
    Whole(i64),
    /// With one, even if it is zero.
    Real(f64),
}

impl Seconds {
    /// As a number.
    pub fn as_f64(self) -> f64 {
        match self {
            #[allow(
                clippy::cast_precision_loss,
                reason = "nobody waits for longer than a float can count"
            )]
            Self::Whole(seconds) => seconds as f64,
            Self::Real(seconds) => seconds,
        }
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(seconds) => write!(f, "{seconds}"),
            Self::Real(seconds) => write!(f, "{seconds:?}"),
        }
    }
}
