//! Images from a registry.

use super::call::{CallOptions, Client};
use super::error::CallError;
use super::retry::{Policy, doubled};
use super::rpc::{
    ENVIRONMENT_GET_OR_CREATE, IMAGE_FROM_ID, IMAGE_GET_OR_CREATE, IMAGE_JOIN_STREAMING,
};
use crate::limits;
use crate::platform::{Platform, TransportFault};
use crate::text::first_chars;
use modal_proto::client::{
    DeploymentNamespace, EnvironmentGetOrCreateRequest, GenericResult, GenericStatus, GpuConfig,
    Image, ImageFromIdRequest, ImageGetOrCreateRequest, ImageJoinStreamingRequest,
    ImageRegistryConfig, RegistryAuthType,
};
use std::collections::HashMap;
use std::rc::Rc;
use tokio::sync::OnceCell;
use tonic::Code;

/// Image builder versions that the SDK 1.6.4 knows. It refuses all others, as
/// what they do to an image cannot be known.
const BUILDER_VERSIONS: [&str; 6] = [
    "2023.12", "2024.04", "2024.10", "2025.06", "2026.10", "PREVIEW",
];

/// A user name and password for a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryLogin {
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
}

impl RegistryLogin {
    /// The secret by which Modal logs in.
    pub fn variables(&self) -> [(String, String); 2] {
        [
            ("REGISTRY_USERNAME".to_owned(), self.username.clone()),
            ("REGISTRY_PASSWORD".to_owned(), self.password.clone()),
        ]
    }
}

/// The images of one app: each is asked for once, however many steps use it.
#[derive(Debug)]
pub struct Images<P> {
    client: Client<P>,
    app_id: String,
    login_secret: OnceCell<String>,
    by_reference: std::cell::RefCell<HashMap<String, Rc<Entry>>>,
}

/// A permanent failure is kept as well: the next step would get the same.
type Entry = OnceCell<Result<String, ImageError>>;

/// Why there is no image.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ImageError {
    /// Modal said no or was not there.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The environment builds images with a version that this client does not
    /// know.
    #[error(
        "image builder version `{version}` is not known; known are {}",
        BUILDER_VERSIONS.join(", ")
    )]
    BuilderVersion {
        /// What the environment says.
        version: String,
    },
    /// The build failed.
    #[error("image `{reference}` could not be built: {message}")]
    Build {
        /// The image.
        reference: String,
        /// Modal's words.
        message: String,
    },
}

impl ImageError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Call(error) if error.is_transient())
    }
}

impl<P: Platform> Images<P> {
    /// The images of an app.
    pub fn new(client: Client<P>, app_id: String) -> Self {
        Self {
            client,
            app_id,
            login_secret: OnceCell::new(),
            by_reference: std::cell::RefCell::default(),
        }
    }

    /// The id of an image in a registry, built if need be. With a login, that
    /// is stored as a secret first and goes with the request.
    ///
    /// # Errors
    ///
    /// When Modal says no, is not there, or cannot build the image.
    pub async fn from_registry(
        &self,
        reference: &str,
        login: Option<&RegistryLogin>,
    ) -> Result<String, ImageError> {
        let entry = Rc::clone(
            self.by_reference
                .borrow_mut()
                .entry(reference.to_owned())
                .or_default(),
        );
        let kept = entry
            .get_or_try_init(async || match self.request(reference, login).await {
                Err(error) if error.is_transient() => Err(error),
                result => Ok(result),
            })
            .await?;
        kept.clone()
    }

    async fn request(
        &self,
        reference: &str,
        login: Option<&RegistryLogin>,
    ) -> Result<String, ImageError> {
        let registry = match login {
            None => ImageRegistryConfig::default(),
            Some(login) => ImageRegistryConfig {
                registry_auth_type: RegistryAuthType::StaticCreds.into(),
                secret_id: self.login_secret(login).await?,
            },
        };
        let request = ImageGetOrCreateRequest {
            image: Some(Image {
                dockerfile_commands: vec![format!("FROM {reference}")],
                gpu_config: Some(GpuConfig::default()),
                image_registry_config: Some(registry),
                ..Image::default()
            }),
            app_id: self.app_id.clone(),
            namespace: DeploymentNamespace::Workspace.into(),
            builder_version: self.client.builder_version().await?,
            ..ImageGetOrCreateRequest::default()
        };
        let options = patiently();
        let answer = self
            .client
            .call(&IMAGE_GET_OR_CREATE, &request, &options)
            .await?;
        let result = match answer.result.filter(|result| result.status != 0) {
            Some(result) => result,
            None => self.join_build(&answer.image_id).await?,
        };
        match GenericStatus::try_from(result.status) {
            Ok(GenericStatus::Success) => Ok(answer.image_id),
            _ => Err(ImageError::Build {
                reference: reference.to_owned(),
                message: build_failure(&result),
            }),
        }
    }

