//! Creating sandboxes: ids, refusals, names, idempotency.

use futures::future::join_all;
use modal_local::Limits;
use modal_proto::client::{self as pb, GenericStatus};
use tonic::Code;

use crate::harness::{Local, New, app, code};

#[tokio::test]
async fn ids_tell_the_backends_apart() {
    let local = Local::start().await;
    let v2 = local.sandbox(["true"]).create().await;
    assert!(v2.id.starts_with("sb-") && !v2.is_v1(), "{}", v2.id);
    assert!(v2.task.starts_with("ta-") && v2.task.ends_with('V'));
    let v1 = local.sandbox(["true"]).create_v1().await;
    let letters = v1.id.strip_prefix("sb-").unwrap();
    assert_eq!(letters.len(), 22);
    assert!(letters.chars().all(|c| c.is_ascii_alphanumeric()));
    assert!(v1.task.starts_with("ta-") && !v1.task.ends_with('V'));

    // Each family of calls knows its own sandboxes only.
    let mut control = local.control();
    let wait = |id: &str| pb::SandboxWaitRequest {
        sandbox_id: id.to_owned(),
        timeout: 0.0,
    };
    assert_eq!(
        code(control.sandbox_wait(wait(&v2.id)).await),
        Code::NotFound
    );
    assert_eq!(
        code(control.sandbox_wait_v2(wait(&v1.id)).await),
        Code::NotFound
    );
    for id in [
        "sb-01HF7YAT00000000000000000X",
        "sb-0123456789012345678901",
        "x",
    ] {
        assert_eq!(code(control.sandbox_wait(wait(id)).await), Code::NotFound);
        assert_eq!(
            code(control.sandbox_wait_v2(wait(id)).await),
            Code::NotFound
        );
    }
    assert_eq!(
        code(control.sandbox_wait_v2(wait("")).await),
        Code::InvalidArgument
    );
    local.finish().await;
}

#[tokio::test]
async fn a_gpu_runs_on_the_older_backend() {
    let local = Local::start().await;
    let gpu = local.sandbox(["true"]).define(|sandbox| {
        sandbox.resources = Some(pb::Resources {
            gpu_config: Some(pb::GpuConfig {
                count: 2,
                gpu_type: "A100".into(),
                ..pb::GpuConfig::default()
            }),
            ..pb::Resources::default()
        });
    });
    assert_eq!(code(gpu.clone().try_create().await), Code::InvalidArgument);
    let sandbox = gpu.create_v1().await;
    sandbox.ends_with(GenericStatus::Success, 0).await;
    let list = pb::SandboxListRequest {
        app_id: local.app().to_owned(),
        include_finished: true,
        ..pb::SandboxListRequest::default()
    };
    let listed = local
        .control()
        .sandbox_list(list)
        .await
        .unwrap()
        .into_inner();
    let task = listed.sandboxes[0].task_info.clone().unwrap();
    assert_eq!(
        (task.gpu_type.as_str(), task.gpu_config.unwrap().count),
        ("A100", 2)
    );
    local.finish().await;
}

#[tokio::test]
async fn bad_requests_are_refused_with_the_reason() {
    let local = Local::start().await;
    let define = |change: fn(&mut pb::Sandbox)| local.sandbox(["true"]).define(change);
    let cases: [(New, Code, &str); 12] = [
        (local.sandbox(["true"]).app(""), Code::NotFound, "app"),
        (
            local.sandbox(["true"]).app("ap-none"),
            Code::NotFound,
            "ap-none",
        ),
        (
            define(|s| s.image_id.clear()),
            Code::InvalidArgument,
            "image_id",
        ),
        (
            define(|s| s.image_id = "im-none".into()),
            Code::NotFound,
            "im-none",
        ),
        (
            define(|s| s.workdir = Some("tmp".into())),
            Code::InvalidArgument,
            "absolute",
        ),
        (
            define(|s| s.workdir = Some("/\0".into())),
            Code::InvalidArgument,
            "NUL",
        ),
        (local.sandbox(["a\0b"]), Code::InvalidArgument, "NUL"),
        (local.sandbox([""]), Code::InvalidArgument, "command"),
        (
            local.sandbox(["true"]).env([("A=B", "x")]),
            Code::InvalidArgument,
            "A=B",
        ),
        (
            local.sandbox(["true"]).env([("", "x")]),
            Code::InvalidArgument,
            "variable",
        ),
        (
            local.sandbox(["true"]).env([("A", "\0")]),
            Code::InvalidArgument,
            "NUL",
        ),
        (
            local.sandbox(["true"]).name("no spaces"),
            Code::InvalidArgument,
            "no spaces",
        ),
    ];
    for (new, code, text) in cases {
        let status = new.try_create().await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(text), "{status}");
    }
    let unknown_secret = define(|s| s.secret_ids = vec!["st-none".into()]);
    assert_eq!(code(unknown_secret.try_create().await), Code::NotFound);
    let empty_tag = local.sandbox(["true"]).tag("", "x");
    assert_eq!(code(empty_tag.try_create().await), Code::InvalidArgument);
    let mut control = local.control();
    let undefined = pb::SandboxCreateV2Request {
        app_id: local.app().to_owned(),
        ..pb::SandboxCreateV2Request::default()
    };
    assert_eq!(
        code(control.sandbox_create_v2(undefined).await),
        Code::InvalidArgument
    );

    let all = pb::SandboxListRequest {
        app_id: local.app().to_owned(),
        include_finished: true,
        ..pb::SandboxListRequest::default()
    };
    let all = control.sandbox_list_v2(all).await.unwrap().into_inner();
    assert!(all.sandboxes.is_empty(), "something was created");
    local.finish().await;
}

