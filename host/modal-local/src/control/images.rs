//! Images: recorded, and built only where the executor says so. Commands run on
//! this machine as it is.

use std::sync::Arc;

use futures::{StreamExt, stream};
use modal_proto::client::{self as pb, GenericStatus};
use prost::Message;
use tokio::time::{sleep_until, timeout};
use tonic::{Request, Response, Status};

use super::{Answer, ControlPlane, life::hold};
use crate::{
    core::Core,
    executor::Build,
    ids::{AppId, Backend, ImageId, SecretId},
    journal::{Receipt, Record},
    snapshots::{self, Lifetime},
    store::{Image, Store},
};

impl ControlPlane {
    pub(super) async fn image(
        &self,
        request: Request<pb::ImageGetOrCreateRequest>,
    ) -> Answer<pb::ImageGetOrCreateResponse> {
        let (image, recorded) = self.find_or_create_image(request.into_inner())?;
        recorded.committed().await?;
        Ok(Response::new(pb::ImageGetOrCreateResponse {
            image_id: image.id.to_string(),
            result: result(&self.core.executor.build(&image.id)),
            metadata: Some(metadata(&image)),
        }))
    }

    fn find_or_create_image(
        &self,
        request: pb::ImageGetOrCreateRequest,
    ) -> Result<(Arc<Image>, Receipt), Status> {
        let core = &self.core;
        let mut store = core.store();
        let app = AppId::from_text(request.app_id);
        if !app.as_str().is_empty() && store.apps.get(&app).is_none() {
            return Err(Status::not_found(format!("app {app} not found")));
        }
        if !request.existing_image_id.is_empty() {
            let id = ImageId::from_text(request.existing_image_id);
            let image = core.image(&store, &id)?;
            return Ok((image, core.record(Vec::new())));
        }
        let definition = request
            .image
            .ok_or_else(|| Status::invalid_argument("image is missing"))?;
        let registry = definition.image_registry_config.as_ref();
        if let Some(secret) = registry.map(|registry| &registry.secret_id)
            && !secret.is_empty()
            && store.secrets.get(&SecretId::from_text(secret)).is_none()
        {
            return Err(Status::not_found(format!("secret {secret} not found")));
        }
        let id = ImageId::of_content(&content(&definition, &request.builder_version));
        if let Some(image) = store.images.get(&id) {
            return Ok((Arc::clone(image), core.record(Vec::new())));
        }
        if core.executor.ignores_images() {
            tracing::warn!(
                image = %id,
                definition = definition.dockerfile_commands.first(),
                "the local Modal ignores images: commands run on this machine as it is"
            );
        }
        let image = Image {
            id,
            definition,
            builder_version: request.builder_version,
            created_at: store.creation_time(core.clock.now()),
            snapshot: None,
        };
        let (image, dropped) = store
            .images
            .insert(image, |_| true)
            .ok_or_else(|| Status::resource_exhausted("the local Modal keeps no images"))?;
        let mut records = vec![Record::Image(Arc::clone(&image))];
        records.extend(dropped.map(|old| Record::ForgetImage(old.id.clone())));
        Ok((image, core.record(records)))
    }

    /// One message, with the end; none when that takes longer than a client
    /// wants to wait.
    pub(super) fn join_image(
        &self,
        request: pb::ImageJoinStreamingRequest,
    ) -> Answer<stream::BoxStream<'static, Result<pb::ImageJoinStreamingResponse, Status>>> {
        let image = self.known_image(request.image_id)?;
        let hold = hold(request.timeout)?;
        let core = Arc::clone(&self.core);
        let last = async move {
            if let Build::UnderWay(ready) = core.executor.build(&image.id) {
                let _ = timeout(hold, sleep_until(ready)).await;
            }
            let result = result(&core.executor.build(&image.id))?;
            Some(Ok(pb::ImageJoinStreamingResponse {
                result: Some(result),
                entry_id: "1".to_owned(),
                eof: true,
                metadata: Some(metadata(&image)),
                ..pb::ImageJoinStreamingResponse::default()
            }))
        };
        let stream = stream::once(last).filter_map(std::future::ready);
        Ok(Response::new(stream.boxed()))
    }

    pub(super) fn image_by_id(
        &self,
        request: pb::ImageFromIdRequest,
    ) -> Answer<pb::ImageFromIdResponse> {
        let image = self.known_image(request.image_id)?;
        Ok(Response::new(pb::ImageFromIdResponse {
            image_id: image.id.to_string(),
            metadata: Some(metadata(&image)),
        }))
    }

    fn known_image(&self, id: String) -> Result<Arc<Image>, Status> {
        let id = ImageId::from_text(id);
        self.core.image(&self.core.store(), &id)
    }

    /// The older way to take a snapshot. Every call takes one.
    pub(super) async fn snapshot(
        &self,
        request: pb::SandboxSnapshotFsRequest,
    ) -> Answer<pb::SandboxSnapshotFsResponse> {
        let sandbox = self.sandbox(Backend::V1, request.sandbox_id)?;
        let lifetime = Lifetime::parse(None)?;
        let id = snapshots::take(&self.core, sandbox, None, lifetime).await?;
        let image = self.known_image(id.to_string())?;
        Ok(Response::new(pb::SandboxSnapshotFsResponse {
            image_id: id.into(),
            result: Some(built()),
            image_metadata: Some(metadata(&image)),
        }))
    }
}

impl Core {
    /// The image of an id, unless it is a snapshot whose time is over.
    pub(super) fn image(&self, store: &Store, id: &ImageId) -> Result<Arc<Image>, Status> {
        let image = store.images.get(id).ok_or_else(|| {
            Status::not_found(format!(
                "image {:?} not found: it was never created here, or was forgotten; create it \
                 with ImageGetOrCreate",
                id.as_str()
            ))
        })?;
        let now = self.clock.now();
        if image
            .snapshot
            .is_some_and(|snapshot| snapshot.is_expired(now))
        {
            return Err(Status::not_found(format!(
                "image {:?} not found: the time of this snapshot is over",
                id.as_str()
            )));
        }
        Ok(Arc::clone(image))
    }
}

/// What an image is, without what differs from run to run: the secret that
/// opens its registry is made anew each time.
fn content(definition: &pb::Image, builder_version: &str) -> Vec<u8> {
    let mut definition = definition.clone();
    if let Some(registry) = &mut definition.image_registry_config {
        registry.secret_id.clear();
    }
    let mut content = definition.encode_length_delimited_to_vec();
    content.extend_from_slice(builder_version.as_bytes());
    content
}

fn built() -> pb::GenericResult {
    pb::GenericResult {
        status: GenericStatus::Success.into(),
        ..pb::GenericResult::default()
    }
}

/// The result of a build that is over.
fn result(build: &Build) -> Option<pb::GenericResult> {
    match build {
        Build::Done => Some(built()),
        Build::UnderWay(_) => None,
        Build::Failed(reason) => Some(pb::GenericResult {
            status: GenericStatus::Failure.into(),
            exception: reason.clone(),
            ..pb::GenericResult::default()
        }),
    }
}

fn metadata(image: &Image) -> pb::ImageMetadata {
    pb::ImageMetadata {
        image_builder_version: Some(image.builder_version.clone()),
        ..pb::ImageMetadata::default()
    }
}
