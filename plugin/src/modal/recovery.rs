//! Creates whose answers were lost: a sandbox that exists must not be forgotten.

use super::call::{Client, Failure};
use super::error::CallError;
use super::retry::Policy;
use super::sandbox::{SandboxHandle, SandboxSpec, tags};
use crate::limits;
use crate::names::tag;
use crate::platform::{LogLevel, Platform};
use modal_proto::client::SandboxListRequest;
use tonic::Code;

/// Why there is no sandbox, as far as can be known.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CreateError {
    /// It was not created.
    #[error(transparent)]
    Failed(#[from] CallError),
    /// An answer was lost, and Modal cannot be asked whether there is a sandbox.
    #[error(
        "{error}; whether there is a sandbox all the same could not be found out, \
         so one may still run: {lookup}"
    )]
    InDoubt {
        /// Why it was given up.
        error: CallError,
        /// Why it could not be looked for.
        lookup: Box<CallError>,
    },
}

impl CreateError {
    /// Why it was given up.
    pub fn error(&self) -> &CallError {
        match self {
            Self::Failed(error) | Self::InDoubt { error, .. } => error,
        }
    }
}

impl<P: Platform> Client<P> {
    /// Looks for the sandbox that a failed create may have left, by its owner's
    /// tags. One that has ended counts: it did what it should do.
    pub(super) async fn recover(
        &self,
        spec: &SandboxSpec,
        Failure { error, in_doubt }: Failure,
    ) -> Result<SandboxHandle, CreateError> {
        // A name that is taken is taken by an earlier attempt at this call: names
        // are the step's and the attempt's own.
        let is_in_doubt = in_doubt || error.is(Code::AlreadyExists);
        // Without tags, any sandbox would do.
        if !is_in_doubt || spec.tags.is_empty() {
            return Err(error.into());
        }
        let found = self.find_owned(&spec.app_id, &spec.tags).await;
        // The newest comes first.
        match found.map(|ids| ids.into_iter().next()) {
            Ok(Some(id)) => {
                let message = format!("{id} exists, although its create failed: {error}");
                self.platform().log(LogLevel::Warn, &message);
                Ok(SandboxHandle::attached(id))
            }
            Ok(None) => Err(error.into()),
            Err(lookup) => Err(CreateError::InDoubt {
                error,
                lookup: Box::new(lookup),
            }),
        }
    }

    /// The sandboxes of an app that carry the tags of one owner, newest first and
    /// with those that have ended. Whoever created them: the epoch does not count.
    /// A listing may lag behind, so it takes a few to believe that there are none.
    ///
    /// # Errors
    ///
    /// When Modal says no, or is not there for [`limits::RECOVERY_PATIENCE`]: then
    /// nothing is known.
    pub async fn find_owned(
        &self,
        app_id: &str,
        owner: &[(String, String)],
    ) -> Result<Vec<String>, CallError> {
        let lasting: Vec<_> = owner
            .iter()
            .filter(|(name, _)| name != tag::EPOCH)
            .cloned()
            .collect();
        let request = SandboxListRequest {
            app_id: app_id.to_owned(),
            environment_name: self.options().environment.clone(),
            include_finished: true,
            tags: tags(&lasting),
            ..SandboxListRequest::default()
        };
        for pause in limits::RECOVERY_PAUSES {
            self.platform().sleep(pause).await;
            let policy = Policy::patient(limits::RECOVERY_PATIENCE);
            let found = self.list_page(&request, policy).await?;
            if !found.is_empty() {
                return Ok(found.into_iter().map(|sandbox| sandbox.id).collect());
            }
        }
        Ok(Vec::new())
    }
}
