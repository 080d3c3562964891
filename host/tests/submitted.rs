//! Runs and steps that live without this host, on the local Modal.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failing test is what they are for"
)]

mod world;

use flavor_host::contract::{
    self, Resources, RunRecord, RunStatus, StackComponent, StepStatus, StepSubmission, StopMode,
    Submission,
};
use flavor_host::{Connection, Error, StartError};
use serde_json::json;
use std::time::Duration;
use world::World;

const NOTHING: Resources = Resources {
    cpu_count: None,
    gpu_count: None,
    memory: None,
};

fn submission(step: Option<&str>, script: &str) -> Submission {
    Submission {
        run_id: "run".into(),
        step: step.map(Into::into),
        command: ["sh", "-c", script].map(Into::into).into(),
        image: "image".into(),
        settings: "{}".into(),
        resources: NOTHING,
        environment: Vec::new(),
        dynamic: false,
    }
}

/// Looks until something stands as it is to stand.
async fn until<T: PartialEq + std::fmt::Debug>(look: impl AsyncFn() -> T, expected: T) {
    let waiting = async {
        while look().await != expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(waited.is_ok(), "never {expected:?}");
}

#[tokio::test]
async fn a_controller_gets_the_account_only_when_that_is_granted() {
    let world = World::new().await;
    let script = "test -n \"$MODAL_TOKEN_SECRET\" && sleep 1000";
    let submit = async |connection: Connection| {
        world
            .plugin
            .submit(connection, submission(None, script))
            .await
    };
    match submit(world.connection()).await {
        Err(StartError::Run(Error::Plugin(contract::Error::Refused(refusal)))) => {
            assert!(
                refusal.reason.contains("forward-credentials"),
                "{refusal:?}"
            );
        }
        other => panic!("{other:?}"),
    }
    let granted = Connection {
        forward_credentials: true,
        ..world.connection()
    };
    let submitted = submit(granted).await.unwrap();
    assert!(submitted.sandbox.starts_with("sb-"));
    let record = || RunRecord {
        run_id: "run".into(),
        status: RunStatus::Running,
        metadata: submitted.metadata.clone(),
        steps: Vec::new(),
    };
    let status = async || {
        let fetched = world
            .plugin
            .fetch_status(world.connection(), record(), true);
        fetched.await.unwrap().0
    };
    assert_eq!(status().await, RunStatus::Running);
    let stopped = world
        .plugin
        .stop_submitted(world.connection(), record(), StopMode::Force);
    stopped.await.unwrap();
    let listed = world.plugin.step_status(
        world.connection(),
        json!({ "sandbox_id": submitted.sandbox }).to_string(),
    );
    assert_ne!(listed.await.unwrap(), StepStatus::Running);
}

#[tokio::test]
async fn an_isolated_step_is_looked_at_and_stopped() {
    let world = World::new().await;
    let submit = async |script| {
        let submitted = world
            .plugin
            .submit(world.connection(), submission(Some("step"), script));
        submitted.await.unwrap().metadata
    };
    let status = async |metadata: &str| {
        let status = world
            .plugin
            .isolated_step_status(world.connection(), metadata.to_owned());
        status.await.unwrap()
    };
    let (done, failing, endless) = (
        submit("true").await,
        submit("exit 3").await,
        submit("sleep 1000").await,
    );
    until(async || status(&done).await, StepStatus::Completed).await;
    until(async || status(&failing).await, StepStatus::Failed).await;
    assert_eq!(status(&endless).await, StepStatus::Running);
    let stopped = world
        .plugin
        .stop_isolated_step(world.connection(), endless.clone());
    stopped.await.unwrap();
    assert_ne!(status(&endless).await, StepStatus::Running);
}

#[tokio::test]
async fn a_single_step_is_waited_for_and_cancelled() {
    let world = World::new().await;
    let submit = async |script: &str| {
        let submission = StepSubmission {
            run_id: "run".into(),
            step: "step".into(),
            command: ["sh", "-c", script].map(Into::into).into(),
            image: "image".into(),
            settings: "{}".into(),
            resources: NOTHING,
            environment: Vec::new(),
        };
        let submitted = world.plugin.submit_step(world.connection(), submission);
        submitted.await.unwrap()
    };
    for (script, expected) in [
        ("true", StepStatus::Completed),
        ("exit 3", StepStatus::Failed),
    ] {
        let metadata = submit(script).await;
        let waited = world.plugin.wait_for_step(world.connection(), metadata);
        assert_eq!(waited.await.unwrap(), expected);
    }
    let endless = submit("sleep 1000").await;
    {
        // Giving up waiting leaves it alone.
        let waiting = world
            .plugin
            .wait_for_step(world.connection(), endless.clone());
        let waited = tokio::time::timeout(Duration::from_millis(200), waiting).await;
        assert!(waited.is_err());
    }
    let status = world
        .plugin
        .step_status(world.connection(), endless.clone());
    assert_eq!(status.await.unwrap(), StepStatus::Running);
    let cancelled = world
        .plugin
        .cancel_step(world.connection(), endless.clone());
    cancelled.await.unwrap();
    let waited = world.plugin.wait_for_step(world.connection(), endless);
    assert_eq!(waited.await.unwrap(), StepStatus::Failed);
}

#[tokio::test]
async fn a_stack_with_local_parts_is_refused() {
    let world = World::new().await;
    let component = |name: &str, kind: &str, flavor: &str, is_local| StackComponent {
        name: name.into(),
        kind: kind.into(),
        flavor: flavor.into(),
        is_local,
        local_path: None,
        config: "{}".into(),
    };
    let stack = |is_local| {
        vec![
            component("store", "artifact_store", "s3", is_local),
            component("registry", "container_registry", "gcp", false),
            component("builder", "image_builder", "local", true),
        ]
    };
    world.plugin.validate_stack(stack(false)).await.unwrap();
    match world.plugin.validate_stack(stack(true)).await {
        Err(Error::Plugin(contract::Error::Invalid(faults))) => {
            assert!(faults[0].message.contains("local"), "{faults:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn steps_of_the_operator_need_images() {
    let world = World::new().await;
    let snapshot = json!({
        "stack": {"components": {"step_operator": [{"name": "modal"}]}},
        "step_configurations": {
            "train": {"config": {"step_operator": "modal"}},
            "local": {"config": {"step_operator": null}},
        },
    });
    let builds = world
        .plugin
        .docker_builds(snapshot.to_string())
        .await
        .unwrap();
    let steps: Vec<&str> = builds.iter().map(|build| build.step.as_str()).collect();
    assert_eq!(steps, ["train"]);
    assert!(world.plugin.docker_builds("[]".into()).await.is_err());
}
