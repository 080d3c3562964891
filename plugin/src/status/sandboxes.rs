//! Sandboxes by their ids: what status and stop ask of Modal.

use crate::limits;
use crate::modal::retry::Policy;
use crate::modal::sandbox::SandboxHandle;
use crate::modal::{CallError, Client};
use crate::platform::{LogLevel, Platform};
use std::fmt;
use std::future::Future;
use std::time::Duration;

/// The way to sandboxes, and to a clock and a log.
pub trait Sandboxes {
    /// A sandbox that was found.
    type Sandbox;
    /// Why the service did not do what it was asked.
    type Error: fmt::Display;

    /// Finds a sandbox by its id.
    fn find(&self, id: &str) -> impl Future<Output = Result<Self::Sandbox, Self::Error>>;

    /// The exit code of a sandbox; none while it runs. Does not wait.
    fn exit_code(
        &self,
        sandbox: &Self::Sandbox,
    ) -> impl Future<Output = Result<Option<i32>, Self::Error>>;

    /// Ends a sandbox.
    fn terminate(&self, sandbox: &Self::Sandbox) -> impl Future<Output = Result<(), Self::Error>>;

    /// Waits.
    fn pause(&self, duration: Duration) -> impl Future<Output = ()>;

    /// Time since some fixed moment.
    fn now(&self) -> Duration;

    /// Says what is allowed but probably not meant, or went wrong without ending
    /// anything.
    fn warn(&self, message: &str);
}

/// Ends a sandbox that still runs.
///
/// # Errors
///
/// When it cannot be found, asked or ended.
pub async fn terminate_if_running<S: Sandboxes>(sandboxes: &S, id: &str) -> Result<(), S::Error> {
    let sandbox = sandboxes.find(id).await?;
    match sandboxes.exit_code(&sandbox).await? {
        Some(_) => Ok(()),
        None => sandboxes.terminate(&sandbox).await,
    }
}

/// Modal's own.
impl<P: Platform> Sandboxes for Client<P> {
    type Sandbox = SandboxHandle;
    type Error = CallError;

    /// An id is all that is needed; that there is no such sandbox is found out
    /// by the first question about it.
    async fn find(&self, id: &str) -> Result<SandboxHandle, CallError> {
        Ok(SandboxHandle::attached(id.to_owned()))
    }

    async fn exit_code(&self, sandbox: &SandboxHandle) -> Result<Option<i32>, CallError> {
        let ending = self.wait_sandbox(sandbox, 0.0, Policy::SDK).await?;
        // A failure stays one, also when Modal reports the code 0 with it.
        Ok(ending.map(|ending| match ending.return_code() {
            0 if !ending.is_success() => 1,
            code => code,
        }))
    }

    async fn terminate(&self, sandbox: &SandboxHandle) -> Result<(), CallError> {
        self.terminate_sandbox(sandbox, limits::TERMINATE_PATIENCE)
            .await
    }

    async fn pause(&self, duration: Duration) {
        self.platform().sleep(duration).await;
    }

    fn now(&self) -> Duration {
        self.platform().monotonic()
    }

    fn warn(&self, message: &str) {
        self.platform().log(LogLevel::Warn, message);
    }
}
