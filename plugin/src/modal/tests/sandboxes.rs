//! Create requests of both backends, waiting and ending.

use super::{client, client_with, with_auth};
use crate::environment::split;
use crate::modal::ClientOptions;
use crate::modal::result::Ending;
use crate::modal::retry::Policy;
use crate::modal::sandbox::{SandboxHandle, SandboxSpec, TaskId};
use crate::resources::cpu::MilliCpu;
use crate::resources::gpu::{self, Choice, Gpu};
use crate::testing::{Fake, Reply};
use modal_proto::client::sandbox::OpenPortsOneof;
use modal_proto::client::secret_source::Source;
use modal_proto::client::{
    CommandRouterAccess, GenericResult, SandboxCreateRequest, SandboxCreateResponse,
    SandboxCreateV2Request, SandboxCreateV2Response, SandboxGetTaskIdResponse, SandboxWaitResponse,
    SecretGetOrCreateRequest, SecretGetOrCreateResponse,
};
use std::time::Duration;
use tonic::Code;

const V1: &str = "sb-0123456789ABCDEFabcdef";

fn spec() -> SandboxSpec {
    let variables = [("A", "1"), ("MODAL_TOKEN_ID", "ak")];
    SandboxSpec {
        app_id: "ap-1".into(),
        image_id: "im-1".into(),
        command: vec!["sleep".into(), "100".into()],
        environment: split(variables.map(|(name, value)| (name.into(), value.into()))),
        cpu: MilliCpu::from_cores(2.0).unwrap(),
        memory: 2048,
        region: Some("us-east-1".into()),
        cloud: Some("aws".into()),
        timeout: 3600,
        name: Some("train.0".into()),
        tags: vec![("zenml_run_id".into(), "r".into())],
        gpu: None,
    }
}

fn gpu() -> Option<Gpu> {
    match gpu::choose(Some("a100-80gb:4"), None, gpu::ORCHESTRATOR).unwrap() {
        Choice::Gpu(gpu) => Some(gpu),
        _ => None,
    }
}

fn created_v2() -> Reply {
    Reply::ok(&SandboxCreateV2Response {
        sandbox_id: "sb-01JABCDEFGHJKMNPQRSTVWXYZ0".into(),
        task_id: "ta-1V".into(),
        sandbox_token: "proof".into(),
        command_router_access: Some(CommandRouterAccess {
            jwt: "j".into(),
            url: "https://worker.example.com:443".into(),
        }),
        ..SandboxCreateV2Response::default()
    })
}

fn server() -> Fake {
    let mut secrets = 0;
    with_auth(move |sent| match sent.method.as_str() {
        "SandboxCreateV2" => created_v2(),
        "SandboxCreate" => Reply::ok(&SandboxCreateResponse {
            sandbox_id: V1.into(),
            ..SandboxCreateResponse::default()
        }),
        "SecretGetOrCreate" => {
            secrets += 1;
            Reply::ok(&SecretGetOrCreateResponse {
                secret_id: format!("st-{secrets}"),
                ..SecretGetOrCreateResponse::default()
            })
        }
        _ => Reply::ok(&SandboxWaitResponse::default()),
    })
}

#[test]
fn without_a_gpu_the_newer_backend_gets_everything_inline() {
    let fake = server();
    let handle = fake
        .block_on(client(&fake).create_sandbox(&spec(), "the-key", None))
        .unwrap();
    assert_eq!(handle.task_id.as_deref(), Some("ta-1V"));
    assert_eq!(fake.methods(), ["AuthTokenGet", "SandboxCreateV2"]);
    let sent = &fake.sent()[1];
    assert_eq!(sent.header("x-idempotency-key"), Some("the-key"));
    let request: SandboxCreateV2Request = sent.decode();
    assert_eq!(request.tags[0].tag_name, "zenml_run_id");
    let variables: Vec<_> = request
        .secret_sources
        .iter()
        .map(|source| match source.source.as_ref().unwrap() {
            Source::Env(map) => map.contents.keys().cloned().collect::<Vec<_>>(),
            Source::SecretId(_) => panic!("nothing is stored"),
        })
        .collect();
    assert_eq!(variables, [["MODAL_TOKEN_ID"], ["A"]]);
    let definition = request.definition.unwrap();
    assert_eq!(definition.entrypoint_args, ["sleep", "100"]);
    assert_eq!(
        (
            definition.timeout_secs,
            definition.cloud_provider_str.as_str()
        ),
        (3600, "aws")
    );
    assert_eq!(
        definition.scheduler_placement.unwrap().regions,
        ["us-east-1"]
    );
    assert_eq!(
        definition.open_ports_oneof,
        Some(OpenPortsOneof::OpenPorts(Default::default()))
    );
    assert_eq!(definition.network_access.unwrap().network_access_type, 1);
    assert_eq!(definition.name.as_deref(), Some("train.0"));
    let resources = definition.resources.unwrap();
    assert_eq!((resources.milli_cpu, resources.memory_mb), (2000, 2048));
    assert_eq!(resources.gpu_config, Some(Default::default()));
}

