//! Secrets.

use std::sync::Arc;

use modal_proto::client::{self as pb, ObjectCreationType as Creation};
use tonic::{Request, Response, Status};

use super::{Answer, ControlPlane};
use crate::{
    ids::{AppId, SecretId},
    journal::{Receipt, Record},
    names::{IdempotencyKey, Name},
    store::Secret,
};

impl ControlPlane {
    pub(super) async fn secret(
        &self,
        request: Request<pb::SecretGetOrCreateRequest>,
    ) -> Answer<pb::SecretGetOrCreateResponse> {
        let key = IdempotencyKey::parse(request.metadata())?;
        let (secret, recorded) = self.find_or_create_secret(request.into_inner(), key)?;
        recorded.committed().await?;
        Ok(Response::new(pb::SecretGetOrCreateResponse {
            secret_id: secret.id.to_string(),
            metadata: Some(pb::SecretMetadata {
                name: secret.name.clone().map_or_else(String::new, String::from),
                creation_info: Some(pb::CreationInfo {
                    created_at: secret.created_at.seconds(),
                    created_by: String::new(),
                }),
                // Clients infer the kind of a registry secret from its keys.
                keys: secret.env.contents.keys().cloned().collect(),
                environment_name: secret.environment.to_string(),
                last_used_at: 0.0,
            }),
        }))
    }

    fn find_or_create_secret(
        &self,
        request: pb::SecretGetOrCreateRequest,
        key: Option<IdempotencyKey>,
    ) -> Result<(Arc<Secret>, Receipt), Status> {
        let creation = request.object_creation_type();
        let anonymous = matches!(
            creation,
            Creation::AnonymousOwnedByApp | Creation::Ephemeral
        );
        let name = if anonymous {
            None
        } else {
            Some(Name::parse("secret", &request.deployment_name)?)
        };
        let core = &self.core;
        let mut store = core.store();
        let known = |secret: &Arc<Secret>| Ok((Arc::clone(secret), core.record(Vec::new())));
        if let Some(secret) = store.secrets.created_by(key.as_ref()) {
            return known(secret);
        }
        // The environment of the request is the client's configured one; what
        // belongs to an app lives in the app's.
        let environment = match request.app_id.as_str() {
            "" if creation == Creation::AnonymousOwnedByApp => {
                return Err(Status::invalid_argument(
                    "app_id is empty: a secret of creation type 4 belongs to an app",
                ));
            }
            "" => Name::environment(&request.environment_name)?,
            id => {
                let id = AppId::from_text(id);
                let app = store.apps.get(&id);
                let app = app.ok_or_else(|| Status::not_found(format!("app {id} not found")))?;
                app.environment.clone()
            }
        };
        let existing = name
            .as_ref()
            .and_then(|name| store.secrets.named(&environment, name))
            .cloned();
        if let (Some(secret), Some(name)) = (&existing, &name) {
            match creation {
                Creation::CreateFailIfExists => {
                    return Err(Status::already_exists(format!(
                        "secret {name} already exists in environment {environment}"
                    )));
                }
                Creation::CreateOverwriteIfExists => {}
                _ => {
                    require_keys(secret, name, &request.required_keys)?;
                    return known(secret);
                }
            }
        } else if let (Creation::Unspecified, Some(name)) = (creation, &name) {
            return Err(Status::not_found(format!(
                "secret {name} not found in environment {environment}"
            )));
        }
        let (_, mut records) = self.environment_id(&mut store, &environment)?;
        let secret = Secret {
            // Overwriting keeps the id that others may hold.
            id: existing.map_or_else(|| SecretId::fresh(&core.random), |secret| secret.id.clone()),
            environment,
            name,
            env: pb::StringMap {
                contents: request.env_dict,
            },
            created_at: store.creation_time(core.clock.now()),
            key,
        };
        let (secret, dropped) = store
            .secrets
            .insert(secret, |old| old.name.is_none())
            .ok_or_else(|| {
                Status::resource_exhausted("the local Modal keeps too many named secrets")
            })?;
        records.extend(dropped.map(|old| Record::ForgetSecret(old.id.clone())));
        records.push(Record::Secret(Arc::clone(&secret)));
        Ok((secret, core.record(records)))
    }
}

fn require_keys(secret: &Secret, name: &Name, required: &[String]) -> Result<(), Status> {
    let missing: Vec<&str> = required
        .iter()
        .filter(|key| !secret.env.contents.contains_key(*key))
        .map(String::as_str)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "secret {name} lacks the required keys {}",
        missing.join(", ")
    )))
}