    /// Follows a build to its end. A stream that ends without a result is
    /// opened again where it stopped.
    async fn join_build(&self, image_id: &str) -> Result<GenericResult, ImageError> {
        let platform = self.client.platform();
        let give_up_at = platform.monotonic() + limits::IMAGE_BUILD;
        let mut request = ImageJoinStreamingRequest {
            image_id: image_id.to_owned(),
            timeout: limits::IMAGE_JOIN,
            ..ImageJoinStreamingRequest::default()
        };
        let mut answered = platform.monotonic();
        let mut failures = 0;
        while platform.monotonic() < give_up_at {
            let result = self.join_stretch(&mut request).await;
            let now = platform.monotonic();
            match result {
                Ok(Some(result)) => return Ok(result),
                Ok(None) => {
                    answered = now;
                    failures = 0;
                    // A server that ends every stream at once is not to be
                    // asked in a circle.
                    platform.sleep(limits::RETRY_PAUSE).await;
                }
                Err(error) => {
                    // Told to come again is no silence: the build goes on.
                    if let Some(wait) = error.retry_after() {
                        answered = now;
                        let left = give_up_at.saturating_sub(now);
                        platform.sleep(wait.min(left)).await;
                        continue;
                    }
                    let silence = now.saturating_sub(answered);
                    if !error.is_transient() || silence > limits::PREPARE_PATIENCE {
                        return Err(error.into());
                    }
                    let (shortest, longest) = limits::PATIENT_PAUSE;
                    platform
                        .sleep(doubled(shortest, failures).min(longest))
                        .await;
                    failures = failures.saturating_add(1);
                }
            }
        }
        Err(ImageError::Call(CallError::Transport {
            operation: IMAGE_JOIN_STREAMING.name,
            fault: TransportFault::Broken {
                reason: format!("the image was not built within {:?}", limits::IMAGE_BUILD),
            },
        }))
    }

    async fn join_stretch(
        &self,
        request: &mut ImageJoinStreamingRequest,
    ) -> Result<Option<GenericResult>, CallError> {
        let rpc = &IMAGE_JOIN_STREAMING;
        let mut stream = self
            .client
            .stream(rpc, request.clone(), limits::IMAGE_JOIN_DEADLINE)
            .await?;
        let mut result = None;
        loop {
            match stream.message().await {
                Ok(Some(answer)) => {
                    if !answer.entry_id.is_empty() {
                        request.last_entry_id = answer.entry_id;
                    }
                    result = answer.result.filter(|result| result.status != 0).or(result);
                }
                Ok(None) => return Ok(result),
                Err(_) if result.is_some() => return Ok(result),
                Err(status) => return Err(self.client.failure(rpc.name, &status)),
            }
        }
    }

    async fn login_secret(&self, login: &RegistryLogin) -> Result<String, CallError> {
        let secret = self
            .login_secret
            .get_or_try_init(async || {
                self.client
                    .store_secret(&self.app_id, login.variables())
                    .await
            })
            .await?;
        Ok(secret.clone())
    }
}

impl<P: Platform> Client<P> {
    /// The id of an image that exists, by its id.
    ///
    /// # Errors
    ///
    /// When there is no such image, Modal says no or is not there.
    pub async fn image_from_id(&self, image_id: &str) -> Result<String, CallError> {
        let request = ImageFromIdRequest {
            image_id: image_id.to_owned(),
        };
        let answer = self.call(&IMAGE_FROM_ID, &request, &patiently()).await?;
        Ok(answer.image_id)
    }

    /// The version by which the environment builds images; asked once.
    ///
    /// # Errors
    ///
    /// When Modal says no or is not there, and when it is a version that this
    /// client does not know.
    pub(super) async fn builder_version(&self) -> Result<String, ImageError> {
        let kept = self
            .builder_version_cell()
            .get_or_try_init(async || match self.fetch_builder_version().await {
                Err(error) if error.is_transient() => Err(error),
                result => Ok(result),
            })
            .await?;
        kept.clone()
    }

    async fn fetch_builder_version(&self) -> Result<String, ImageError> {
        let request = EnvironmentGetOrCreateRequest {
            deployment_name: self.options().environment.clone(),
            ..EnvironmentGetOrCreateRequest::default()
        };
        let options = patiently();
        let answer = self
            .call(&ENVIRONMENT_GET_OR_CREATE, &request, &options)
            .await?;
        let settings = answer.metadata.and_then(|metadata| metadata.settings);
        let theirs = settings.map(|settings| settings.image_builder_version);
        let version = self
            .options()
            .image_builder_version
            .clone()
            .or(theirs)
            .unwrap_or_default();
        if BUILDER_VERSIONS.contains(&version.as_str()) {
            Ok(version)
        } else {
            Err(ImageError::BuilderVersion {
                version: first_chars(&version, 64).to_owned(),
            })
        }
    }
}

/// Every step that needs the image waits for it.
fn patiently() -> CallOptions {
    CallOptions {
        policy: Policy::patient(limits::PREPARE_PATIENCE),
        ..CallOptions::default()
    }
}

fn build_failure(result: &GenericResult) -> String {
    if !result.exception.is_empty() {
        return first_chars(&result.exception, limits::MESSAGE).to_owned();
    }
    match GenericStatus::try_from(result.status) {
        Ok(GenericStatus::Terminated) => "the build was terminated".into(),
        Ok(GenericStatus::Timeout) => "the build ran out of time".into(),
        _ => format!("the build failed (status {})", result.status),
    }
}

impl From<&ImageError> for CallError {
    /// For callers that tell failures apart by status only.
    fn from(error: &ImageError) -> Self {
        match error {
            ImageError::Call(error) => error.clone(),
            other => Self::Status {
                operation: IMAGE_GET_OR_CREATE.name,
                code: Code::FailedPrecondition,
                message: other.to_string(),
                retry_after: None,
            },
        }
    }
}
