//! The glue between the component's world and the plugin's logic. It converts
//! and hands over; it decides nothing.

mod catalog;
mod config;
#[cfg(feature = "conformance")]
mod conformance;
mod http;
mod orchestrator;
mod owned;
mod platform;
mod sandbox;
mod session_error;
mod step_operator;
mod store;
mod streams;
mod submission;
mod submitted;

/// Bindings to the world, generated from `wit/`.
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::mem_forget,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    unused_qualifications,
    reason = "generated code"
)]
pub(crate) mod bindings {
    #[cfg(not(feature = "conformance"))]
    wit_bindgen::generate!({
        path: "../wit",
        world: "flavor",
    });
    #[cfg(feature = "conformance")]
    wit_bindgen::generate!({
        path: "../wit",
        world: "conformance",
    });
}

/// Half as slow as the one of the standard library, which a run of many steps
/// spends a quarter of its time in.
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

/// What the exports are hung on.
struct Plugin;

/// The exported functions, generated.
#[allow(unsafe_code, reason = "generated code")]
mod exports {
    use super::{Plugin, bindings};

    bindings::export!(Plugin with_types_in bindings);
}

use crate::config::FieldFault;
use crate::modal::CallError;
use crate::platform::TransportFault;
use crate::run::events::RunError;
use crate::run::store::StoreError;
use bindings::zenml::flavor::types::{
    Error, FieldError, Refusal, ServiceError, StoreError as WitStoreError, TransportError,
};

fn invalid(faults: Vec<FieldFault>) -> Error {
    let convert = |fault: FieldFault| FieldError {
        path: fault.path,
        kind: fault.kind,
        message: fault.message,
    };
    Error::Invalid(faults.into_iter().map(convert).collect())
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Status {
                operation,
                code,
                message,
                ..
            } => Self::Service(ServiceError {
                operation: operation.to_owned(),
                code: u32::try_from(i32::from(code)).unwrap_or_default(),
                message,
            }),
            CallError::Transport {
                fault: TransportFault::Refused { url },
                ..
            } => Self::Refused(Refusal {
                asked: url,
                reason: "the host's policy does not allow it".to_owned(),
            }),
            CallError::Transport {
                operation,
                fault: TransportFault::Broken { reason },
            } => Self::Unreachable(TransportError {
                operation: operation.to_owned(),
                reason,
            }),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(match error {
            StoreError::Unavailable(reason) => WitStoreError::Unavailable(reason),
            StoreError::Fenced => WitStoreError::Fenced,
            StoreError::UnknownRun => WitStoreError::UnknownRun,
        })
    }
}

impl From<RunError> for Error {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Call(error) => error.into(),
            RunError::Store(error) => error.into(),
        }
    }
}