#[tokio::test]
async fn a_name_is_taken_until_the_sandbox_ends() {
    let local = Local::start().await;
    let named = || local.sandbox(["sleep", "100"]).name("step-1");
    let first = named().create().await;
    let status = named().try_create().await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    assert!(status.message().contains(&first.id), "{status}");
    // Names belong to an app.
    let other_app = app(&mut local.control(), "other").await;
    let elsewhere = named().app(&other_app).create().await;

    let find = |include_terminated| pb::SandboxGetFromNameRequest {
        sandbox_name: "step-1".into(),
        app_name: "test".into(),
        include_terminated,
        ..pb::SandboxGetFromNameRequest::default()
    };
    let mut control = local.control();
    let found = control.sandbox_get_from_name_v2(find(false)).await.unwrap();
    assert_eq!(found.into_inner().sandbox_id, first.id);
    assert_eq!(
        code(control.sandbox_get_from_name(find(false)).await),
        Code::NotFound
    );

    first.terminate().await;
    assert_eq!(
        code(control.sandbox_get_from_name_v2(find(false)).await),
        Code::NotFound
    );
    let ended = control
        .sandbox_get_from_name_v2(find(true))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(ended.sandbox_id, first.id);
    assert!(ended.metadata.unwrap().result.is_some());
    let second = named().create().await;
    let found = control.sandbox_get_from_name_v2(find(true)).await.unwrap();
    assert_eq!(found.into_inner().sandbox_id, second.id);
    for sandbox in [second, elsewhere] {
        sandbox.terminate().await;
    }
    local.finish().await;
}

#[tokio::test]
async fn a_repeated_create_has_the_same_answer() {
    let local = Local::start().await;
    let new = |key: &str| local.sandbox(["true"]).name("once").key(key);
    let first = new("k1").create().await;
    let again = new("k1").create().await;
    assert_eq!((&first.id, &first.task), (&again.id, &again.task));
    first.ends_with(GenericStatus::Success, 0).await;
    // Also when it has ended meanwhile, and its name is free again.
    assert_eq!(new("k1").create().await.id, first.id);
    assert_ne!(new("k2").create().await.id, first.id);

    let v1 = |key: &str| local.sandbox(["true"]).key(key);
    let first = v1("k1").create_v1().await;
    assert_eq!(v1("k1").create_v1().await.id, first.id);
    assert_ne!(v1("k3").create_v1().await.id, first.id);

    // All attempts at once.
    let attempts = (0..30).map(|_| local.sandbox(["true"]).tag("race", "1").key("k9").create());
    let mut ids: Vec<String> = join_all(attempts).await.into_iter().map(|s| s.id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
    local.finish().await;
}

#[tokio::test]
async fn there_is_a_limit_to_what_runs_at_once() {
    let local = Local::with(|options| {
        options.limits = Limits {
            running_sandboxes: 2,
            ..options.limits.clone()
        };
    })
    .await;
    let one = local.sandbox(["sleep", "100"]).create().await;
    let two = local.sandbox(["sleep", "100"]).create().await;
    let third = local.sandbox(["true"]).try_create().await;
    assert_eq!(code(third), Code::ResourceExhausted);
    one.terminate().await;
    let third = local.sandbox(["true"]).create().await;
    third.ends_with(GenericStatus::Success, 0).await;
    two.terminate().await;
    local.finish().await;
}
