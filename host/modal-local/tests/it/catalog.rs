//! Apps, environments, secrets and images.

use modal_proto::client::{self as pb, GenericStatus, ObjectCreationType as Creation};
use tonic::{Code, Request};

use crate::harness::{Local, app, code, image};

fn named_app(name: &str, environment: &str, creation: Creation) -> pb::AppGetOrCreateRequest {
    pb::AppGetOrCreateRequest {
        app_name: name.to_owned(),
        environment_name: environment.to_owned(),
        object_creation_type: creation.into(),
    }
}

#[tokio::test]
async fn an_app_is_found_by_name_and_by_id() {
    let local = Local::start().await;
    let mut control = local.control();
    let missing = named_app("new", "", Creation::Unspecified);
    assert_eq!(
        code(control.app_get_or_create(missing.clone()).await),
        Code::NotFound
    );
    let id = app(&mut control, "new").await;
    assert!(id.starts_with("ap-") && id.len() == 25, "{id}");
    assert_eq!(app(&mut control, "new").await, id);

    let found = control
        .app_get_or_create(missing)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(found.app_id, id);
    let metadata = found.handle_metadata.unwrap();
    assert_eq!(
        (metadata.description.as_str(), metadata.app_id),
        ("new", id.clone())
    );
    assert_eq!(metadata.environment_name, "main");
    let by_id = named_app(&id, "", Creation::Unspecified);
    let found = control.app_get_or_create(by_id).await.unwrap().into_inner();
    assert_eq!(found.app_id, id);
    let unknown = named_app("ap-0123456789012345678901", "", Creation::Unspecified);
    assert_eq!(
        code(control.app_get_or_create(unknown).await),
        Code::NotFound
    );

    let twice = named_app("new", "", Creation::CreateFailIfExists);
    assert_eq!(
        code(control.app_get_or_create(twice).await),
        Code::AlreadyExists
    );
    let elsewhere = named_app("new", "staging", Creation::CreateIfMissing);
    let other = control
        .app_get_or_create(elsewhere)
        .await
        .unwrap()
        .into_inner();
    assert_ne!(other.app_id, id);
    assert_eq!(other.handle_metadata.unwrap().environment_name, "staging");
    for bad in ["", "a b", &"x".repeat(65)] {
        let bad = named_app(bad, "", Creation::CreateIfMissing);
        assert_eq!(
            code(control.app_get_or_create(bad).await),
            Code::InvalidArgument
        );
    }
    local.finish().await;
}

#[tokio::test]
async fn a_repeated_creation_has_the_same_answer() {
    let local = Local::start().await;
    let mut control = local.control();
    let keyed = |key: &str| {
        let mut request = Request::new(named_app("once", "", Creation::CreateFailIfExists));
        request
            .metadata_mut()
            .insert("x-idempotency-key", key.parse().unwrap());
        request
    };
    let first = control.app_get_or_create(keyed("k1")).await.unwrap();
    let again = control.app_get_or_create(keyed("k1")).await.unwrap();
    assert_eq!(first.into_inner(), again.into_inner());
    assert_eq!(
        code(control.app_get_or_create(keyed("k2")).await),
        Code::AlreadyExists
    );

    let secret = |key: &str| {
        let mut request = Request::new(pb::SecretGetOrCreateRequest {
            object_creation_type: Creation::Ephemeral.into(),
            ..pb::SecretGetOrCreateRequest::default()
        });
        request
            .metadata_mut()
            .insert("x-idempotency-key", key.parse().unwrap());
        request
    };
    let mut ids = Vec::new();
    for key in ["a", "a", "b"] {
        let created = control.secret_get_or_create(secret(key)).await.unwrap();
        ids.push(created.into_inner().secret_id);
    }
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
    local.finish().await;
}

#[tokio::test]
async fn an_environment_names_a_builder_version_that_clients_know() {
    let local = Local::start().await;
    let mut control = local.control();
    let mut ids = Vec::new();
    for (asked, name) in [("", "main"), ("main", "main"), ("staging", "staging")] {
        let request = pb::EnvironmentGetOrCreateRequest {
            deployment_name: asked.to_owned(),
            ..pb::EnvironmentGetOrCreateRequest::default()
        };
        let response = control.environment_get_or_create(request).await.unwrap();
        let response = response.into_inner();
        let metadata = response.metadata.unwrap();
        assert_eq!(metadata.name, name);
        assert_eq!(metadata.settings.unwrap().image_builder_version, "2025.06");
        ids.push(response.environment_id);
    }
    assert!(ids[0].starts_with("en-"));
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[1], ids[2]);
    local.finish().await;
}

