//! Submissions over the wire.

use super::controller::{ControllerStart, start_controller};
use super::service::{ModalService, Service as _};
use super::step::{OperatorStep, StepMetadata, StepSubmission, submit_operator_step};
use super::{Placement, StepResources, SubmitError};
use crate::credentials::TokenPair;
use crate::modal::channel::Endpoint;
use crate::modal::{Client, ClientOptions};
use crate::resources::memory::Measure;
use crate::testing::{Fake, Reply, Sent};
use modal_proto::client::secret_source::Source;
use modal_proto::client::{
    AppGetOrCreateRequest, AppGetOrCreateResponse, AuthTokenGetResponse,
    EnvironmentGetOrCreateResponse, EnvironmentMetadata, EnvironmentSettings, GenericResult,
    ImageGetOrCreateResponse, SandboxCreateV2Request, SandboxCreateV2Response,
    SandboxTerminateRequest, SandboxTerminateResponse,
};
use serde_json::{Map, Value};
use std::convert::Infallible;
use tonic::Code;

fn server(sent: &Sent) -> Reply {
    match sent.method.as_str() {
        "AuthTokenGet" => Reply::ok(&AuthTokenGetResponse {
            token: "a.b.c".into(),
        }),
        "AppGetOrCreate" => Reply::ok(&AppGetOrCreateResponse {
            app_id: "ap-1".into(),
            ..AppGetOrCreateResponse::default()
        }),
        "EnvironmentGetOrCreate" => Reply::ok(&EnvironmentGetOrCreateResponse {
            metadata: Some(EnvironmentMetadata {
                settings: Some(EnvironmentSettings {
                    image_builder_version: "2025.06".into(),
                    ..EnvironmentSettings::default()
                }),
                ..EnvironmentMetadata::default()
            }),
            ..EnvironmentGetOrCreateResponse::default()
        }),
        "ImageGetOrCreate" => Reply::ok(&ImageGetOrCreateResponse {
            image_id: "im-1".into(),
            result: Some(GenericResult {
                status: 1,
                ..GenericResult::default()
            }),
            ..ImageGetOrCreateResponse::default()
        }),
        "SandboxCreateV2" => Reply::ok(&SandboxCreateV2Response {
            sandbox_id: "sb-1".into(),
            ..SandboxCreateV2Response::default()
        }),
        "SandboxTerminateV2" => Reply::ok(&SandboxTerminateResponse::default()),
        _ => Reply::failure(Code::Unimplemented, "not in this test"),
    }
}

fn service(fake: &Fake) -> ModalService<Fake> {
    let endpoint = Endpoint::parse("https://api.example.com").unwrap();
    let client = Client::new(fake.clone(), endpoint, ClientOptions::default());
    let tags = vec![("zenml_run_id".to_owned(), "r1".to_owned())];
    ModalService::new(client, None, tags)
}

fn placement() -> Placement {
    Placement {
        gpu: None,
        cloud: Some(" ".into()),
        region: Some("eu".into()),
        modal_environment: Some(" main ".into()),
        timeout: 600,
        measure: Measure::default(),
    }
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn a_controller_gets_its_names_and_the_account_as_a_secret() {
    let fake = Fake::new(server);
    let service = service(&fake);
    let start = ControllerStart {
        run_id: "r1".into(),
        command: vec!["run".into()],
        image: "reg.io/i:1".into(),
        placement: placement(),
        resources: StepResources {
            memory: Some("2GB".into()),
            ..StepResources::default()
        },
        registry: Some(None),
        environment: vec![pair("A", "1"), pair("ZENML_MODAL_RUN_ID", "old")],
        credentials: TokenPair::configured(Some("ak-1"), Some("as-1")).unwrap(),
    };
    let started = fake.block_on(start_controller::<_, Infallible>(&service, start));
    let (sandbox, metadata) = started.unwrap();
    assert_eq!(service.id(&sandbox), "sb-1");
    assert_eq!(metadata["modal_environment"], "main");

    let app: AppGetOrCreateRequest = fake.sent_to("AppGetOrCreate")[0].decode();
    assert_eq!(
        (app.app_name.as_str(), app.environment_name.as_str()),
        ("zenml-r1", "main")
    );
    let create: SandboxCreateV2Request = fake.sent_to("SandboxCreateV2")[0].decode();
    assert_eq!(create.tags[0].tag_value, "r1");
    let definition = create.definition.unwrap();
    assert_eq!(definition.entrypoint_args, ["run"]);
    assert_eq!(definition.timeout_secs, 600);
    assert_eq!(definition.cloud_provider_str, "", "a blank is none");
    assert_eq!(definition.resources.unwrap().memory_mb, 2_000);
    let sources: Vec<_> = create
        .secret_sources
        .into_iter()
        .map(|source| match source.source {
            Some(Source::Env(variables)) => variables.contents,
            _ => panic!("variables travel in the request"),
        })
        .collect();
    assert_eq!(sources.len(), 2);
    assert_eq!(sources[0]["MODAL_TOKEN_SECRET"], "as-1");
    assert_eq!(sources[1]["ZENML_MODAL_RUN_ID"], "r1");
    assert!(!sources[1].contains_key("MODAL_TOKEN_ID"));
}

/// A server that publishes nothing.
struct Refuses;

impl StepMetadata for Refuses {
    type Error = &'static str;

    async fn publish(&self, _: &Map<String, Value>) -> Result<(), &'static str> {
        Err("no")
    }
}

#[test]
fn a_step_that_nobody_would_find_again_is_ended() {
    let fake = Fake::new(server);
    let service = service(&fake);
    let step = OperatorStep {
        step_run: "s1".into(),
        step: "train".into(),
        command: vec!["train".into()],
        image: "reg.io/i:1".into(),
    };
    let submission = StepSubmission {
        placement: placement(),
        resources: StepResources::default(),
        registry: Some(None),
        environment: Vec::new(),
    };
    let submitted = fake.block_on(submit_operator_step(&service, &Refuses, step, submission));
    assert_eq!(submitted.unwrap_err(), SubmitError::Records("no"));
    let ended: SandboxTerminateRequest = fake.sent_to("SandboxTerminateV2")[0].decode();
    assert_eq!(ended.sandbox_id, "sb-1");
}

#[test]
fn what_cannot_be_asked_for_creates_nothing() {
    let fake = Fake::new(server);
    let service = service(&fake);
    let step = OperatorStep {
        step_run: "s1".into(),
        step: "train".into(),
        command: vec!["train".into()],
        image: "reg.io/i:1".into(),
    };
    let submission = StepSubmission {
        placement: placement(),
        resources: StepResources {
            gpu_count: Some(1),
            ..StepResources::default()
        },
        registry: Some(None),
        environment: Vec::new(),
    };
    let submitted = fake.block_on(submit_operator_step(&service, &Refuses, step, submission));
    assert!(matches!(submitted, Err(SubmitError::Gpu(_))));
    assert!(fake.sent_to("SandboxCreateV2").is_empty());
}
