//! Tags and listings.

use std::collections::BTreeSet;

use modal_proto::client::{self as pb, GenericStatus};
use tonic::Code;

use crate::harness::{Local, Sandbox, app, code, tag};

fn of_app(app: &str) -> pb::SandboxListRequest {
    pb::SandboxListRequest {
        app_id: app.to_owned(),
        ..pb::SandboxListRequest::default()
    }
}

async fn list(local: &Local, request: pb::SandboxListRequest) -> Vec<pb::SandboxInfo> {
    let response = local.control().sandbox_list_v2(request).await;
    response.unwrap().into_inner().sandboxes
}

fn ids(sandboxes: &[pb::SandboxInfo]) -> Vec<&str> {
    sandboxes
        .iter()
        .map(|sandbox| sandbox.id.as_str())
        .collect()
}

async fn set_tags(local: &Local, sandbox: &Sandbox, tags: &[(&str, &str)]) {
    let request = pb::SandboxTagsSetRequest {
        sandbox_id: sandbox.id.clone(),
        tags: tags.iter().map(|(name, value)| tag(name, value)).collect(),
        ..pb::SandboxTagsSetRequest::default()
    };
    let mut control = local.control();
    if sandbox.is_v1() {
        control.sandbox_tags_set(request).await.unwrap();
    } else {
        control.sandbox_tags_set_v2(request).await.unwrap();
    }
}

#[tokio::test]
async fn setting_tags_replaces_all_of_them() {
    let local = Local::start().await;
    let new = local.sandbox(["sleep", "100"]).tag("a", "1").tag("b", "2");
    let v1 = new.clone().create_v1().await;
    let v2 = new.create().await;
    let mut control = local.control();
    let get = |sandbox: &Sandbox| pb::SandboxTagsGetRequest {
        sandbox_id: sandbox.id.clone(),
    };
    let before = [tag("a", "1"), tag("b", "2")];
    let tags = control.sandbox_tags_get_v2(get(&v2)).await.unwrap();
    assert_eq!(tags.into_inner().tags, before);
    let tags = control.sandbox_tags_get(get(&v1)).await.unwrap();
    assert_eq!(tags.into_inner().tags, before);
    for sandbox in [&v1, &v2] {
        set_tags(&local, sandbox, &[("c", "3"), ("a", "9")]).await;
    }
    let tags = control.sandbox_tags_get_v2(get(&v2)).await.unwrap();
    assert_eq!(tags.into_inner().tags, [tag("a", "9"), tag("c", "3")]);

    let tagged = |tags: &[(&str, &str)]| pb::SandboxListRequest {
        tags: tags.iter().map(|(name, value)| tag(name, value)).collect(),
        ..of_app(local.app())
    };
    // Both backends, newest first; every given tag must be there.
    let both = [v2.id.as_str(), v1.id.as_str()];
    assert_eq!(ids(&list(&local, tagged(&[("c", "3")])).await), both);
    assert_eq!(
        ids(&list(&local, tagged(&[("a", "9"), ("c", "3")])).await),
        both
    );
    for none in [&[("b", "2")][..], &[("a", "1")], &[("a", "9"), ("d", "")]] {
        assert!(list(&local, tagged(none)).await.is_empty(), "{none:?}");
    }
    set_tags(&local, &v1, &[]).await;
    assert_eq!(
        ids(&list(&local, tagged(&[("c", "3")])).await),
        [v2.id.as_str()]
    );

    // Also those of ended sandboxes.
    for sandbox in [&v1, &v2] {
        sandbox.terminate().await;
        set_tags(&local, sandbox, &[("late", "1")]).await;
    }
    let late = pb::SandboxListRequest {
        include_finished: true,
        ..tagged(&[("late", "1")])
    };
    assert_eq!(ids(&list(&local, late).await), both);
    let unknown = pb::SandboxTagsSetRequest {
        sandbox_id: "sb-none".into(),
        ..pb::SandboxTagsSetRequest::default()
    };
    assert_eq!(
        code(control.sandbox_tags_set_v2(unknown).await),
        Code::NotFound
    );
    local.finish().await;
}