#[tokio::test]
async fn a_secret_echoes_its_keys() {
    let local = Local::start().await;
    let mut control = local.control();
    let env: std::collections::BTreeMap<String, String> = [
        ("REGISTRY_USERNAME".to_owned(), "u".to_owned()),
        ("REGISTRY_PASSWORD".to_owned(), "p".to_owned()),
    ]
    .into();
    let anonymous = pb::SecretGetOrCreateRequest {
        object_creation_type: Creation::AnonymousOwnedByApp.into(),
        env_dict: env.clone(),
        app_id: local.app().to_owned(),
        ..pb::SecretGetOrCreateRequest::default()
    };
    let created = control
        .secret_get_or_create(anonymous.clone())
        .await
        .unwrap();
    let created = created.into_inner();
    assert!(created.secret_id.starts_with("st-"));
    let keys = created.metadata.unwrap().keys;
    assert_eq!(keys, ["REGISTRY_PASSWORD", "REGISTRY_USERNAME"]);
    let without_app = pb::SecretGetOrCreateRequest {
        app_id: String::new(),
        ..anonymous
    };
    assert_eq!(
        code(control.secret_get_or_create(without_app).await),
        Code::InvalidArgument
    );

    let named = |creation: Creation, required: &[&str]| pb::SecretGetOrCreateRequest {
        deployment_name: "shared".to_owned(),
        object_creation_type: creation.into(),
        env_dict: env.clone(),
        required_keys: required.iter().map(|key| (*key).to_owned()).collect(),
        ..pb::SecretGetOrCreateRequest::default()
    };
    let lookup = named(Creation::Unspecified, &[]);
    assert_eq!(
        code(control.secret_get_or_create(lookup.clone()).await),
        Code::NotFound
    );
    let create = named(Creation::CreateIfMissing, &[]);
    let id = control
        .secret_get_or_create(create)
        .await
        .unwrap()
        .into_inner()
        .secret_id;
    let found = control
        .secret_get_or_create(lookup)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(found.secret_id, id);
    let lacking = control
        .secret_get_or_create(named(Creation::Unspecified, &["OTHER"]))
        .await;
    let lacking = lacking.unwrap_err();
    assert_eq!(lacking.code(), Code::FailedPrecondition);
    assert!(lacking.message().contains("OTHER"));
    let twice = named(Creation::CreateFailIfExists, &[]);
    assert_eq!(
        code(control.secret_get_or_create(twice).await),
        Code::AlreadyExists
    );
    let overwrite = named(Creation::CreateOverwriteIfExists, &[]);
    let overwritten = control.secret_get_or_create(overwrite).await.unwrap();
    assert_eq!(overwritten.into_inner().secret_id, id);
    local.finish().await;
}

#[tokio::test]
async fn an_image_is_final_at_once_and_known_by_content() {
    let local = Local::start().await;
    let mut control = local.control();
    let id = image(&mut control, local.app()).await;
    assert!(id.starts_with("im-") && id.len() == 25, "{id}");
    let other = app(&mut control, "other").await;
    assert_eq!(image(&mut control, &other).await, id);

    let request = |dockerfile: &str| pb::ImageGetOrCreateRequest {
        app_id: local.app().to_owned(),
        image: Some(pb::Image {
            dockerfile_commands: vec![dockerfile.to_owned()],
            ..pb::Image::default()
        }),
        builder_version: "2025.06".to_owned(),
        ..pb::ImageGetOrCreateRequest::default()
    };
    let response = control
        .image_get_or_create(request("FROM alpine"))
        .await
        .unwrap();
    let response = response.into_inner();
    assert_ne!(response.image_id, id);
    assert_eq!(response.result.unwrap().status(), GenericStatus::Success);

    let join = pb::ImageJoinStreamingRequest {
        image_id: id.clone(),
        timeout: 55.0,
        ..pb::ImageJoinStreamingRequest::default()
    };
    let mut stream = control
        .image_join_streaming(join)
        .await
        .unwrap()
        .into_inner();
    let last = stream.message().await.unwrap().unwrap();
    assert_eq!(last.result.unwrap().status(), GenericStatus::Success);
    assert!(last.eof && !last.entry_id.is_empty());
    assert!(stream.message().await.unwrap().is_none());

    let by_id = |id: &str| pb::ImageFromIdRequest {
        image_id: id.to_owned(),
    };
    let found = control.image_from_id(by_id(&id)).await.unwrap();
    assert_eq!(found.into_inner().image_id, id);
    assert_eq!(
        code(control.image_from_id(by_id("im-none")).await),
        Code::NotFound
    );
    let mut foreign = request("FROM a");
    foreign.app_id = "ap-none".to_owned();
    assert_eq!(
        code(control.image_get_or_create(foreign).await),
        Code::NotFound
    );
    local.finish().await;
}

#[tokio::test]
async fn a_registry_secret_does_not_change_an_image() {
    let local = Local::start().await;
    let mut control = local.control();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let secret = pb::SecretGetOrCreateRequest {
            object_creation_type: Creation::Ephemeral.into(),
            ..pb::SecretGetOrCreateRequest::default()
        };
        let secret = control
            .secret_get_or_create(secret)
            .await
            .unwrap()
            .into_inner();
        let request = |secret_id: String| pb::ImageGetOrCreateRequest {
            image: Some(pb::Image {
                dockerfile_commands: vec!["FROM private".to_owned()],
                image_registry_config: Some(pb::ImageRegistryConfig {
                    registry_auth_type: pb::RegistryAuthType::StaticCreds.into(),
                    secret_id,
                }),
                ..pb::Image::default()
            }),
            ..pb::ImageGetOrCreateRequest::default()
        };
        let unknown = control
            .image_get_or_create(request("st-none".to_owned()))
            .await;
        assert_eq!(code(unknown), Code::NotFound);
        let created = control
            .image_get_or_create(request(secret.secret_id))
            .await
            .unwrap();
        ids.push(created.into_inner().image_id);
    }
    assert_eq!(ids[0], ids[1]);
    local.finish().await;
}
