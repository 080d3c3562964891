//! Apps: what sandboxes belong to.

use super::call::{CallOptions, Client};
use super::error::CallError;
use super::retry::Policy;
use super::rpc::APP_GET_OR_CREATE;
use crate::limits;
use crate::platform::Platform;
use modal_proto::client::{AppGetOrCreateRequest, ObjectCreationType};

impl<P: Platform> Client<P> {
    /// Finds the app of this name, creates it if it is missing, and gives its
    /// id. Usually the first thing that is asked of a server, so it is given
    /// the time of a first contact and no more.
    ///
    /// # Errors
    ///
    /// When Modal says no or is not there.
    pub async fn lookup_app(
        &self,
        name: &str,
        environment: Option<&str>,
    ) -> Result<String, CallError> {
        let request = AppGetOrCreateRequest {
            app_name: name.to_owned(),
            environment_name: environment.unwrap_or_default().to_owned(),
            object_creation_type: ObjectCreationType::CreateIfMissing.into(),
        };
        let options = CallOptions {
            policy: Policy::patient(limits::FIRST_CONTACT),
            ..CallOptions::default()
        };
        let answer = self
            .within(
                limits::FIRST_CONTACT,
                APP_GET_OR_CREATE.name,
                self.call(&APP_GET_OR_CREATE, &request, &options),
            )
            .await?;
        Ok(answer.app_id)
    }
}
