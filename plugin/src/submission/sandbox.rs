//! Puts together what a sandbox is to be.

use super::error::SubmitError;
use super::service::{SandboxRequest, Service};
use crate::config::Document;
use crate::environment;
use crate::modal::image::RegistryLogin;
use crate::names;
use crate::resources::gpu::{self, Choice, Wording};
use crate::resources::memory::{Measure, Memory};
use crate::text::non_blank;
use serde_json::{Map, Value};

/// The settings that say where and how a sandbox runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// GPU type, possibly with a count.
    pub gpu: Option<String>,
    /// At whose.
    pub cloud: Option<String>,
    /// Where.
    pub region: Option<String>,
    /// Modal environment of the app.
    pub modal_environment: Option<String>,
    /// Seconds after which the sandbox is ended.
    pub timeout: u32,
    /// In which unit memory goes to Modal.
    pub measure: Measure,
}

impl Placement {
    /// The Modal environment, when one was chosen.
    pub fn environment(&self) -> Option<&str> {
        non_blank(self.modal_environment.as_deref())
    }

    /// What is published on a step whose sandbox it is.
    pub fn metadata(&self, sandbox: &str) -> Map<String, Value> {
        names::step_sandbox_metadata(sandbox, self.environment())
    }
}

impl From<&Document> for Placement {
    /// From settings of the orchestrator or the step operator, which have these
    /// fields in common.
    fn from(document: &Document) -> Self {
        let text = |name| document.text(name).map(ToOwned::to_owned);
        Self {
            gpu: text("gpu"),
            cloud: text("cloud"),
            region: text("region"),
            modal_environment: text("modal_environment"),
            timeout: document.timeout(),
            measure: document.measure().unwrap_or_default(),
        }
    }
}

/// What a step asks of the machine it runs on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepResources {
    /// Cores, may be fractional.
    pub cpu_count: Option<f64>,
    /// GPUs.
    pub gpu_count: Option<u32>,
    /// A number and a unit.
    pub memory: Option<String>,
}

/// A sandbox to be created: all that differs between the kinds of submission.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) app_name: &'a str,
    pub(super) image: &'a str,
    pub(super) login: Option<&'a RegistryLogin>,
    pub(super) placement: &'a Placement,
    pub(super) resources: &'a StepResources,
    pub(super) wording: Wording<'a>,
    pub(super) command: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
}

/// When the account is made sure of. The order can be told from outside where
/// both can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignIn {
    BeforeImage,
    AfterImage,
}

impl Wanted<'_> {
    /// Creates it.
    pub(super) async fn create<S: Service, R>(
        self,
        service: &S,
        sign_in: SignIn,
    ) -> Result<S::Sandbox, SubmitError<S::Error, R>> {
        if sign_in == SignIn::BeforeImage {
            service.sign_in().await.map_err(SubmitError::Service)?;
        }
        let image = service.image(self.image, self.login);
        if sign_in == SignIn::AfterImage {
            service.sign_in().await.map_err(SubmitError::Service)?;
        }
        let app = service
            .app(self.app_name, self.placement.environment())
            .await
            .map_err(SubmitError::Service)?;
        let request = self.request(service)?;
        service
            .create(app, image, request)
            .await
            .map_err(SubmitError::Service)
    }

    fn request<S: Service, R>(
        self,
        service: &S,
    ) -> Result<SandboxRequest<S::Secret>, SubmitError<S::Error, R>> {
        let variables = environment::split(self.environment);
        let secret = match variables.secret.is_empty() {
            true => None,
            false => Some(service.secret(variables.secret)),
        };
        let type_wanted = self.placement.gpu.as_deref();
        let choice = gpu::choose(type_wanted, self.resources.gpu_count, self.wording)
            .map_err(SubmitError::Gpu)?;
        if let Some(warning) = choice.warning() {
            service.warn(&warning);
        }
        let memory = self.resources.memory.as_deref();
        let memory = memory.map(|text| Memory::parse(text)?.request(self.placement.measure));
        Ok(SandboxRequest {
            command: self.command,
            gpu: match choice {
                Choice::Gpu(gpu) => Some(gpu),
                Choice::Cpu | Choice::CpuDespite { .. } => None,
            },
            cpu: self.resources.cpu_count,
            memory: memory.transpose().map_err(SubmitError::Memory)?,
            cloud: self.placement.cloud.clone(),
            region: self.placement.region.clone(),
            timeout: self.placement.timeout,
            environment: variables.plain,
            secret,
        })
    }
}

/// Sets a variable, over one of the same name.
pub(super) fn set(environment: &mut Vec<(String, String)>, name: &str, value: &str) {
    match environment.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => value.clone_into(known),
        None => environment.push((name.to_owned(), value.to_owned())),
    }
}