#[tokio::test]
async fn finished_sandboxes_are_listed_on_request_with_their_results() {
    let local = Local::start().await;
    let failed = local.script("exit 3").name("failed").create().await;
    failed.ends_with(GenericStatus::Failure, 3).await;
    let running = local.sandbox(["sleep", "100"]).timeout(77).create().await;

    let listed = list(&local, of_app(local.app())).await;
    assert_eq!(ids(&listed), [running.id.as_str()]);
    let task = listed[0].task_info.clone().unwrap();
    assert_eq!(task.result, None);
    assert_eq!(listed[0].metadata.clone().unwrap().result, None);
    assert_eq!(
        (listed[0].timeout_secs, listed[0].app_id.as_str()),
        (77, local.app())
    );
    assert_eq!(listed[0].image_id, local.image());

    let all = pb::SandboxListRequest {
        include_finished: true,
        ..of_app(local.app())
    };
    let listed = list(&local, all).await;
    assert_eq!(ids(&listed), [running.id.as_str(), failed.id.as_str()]);
    assert_eq!(listed[1].name, "failed");
    let task = listed[1].task_info.clone().unwrap();
    let result = task.result.unwrap();
    assert_eq!(
        (result.status(), result.exitcode),
        (GenericStatus::Failure, 3)
    );
    assert_eq!(task.id, failed.task);
    assert!(listed[1].created_at <= task.started_at);
    assert!(task.started_at <= task.finished_at);
    running.terminate().await;
    local.finish().await;
}

#[tokio::test]
async fn paging_loses_nothing() {
    let local = Local::with(|options| options.limits.list_page = 7).await;
    let mut created = Vec::new();
    for number in 0..30 {
        // Ended in the meantime or not, on either backend.
        let new = local.sandbox(["true"]);
        created.push(if number % 3 == 0 {
            new.create_v1().await.id
        } else {
            new.create().await.id
        });
    }
    created.reverse();
    let mut request = pb::SandboxListRequest {
        include_finished: true,
        ..of_app(local.app())
    };
    let (mut listed, mut times) = (Vec::new(), BTreeSet::new());
    loop {
        let page = list(&local, request.clone()).await;
        assert!(page.len() <= 7);
        let Some(last) = page.last() else { break };
        request.before_timestamp = last.created_at;
        times.extend(page.iter().map(|sandbox| sandbox.created_at.to_bits()));
        listed.extend(page.into_iter().map(|sandbox| sandbox.id));
    }
    assert_eq!(listed, created);
    assert_eq!(times.len(), 30, "creation times are unique");
    local.finish().await;
}

#[tokio::test]
async fn the_older_listing_knows_the_older_backend() {
    let local = Local::start().await;
    let v1 = local.sandbox(["sleep", "100"]).create_v1().await;
    let v2 = local.sandbox(["sleep", "100"]).create().await;
    let listed = local.control().sandbox_list(of_app(local.app())).await;
    assert_eq!(
        ids(&listed.unwrap().into_inner().sandboxes),
        [v1.id.as_str()]
    );
    for sandbox in [v1, v2] {
        sandbox.terminate().await;
    }
    local.finish().await;
}

#[tokio::test]
async fn a_listing_is_of_an_app_or_of_an_environment() {
    let local = Local::start().await;
    let mut control = local.control();
    let other = app(&mut control, "other").await;
    let staging = pb::AppGetOrCreateRequest {
        app_name: "test".into(),
        environment_name: "staging".into(),
        object_creation_type: pb::ObjectCreationType::CreateIfMissing.into(),
    };
    let staging = control
        .app_get_or_create(staging)
        .await
        .unwrap()
        .into_inner()
        .app_id;
    let new = || local.sandbox(["sleep", "100"]);
    let here = new().create().await;
    let there = new().app(&other).create().await;
    let staged = new().app(&staging).create().await;

    assert_eq!(
        ids(&list(&local, of_app(local.app())).await),
        [here.id.as_str()]
    );
    // The environment a client is configured for does not matter with an app.
    let foreign = pb::SandboxListRequest {
        environment_name: "elsewhere".into(),
        ..of_app(&staging)
    };
    assert_eq!(ids(&list(&local, foreign).await), [staged.id.as_str()]);
    let of_environment = |name: &str| pb::SandboxListRequest {
        environment_name: name.to_owned(),
        ..pb::SandboxListRequest::default()
    };
    let main = list(&local, of_environment("")).await;
    assert_eq!(ids(&main), [there.id.as_str(), here.id.as_str()]);
    assert_eq!(
        ids(&list(&local, of_environment("staging")).await),
        [staged.id.as_str()]
    );
    assert_eq!(
        code(control.sandbox_list_v2(of_app("ap-none")).await),
        Code::NotFound
    );
    for sandbox in [here, there, staged] {
        sandbox.terminate().await;
    }
    local.finish().await;
}
