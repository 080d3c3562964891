//! Apps, secrets and images.

use super::{client, client_with};
use crate::modal::image::{ImageError, Images, RegistryLogin};
use crate::modal::{Client, ClientOptions};
use crate::testing::{Fake, Reply, Sent};
use modal_proto::client::{
    AppGetOrCreateRequest, AppGetOrCreateResponse, EnvironmentGetOrCreateRequest,
    EnvironmentGetOrCreateResponse, EnvironmentMetadata, EnvironmentSettings, GenericResult,
    ImageGetOrCreateRequest, ImageGetOrCreateResponse, ImageJoinStreamingRequest,
    ImageJoinStreamingResponse, SecretGetOrCreateRequest, SecretGetOrCreateResponse,
};
use prost::Message as _;
use std::cell::Cell;
use std::rc::Rc;
use tonic::Code;

fn result(status: i32, exception: &str) -> Option<GenericResult> {
    Some(GenericResult {
        status,
        exception: exception.into(),
        ..GenericResult::default()
    })
}

fn environment(version: &str) -> Reply {
    Reply::ok(&EnvironmentGetOrCreateResponse {
        metadata: Some(EnvironmentMetadata {
            settings: Some(EnvironmentSettings {
                image_builder_version: version.into(),
                ..EnvironmentSettings::default()
            }),
            ..EnvironmentMetadata::default()
        }),
        ..EnvironmentGetOrCreateResponse::default()
    })
}

fn image(status: i32) -> Reply {
    Reply::ok(&ImageGetOrCreateResponse {
        image_id: "im-1".into(),
        result: result(status, "").filter(|_| status != 0),
        ..ImageGetOrCreateResponse::default()
    })
}

/// A server with a builder version that gives images as the script says.
fn server(version: &'static str, mut script: impl FnMut(&Sent) -> Reply + 'static) -> Fake {
    Fake::new(move |sent| match sent.method.as_str() {
        "EnvironmentGetOrCreate" => environment(version),
        "SecretGetOrCreate" => Reply::ok(&SecretGetOrCreateResponse {
            secret_id: "st-1".into(),
            ..SecretGetOrCreateResponse::default()
        }),
        _ => script(sent),
    })
}

fn images(client: Client<Fake>) -> Images<Fake> {
    Images::new(client, "ap-1".into())
}

#[test]
fn an_app_is_created_in_the_given_environment() {
    let fake = Fake::new(|_| {
        Reply::ok(&AppGetOrCreateResponse {
            app_id: "ap-1".into(),
            ..AppGetOrCreateResponse::default()
        })
    });
    let id = fake
        .block_on(client(&fake).lookup_app("zenml-x", Some("staging")))
        .unwrap();
    assert_eq!(id, "ap-1");
    let request: AppGetOrCreateRequest = fake.sent()[0].decode();
    assert_eq!(
        (
            request.app_name.as_str(),
            request.environment_name.as_str(),
            request.object_creation_type
        ),
        ("zenml-x", "staging", 1)
    );
}

#[test]
fn an_image_is_one_line_and_asked_for_once() {
    let fake = server("2025.06", |_| image(1));
    let options = ClientOptions {
        environment: "main".into(),
        ..ClientOptions::default()
    };
    let images = images(client_with(&fake, options));
    for _ in 0..3 {
        assert_eq!(
            fake.block_on(images.from_registry("reg/x:1", None))
                .unwrap(),
            "im-1"
        );
    }
    assert_eq!(
        fake.methods(),
        ["EnvironmentGetOrCreate", "ImageGetOrCreate"]
    );
    let environment: EnvironmentGetOrCreateRequest = fake.sent()[0].decode();
    assert_eq!(environment.deployment_name, "main");
    let request: ImageGetOrCreateRequest = fake.sent()[1].decode();
    let image = request.image.unwrap();
    assert_eq!(image.dockerfile_commands, ["FROM reg/x:1"]);
    assert_eq!(image.image_registry_config, Some(Default::default()));
    assert_eq!(image.gpu_config, Some(Default::default()));
    assert_eq!(
        (
            request.app_id.as_str(),
            request.namespace,
            request.builder_version.as_str()
        ),
        ("ap-1", 1, "2025.06")
    );
}

