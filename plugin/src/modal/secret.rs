//! Secrets that are stored at Modal and referred to by id.

use super::call::{CallOptions, Client};
use super::error::CallError;
use super::retry::Policy;
use super::rpc::SECRET_GET_OR_CREATE;
use crate::limits;
use crate::platform::Platform;
use modal_proto::client::{ObjectCreationType, SecretGetOrCreateRequest};

impl<P: Platform> Client<P> {
    /// Stores variables as a nameless secret that lives with an app, and gives
    /// its id.
    ///
    /// # Errors
    ///
    /// When Modal says no or is not there.
    pub async fn store_secret(
        &self,
        app_id: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<String, CallError> {
        let request = SecretGetOrCreateRequest {
            environment_name: self.options().environment.clone(),
            object_creation_type: ObjectCreationType::AnonymousOwnedByApp.into(),
            env_dict: variables.into_iter().collect(),
            app_id: app_id.to_owned(),
            ..SecretGetOrCreateRequest::default()
        };
        let options = CallOptions {
            policy: Policy::patient(limits::PREPARE_PATIENCE),
            ..CallOptions::default()
        };
        let answer = self.call(&SECRET_GET_OR_CREATE, &request, &options).await?;
        Ok(answer.secret_id)
    }
}