#[test]
fn what_is_not_asked_for_is_not_sent() {
    let fake = server();
    let bare = SandboxSpec {
        timeout: 300,
        ..SandboxSpec::default()
    };
    fake.block_on(client(&fake).create_sandbox(&bare, "k", None))
        .unwrap();
    let request: SandboxCreateV2Request = fake.sent_to("SandboxCreateV2")[0].decode();
    assert!(request.secret_sources.is_empty());
    let definition = request.definition.unwrap();
    assert_eq!(definition.scheduler_placement, None);
    let resources = definition.resources.unwrap();
    assert_eq!((resources.milli_cpu, resources.memory_mb), (0, 0));
}

#[test]
fn with_a_gpu_the_older_backend_gets_secrets_by_id() {
    let fake = server();
    let spec = SandboxSpec {
        gpu: gpu(),
        ..spec()
    };
    let handle = fake
        .block_on(client(&fake).create_sandbox(&spec, "k", None))
        .unwrap();
    assert_eq!(handle, SandboxHandle::attached(V1.into()));
    assert_eq!(
        fake.methods(),
        ["SecretGetOrCreate", "SecretGetOrCreate", "SandboxCreate"]
    );
    let first: SecretGetOrCreateRequest = fake.sent()[0].decode();
    assert!(first.env_dict.contains_key("MODAL_TOKEN_ID"));
    let request: SandboxCreateRequest = fake.sent()[2].decode();
    let definition = request.definition.unwrap();
    // Plain variables last: they win where a name is in both.
    assert_eq!(definition.secret_ids, ["st-1", "st-2"]);
    let gpu = definition.resources.unwrap().gpu_config.unwrap();
    assert_eq!((gpu.gpu_type.as_str(), gpu.count), ("A100-80GB", 4));
    assert!(fake.sent_to("AuthTokenGet").is_empty());
}

#[test]
fn the_older_backend_can_be_asked_for() {
    let fake = server();
    let options = ClientOptions {
        sandbox_v2: false,
        ..ClientOptions::default()
    };
    fake.block_on(client_with(&fake, options).create_sandbox(&spec(), "k", None))
        .unwrap();
    assert_eq!(fake.sent_to("SandboxCreate").len(), 1);
}

#[test]
fn a_create_is_repeated_with_its_key_through_an_outage() {
    let mut failures = 8;
    let fake = with_auth(move |_| {
        failures -= 1;
        match failures {
            0 => created_v2(),
            _ => Reply::failure(Code::Unavailable, "restarting"),
        }
    });
    fake.block_on(client(&fake).create_sandbox(&spec(), "k", None))
        .unwrap();
    let creates = fake.sent_to("SandboxCreateV2");
    assert_eq!(creates.len(), 8);
    assert!(
        creates
            .iter()
            .all(|sent| sent.header("x-idempotency-key") == Some("k"))
    );
}

#[test]
fn the_proof_of_creation_goes_with_later_calls() {
    let fake = server();
    let client = client(&fake);
    let handle = fake
        .block_on(client.create_sandbox(&spec(), "k", None))
        .unwrap();
    fake.block_on(client.terminate_sandbox(&handle, Duration::ZERO))
        .unwrap();
    let attached = SandboxHandle::attached(handle.id);
    fake.block_on(client.terminate_sandbox(&attached, Duration::ZERO))
        .unwrap();
    let sent = fake.sent_to("SandboxTerminateV2");
    assert_eq!(sent[0].header("x-modal-sandbox-token"), Some("proof"));
    assert_eq!(sent[1].header("x-modal-sandbox-token"), None);
}

#[test]
fn a_wait_is_held_by_the_server_and_bounded_here() {
    let fake = Fake::replying([
        Reply::ok(&SandboxWaitResponse::default()),
        Reply::ok(&SandboxWaitResponse {
            result: Some(GenericResult {
                status: 4,
                ..GenericResult::default()
            }),
            ..SandboxWaitResponse::default()
        }),
    ]);
    let client = client(&fake);
    let sandbox = SandboxHandle::attached(V1.into());
    let wait = || {
        fake.block_on(client.wait_sandbox(&sandbox, 10.0, Policy::ONCE))
            .unwrap()
    };
    assert_eq!(wait(), None);
    assert_eq!(wait(), Some(Ending::TimedOut));
    assert_eq!(fake.sent()[0].deadline.head, Duration::from_secs(15));
}

#[test]
fn a_sandbox_is_asked_for_its_task_until_it_has_one() {
    let unscheduled = || Reply::ok(&SandboxGetTaskIdResponse::default());
    let fake = Fake::replying([
        unscheduled(),
        Reply::failure(Code::InvalidArgument, "never mind"),
    ]);
    let sandbox = SandboxHandle::attached(V1.into());
    assert!(fake.block_on(client(&fake).task_id(&sandbox)).is_err());
    assert_eq!(fake.sleeps(), [500]);

    let fake = Fake::replying([
        unscheduled(),
        Reply::ok(&SandboxGetTaskIdResponse {
            task_id: Some("ta-9".into()),
            ..SandboxGetTaskIdResponse::default()
        }),
    ]);
    let task = fake.block_on(client(&fake).task_id(&sandbox)).unwrap();
    assert_eq!(task, TaskId::Scheduled("ta-9".into()));
}
