//! Apps and environments.

use std::sync::Arc;

use modal_proto::client::{self as pb, AppState, ObjectCreationType as Creation};
use tonic::{Request, Response, Status};

use super::{Answer, ControlPlane, access::BUILDER_VERSION};
use crate::{
    ids::{AppId, EnvironmentId},
    journal::{Receipt, Record},
    limits,
    names::{IdempotencyKey, Name},
    store::{App, Store},
};

impl ControlPlane {
    pub(super) async fn app(
        &self,
        request: Request<pb::AppGetOrCreateRequest>,
    ) -> Answer<pb::AppGetOrCreateResponse> {
        let key = IdempotencyKey::parse(request.metadata())?;
        let request = request.into_inner();
        let creation = request.object_creation_type();
        if AppId::matches(&request.app_name) {
            let id = AppId::from_text(request.app_name);
            let app = self.core.store().apps.get(&id).cloned();
            let app = app.ok_or_else(|| Status::not_found(format!("app {id} not found")))?;
            return Ok(Response::new(to_wire(&app)));
        }
        let environment = Name::environment(&request.environment_name)?;
        let name = match creation {
            // Only its id leads to it; the name describes it.
            Creation::Ephemeral | Creation::AnonymousOwnedByApp => None,
            _ => Some(Name::parse("app", &request.app_name)?),
        };
        let (app, recorded) = self.find_or_create_app(environment, name, creation, key)?;
        recorded.committed().await?;
        Ok(Response::new(to_wire(&app)))
    }

    fn find_or_create_app(
        &self,
        environment: Name,
        name: Option<Name>,
        creation: Creation,
        key: Option<IdempotencyKey>,
    ) -> Result<(Arc<App>, Receipt), Status> {
        let core = &self.core;
        let mut store = core.store();
        let known = |app: &Arc<App>| Ok((Arc::clone(app), core.record(Vec::new())));
        if let Some(app) = store.apps.created_by(key.as_ref()) {
            return known(app);
        }
        if let Some(name) = &name {
            match (store.apps.named(&environment, name), creation) {
                (Some(_), Creation::CreateFailIfExists) => {
                    return Err(Status::already_exists(format!(
                        "app {name} already exists in environment {environment}"
                    )));
                }
                (Some(app), _) => return known(app),
                (None, Creation::Unspecified) => {
                    return Err(Status::not_found(format!(
                        "app {name} not found in environment {environment}"
                    )));
                }
                (None, _) => {}
            }
        }
        let (_, mut records) = self.environment_id(&mut store, &environment)?;
        let app = App {
            id: AppId::fresh(&core.random),
            environment,
            name,
            created_at: store.creation_time(core.clock.now()),
            key,
        };
        let (app, dropped) = store.add_app(app).ok_or_else(|| {
            Status::resource_exhausted("the local Modal remembers too many apps in use")
        })?;
        records.extend(dropped.map(|old| Record::ForgetApp(old.id.clone())));
        records.push(Record::App(Arc::clone(&app)));
        Ok((app, core.record(records)))
    }

    pub(super) async fn environment(
        &self,
        request: Request<pb::EnvironmentGetOrCreateRequest>,
    ) -> Answer<pb::EnvironmentGetOrCreateResponse> {
        let name = Name::environment(&request.get_ref().deployment_name)?;
        let (id, recorded) = {
            let mut store = self.core.store();
            let (id, records) = self.environment_id(&mut store, &name)?;
            (id, self.core.record(records))
        };
        recorded.committed().await?;
        Ok(Response::new(pb::EnvironmentGetOrCreateResponse {
            environment_id: id.into(),
            metadata: Some(pb::EnvironmentMetadata {
                name: name.into(),
                settings: Some(pb::EnvironmentSettings {
                    image_builder_version: BUILDER_VERSION.to_owned(),
                    webhook_suffix: String::new(),
                }),
            }),
        }))
    }

    /// An environment comes into being when it is first named: the calls that
    /// create one on Modal are not part of this protocol subset.
    pub(super) fn environment_id(
        &self,
        store: &mut Store,
        name: &Name,
    ) -> Result<(EnvironmentId, Vec<Record>), Status> {
        if let Some(id) = store.environments.get(name) {
            return Ok((id.clone(), Vec::new()));
        }
        if store.environments.len() >= limits::ENVIRONMENTS {
            return Err(Status::resource_exhausted(format!(
                "the local Modal keeps at most {} environments",
                limits::ENVIRONMENTS
            )));
        }
        let id = EnvironmentId::fresh(&self.core.random);
        store.environments.insert(name.clone(), id.clone());
        let record = Record::Environment(name.clone(), id.clone());
        Ok((id, vec![record]))
    }
}

fn to_wire(app: &App) -> pb::AppGetOrCreateResponse {
    let state = match app.name {
        Some(_) => AppState::Deployed,
        None => AppState::Ephemeral,
    };
    pb::AppGetOrCreateResponse {
        app_id: app.id.to_string(),
        handle_metadata: Some(pb::AppHandleMetadata {
            description: app.name.clone().map_or_else(String::new, String::from),
            app_id: app.id.to_string(),
            environment_name: app.environment.to_string(),
            lifecycle: Some(pb::AppLifecycle {
                app_state: state.into(),
                created_at: app.created_at.seconds(),
                deployed_at: app.created_at.seconds(),
                version: 1,
                ..pb::AppLifecycle::default()
            }),
        }),
    }
}
