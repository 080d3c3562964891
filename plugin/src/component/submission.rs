//! What the exports of the orchestrator and the step operator have in common.

use super::bindings::zenml::flavor::types::{
    Error, RegistryCredentials, Resources, Service, ServiceError as WitServiceError, StepStatus,
};
use super::invalid;
use super::platform::Imports;
use crate::catalog::{Kind, NAME};
use crate::config::FieldFault;
use crate::config::class::Class;
use crate::config::document::{Document, object};
use crate::config::reference::KeptByHost;
use crate::config::settings::effective;
use crate::kept::Kept;
use crate::metadata::Metadata;
use crate::modal::channel::Endpoint;
use crate::modal::image::{ImageError, RegistryLogin};
use crate::modal::{Client, ClientOptions};
use crate::registry;
use crate::status::ExecutionStatus;
use crate::submission::service::ServiceError;
use crate::submission::step::StepMetadata;
use crate::submission::{StepResources, SubmitError};
use serde_json::{Map, Value};
use std::convert::Infallible;

/// A client, and the service and options that it is for.
type KeptClient = (String, String, Client<Imports>);

thread_local! {
    /// The client of the last call: it has fetched a short-lived token, which the
    /// next call to the same service can use.
    static CLIENT: Kept<KeptClient> = Kept::default();
}

/// The client for a service.
pub(super) fn client(service: &Service) -> Result<Client<Imports>, Error> {
    let is_for =
        |(url, options, _): &KeptClient| *url == service.url && *options == service.options;
    let make = || -> Result<KeptClient, Error> {
        let client = new_client(service)?;
        Ok((service.url.clone(), service.options.clone(), client))
    };
    let (_, _, client) = CLIENT.with(|kept| kept.get(is_for, make))?;
    Ok(client)
}

fn new_client(service: &Service) -> Result<Client<Imports>, Error> {
    let endpoint = Endpoint::parse(&service.url)
        .map_err(|message| invalid(vec![FieldFault::new(["service", "url"], "url", message)]))?;
    let options = ClientOptions::parse(&service.options)
        .map_err(|faults| invalid(below(faults, &["service", "options"])))?;
    Ok(Client::new(Imports, endpoint, options))
}

fn below(faults: Vec<FieldFault>, place: &[&str]) -> Vec<FieldFault> {
    let place = |fault: FieldFault| fault.below(place.iter().copied());
    faults.into_iter().map(place).collect()
}

/// The settings that apply: the component's configuration, and over it what is
/// given with the submission.
pub(super) fn settings(kind: Kind, config: &str, settings: &str) -> Result<Document, Error> {
    let config = Class::configuration(kind)
        .parse(config, &KeptByHost)
        .map_err(|faults| invalid(below(faults, &["config"])))?;
    let given = object(settings).map_err(|faults| invalid(below(faults, &["settings"])))?;
    let key = format!("{}.{NAME}", kind.zenml_type());
    let given = Map::from_iter([(key, Value::Object(given))]);
    let settings = effective(kind, "", &config, &given, &KeptByHost)
        .map_err(|error| invalid(below(error.into_faults(), &["settings"])))?;
    settings
        .measure()
        .map_err(|fault| invalid(below(vec![fault], &["settings"])))?;
    Ok(settings)
}

pub(super) fn resources(resources: Resources) -> StepResources {
    StepResources {
        cpu_count: resources.cpu_count,
        gpu_count: resources.gpu_count,
        memory: resources.memory,
    }
}

/// The registry of the stack: a login only for an image that is its own.
pub(super) fn login(registry: Option<&RegistryCredentials>, image: &str) -> Option<RegistryLogin> {
    registry
        .filter(|credentials| registry::holds(&credentials.registry, image))
        .map(|credentials| RegistryLogin {
            username: credentials.username.clone(),
            password: credentials.password.clone(),
        })
}

/// Reads a document of metadata.
pub(super) fn metadata(document: &str) -> Result<Metadata, Error> {
    object(document).map_err(|faults| invalid(below(faults, &["metadata"])))
}

/// The host publishes what it gets back.
pub(super) struct HandedBack;

impl StepMetadata for HandedBack {
    type Error = Infallible;

    async fn publish(&self, _: &Map<String, Value>) -> Result<(), Infallible> {
        Ok(())
    }
}

impl From<SubmitError<ServiceError, Infallible>> for Error {
    fn from(error: SubmitError<ServiceError, Infallible>) -> Self {
        match error {
            SubmitError::Service(ServiceError::Call(error)) => error.into(),
            SubmitError::Service(ServiceError::Image(ImageError::Call(error))) => error.into(),
            SubmitError::Records(never) => match never {},
            SubmitError::ControllerFailed { .. } => Self::Service(WitServiceError {
                operation: "Sandbox".to_owned(),
                code: UNKNOWN,
                message: error.to_string(),
            }),
            error => {
                let place: &[&str] = match &error {
                    SubmitError::Gpu(_) => &["settings", "gpu"],
                    SubmitError::Memory(_) => &["resources", "memory"],
                    SubmitError::Service(ServiceError::Cpu(_)) => &["resources", "cpu_count"],
                    SubmitError::Service(ServiceError::Image(_)) | SubmitError::Image(_) => {
                        &["image"]
                    }
                    SubmitError::EmptyCommand => &["command"],
                    SubmitError::NoRegistry(_) => &["registry"],
                    _ => &[],
                };
                invalid(vec![FieldFault::new(
                    place.iter().copied(),
                    "submission",
                    error,
                )])
            }
        }
    }
}

/// The gRPC status of errors that have none of their own.
pub(super) const UNKNOWN: u32 = 2;

impl From<ExecutionStatus> for StepStatus {
    fn from(status: ExecutionStatus) -> Self {
        match status {
            ExecutionStatus::Initializing
            | ExecutionStatus::Queued
            | ExecutionStatus::Retrying
            | ExecutionStatus::Paused
            | ExecutionStatus::Resuming => Self::Pending,
            ExecutionStatus::Provisioning => Self::Starting,
            ExecutionStatus::Running | ExecutionStatus::Cancelling | ExecutionStatus::Stopping => {
                Self::Running
            }
            ExecutionStatus::Completed => Self::Completed,
            ExecutionStatus::Failed | ExecutionStatus::Retried => Self::Failed,
            ExecutionStatus::Cancelled | ExecutionStatus::Stopped => Self::Cancelled,
            ExecutionStatus::Skipped => Self::Skipped,
            ExecutionStatus::Cached => Self::Cached,
        }
    }
}

impl From<StepStatus> for ExecutionStatus {
    fn from(status: StepStatus) -> Self {
        match status {
            StepStatus::Pending => Self::Queued,
            StepStatus::Starting => Self::Provisioning,
            StepStatus::Running => Self::Running,
            StepStatus::Completed => Self::Completed,
            StepStatus::Failed => Self::Failed,
            StepStatus::Cancelled => Self::Cancelled,
            StepStatus::Skipped => Self::Skipped,
            StepStatus::Cached => Self::Cached,
        }
    }
}
