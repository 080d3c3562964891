//! The files of a sandbox, kept as an image.

use super::trouble::Patience;
use super::{Router, RouterCall};
use crate::limits::{self, Deadline};
use crate::modal::error::CallError;
use crate::modal::rpc::TASK_SNAPSHOT_FILESYSTEM;
use crate::platform::Platform;
use modal_proto::task_command_router::TaskSnapshotFilesystemRequest;
use tonic::Code;

impl<P: Platform> Router<P> {
    /// Keeps the files of the sandbox as an image, and gives the image's id. The
    /// image lives for [`limits::SNAPSHOT_LIFETIME`].
    ///
    /// # Errors
    ///
    /// When the sandbox is gone, the router says no or is not there, and when it
    /// takes longer than [`limits::SNAPSHOT`].
    pub async fn snapshot(&self) -> Result<String, CallError> {
        let work = self.snapshot_at_last();
        let rpc = &TASK_SNAPSHOT_FILESYSTEM;
        let limit = limits::SNAPSHOT + limits::WAIT_GRACE;
        self.client().within(limit, rpc.name, work).await
    }

    async fn snapshot_at_last(&self) -> Result<String, CallError> {
        let rpc = &TASK_SNAPSHOT_FILESYSTEM;
        let platform = self.client().platform();
        let give_up_at = platform.monotonic() + limits::SNAPSHOT;
        let request = TaskSnapshotFilesystemRequest {
            task_id: self.task_id().await?.to_owned(),
            // Kept over all attempts, so that there is one image.
            snapshot_id: self.client().new_idempotency_key(),
            ttl_seconds: Some(limits::SNAPSHOT_LIFETIME),
            ..TaskSnapshotFilesystemRequest::default()
        };
        let mut trouble = self.trouble(Patience::Short);
        loop {
            let access = self.access().await?;
            let left = give_up_at.saturating_sub(platform.monotonic());
            let options = RouterCall {
                deadline: Deadline::both(limits::SNAPSHOT + limits::WAIT_GRACE),
                announced: Some(left),
                patience: Patience::Short,
            };
            let answer = self.attempt(rpc, &request, &access, &trouble, options);
            match answer.await {
                Ok(answer) => return Ok(answer.image_id),
                // The time is up.
                Err(error) if error.is(Code::DeadlineExceeded) || error.is(Code::Cancelled) => {
                    return Err(error);
                }
                Err(error) => self.overcome(&mut trouble, &access, error).await?,
            }
        }
    }
}