#[test]
fn a_login_is_stored_once_and_goes_with_the_image() {
    let fake = server("2025.06", |_| image(1));
    let images = images(client(&fake));
    let login = RegistryLogin {
        username: "bob".into(),
        password: "pw".into(),
    };
    fake.block_on(images.from_registry("reg/x", Some(&login)))
        .unwrap();
    fake.block_on(images.from_registry("reg/y", Some(&login)))
        .unwrap();
    let secrets = fake.sent_to("SecretGetOrCreate");
    assert_eq!(secrets.len(), 1);
    let secret: SecretGetOrCreateRequest = secrets[0].decode();
    assert_eq!(
        (secret.object_creation_type, secret.app_id.as_str()),
        (4, "ap-1")
    );
    assert_eq!(secret.env_dict["REGISTRY_USERNAME"], "bob");
    let request: ImageGetOrCreateRequest = fake.sent_to("ImageGetOrCreate")[0].decode();
    let registry = request.image.unwrap().image_registry_config.unwrap();
    assert_eq!(
        (registry.registry_auth_type, registry.secret_id.as_str()),
        (4, "st-1")
    );
}

#[test]
fn an_unknown_builder_version_is_refused() {
    for version in ["", "2031.01"] {
        let fake = server(version, |_| image(1));
        let error = fake
            .block_on(images(client(&fake)).from_registry("x", None))
            .unwrap_err();
        assert!(
            matches!(error, ImageError::BuilderVersion { .. }),
            "{version}"
        );
        assert!(fake.sent_to("ImageGetOrCreate").is_empty());
    }
    let fake = server("2031.01", |_| image(1));
    let options = ClientOptions {
        image_builder_version: Some("2025.06".into()),
        ..ClientOptions::default()
    };
    fake.block_on(images(client_with(&fake, options)).from_registry("x", None))
        .unwrap();
}

#[test]
fn a_build_is_followed_from_where_the_stream_ended() {
    let round = Rc::new(Cell::new(0));
    let fake = server("2025.06", move |sent| {
        if sent.method == "ImageGetOrCreate" {
            return image(0);
        }
        let request: ImageJoinStreamingRequest = sent.decode();
        assert!((request.timeout - 55.0).abs() < f32::EPSILON);
        round.set(round.get() + 1);
        let entry = |id: &str, status| {
            let answer = ImageJoinStreamingResponse {
                entry_id: id.into(),
                result: result(status, ""),
                ..ImageJoinStreamingResponse::default()
            };
            answer.encode_to_vec().into()
        };
        match round.get() {
            1 => {
                assert_eq!(request.last_entry_id, "");
                Reply::Messages(vec![entry("1-0", 0), entry("", 0)])
            }
            2 => Reply::Broken(vec![entry("2-0", 0)], Code::Unavailable, "gone"),
            _ => {
                assert_eq!(request.last_entry_id, "2-0");
                Reply::Messages(vec![entry("3-0", 1)])
            }
        }
    });
    assert_eq!(
        fake.block_on(images(client(&fake)).from_registry("x", None))
            .unwrap(),
        "im-1"
    );
    assert_eq!(fake.sent_to("ImageJoinStreaming").len(), 3);
}

#[test]
fn a_failed_build_keeps_modals_words_and_is_not_repeated() {
    for status in [2, 3, 4, 8] {
        let fake = server("2025.06", move |_| {
            Reply::ok(&ImageGetOrCreateResponse {
                image_id: "im-1".into(),
                result: result(status, "manifest unknown"),
                ..ImageGetOrCreateResponse::default()
            })
        });
        let images = images(client(&fake));
        for _ in 0..2 {
            let error = fake
                .block_on(images.from_registry("reg/x", None))
                .unwrap_err();
            assert_eq!(
                error.to_string(),
                "image `reg/x` could not be built: manifest unknown"
            );
        }
        assert_eq!(fake.sent_to("ImageGetOrCreate").len(), 1);
    }
}
