//! Snapshots of a sandbox's files.

use modal_proto::task_command_router::{
    TaskSnapshotFilesystemRequest, TaskSnapshotFilesystemResponse,
};
use tonic::{Request, Response, Status};

use super::{Answer, Router};
use crate::{
    limits,
    snapshots::{self, Lifetime},
};

impl Router {
    /// Answers with an image, once it is recorded; the same one for the same
    /// `snapshot_id`.
    pub(super) async fn snapshot(
        &self,
        request: Request<TaskSnapshotFilesystemRequest>,
    ) -> Answer<TaskSnapshotFilesystemResponse> {
        let sandbox = self.sandbox(&request, &request.get_ref().task_id)?;
        let request = request.into_inner();
        if !request.container_id.is_empty() {
            return Err(Status::unimplemented(
                "container_id: the local Modal has no containers beside a sandbox's own",
            ));
        }
        if request.customer_supplied_encryption_key.is_some() {
            return Err(Status::unimplemented(
                "customer_supplied_encryption_key: the local Modal encrypts nothing",
            ));
        }
        let lifetime = Lifetime::parse(request.ttl_seconds)?;
        let id = Some(request.snapshot_id).filter(|id| !id.is_empty());
        if id.as_ref().is_some_and(|id| id.len() > limits::SNAPSHOT_ID) {
            return Err(Status::invalid_argument(format!(
                "snapshot_id has more than {} bytes",
                limits::SNAPSHOT_ID
            )));
        }
        let busy = sandbox.activity.busy();
        let image = snapshots::take(&self.core, sandbox, id.as_deref(), lifetime).await?;
        drop(busy);
        Ok(Response::new(TaskSnapshotFilesystemResponse {
            image_id: image.into(),
        }))
    }
}
