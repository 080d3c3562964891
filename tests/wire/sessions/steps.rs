//! Single steps for another orchestrator.

use super::{connection, not_opened, server};
use crate::Test;
use crate::flavor::{block_on, plugin};
use crate::foreign::Foreign;
use flavor_host::contract::{self, Resources, StepStatus, StepSubmission};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    ("steps::to_their_ends", to_their_ends),
    ("steps::through_faults", through_faults),
    ("steps::cancelled", cancelled),
    ("steps::what_is_refused", what_is_refused),
    ("steps::docker_builds", docker_builds),
];

fn submission(step: &str) -> StepSubmission {
    StepSubmission {
        run_id: "run-1".to_owned(),
        step: step.to_owned(),
        command: vec!["python".to_owned(), "step.py".to_owned()],
        image: "python:3.11-slim".to_owned(),
        settings: "{}".to_owned(),
        resources: Resources {
            cpu_count: None,
            gpu_count: None,
            memory: None,
        },
        environment: vec![("A".to_owned(), "1".to_owned())],
    }
}

async fn submit(server: &Foreign, step: &str) -> String {
    let submitted = plugin().submit_step(connection(server), submission(step));
    submitted.await.expect("the step starts")
}

fn to_their_ends() {
    let server = Foreign::start();
    for (script, status) in [
        (json!({"duration": 0.2}), StepStatus::Completed),
        (json!({"duration": 0.2, "exit_code": 3}), StepStatus::Failed),
        // A failure that calls itself a success.
        (json!({"duration": 0.2, "status": 10}), StepStatus::Failed),
    ] {
        server.script("*", script.clone());
        block_on(async {
            let metadata = submit(&server, "train").await;
            let document: Value = serde_json::from_str(&metadata).unwrap();
            assert!(document.is_object(), "{metadata}");
            let waited = plugin().wait_for_step(connection(&server), metadata.clone());
            assert_eq!(waited.await.unwrap(), status, "{script}");
            let asked = plugin().step_status(connection(&server), metadata);
            assert_eq!(asked.await.unwrap(), status, "{script}");
        });
    }
}

fn through_faults() {
    let server = Foreign::start();
    server.script("*", json!({"duration": 0.5}));
    block_on(async {
        server.fail_at_random(0.3, 11);
        let steps = (0..6).map(async |number| {
            let metadata = submit(&server, &format!("step-{number}")).await;
            let waited = plugin().wait_for_step(connection(&server), metadata);
            assert_eq!(waited.await.unwrap(), StepStatus::Completed);
        });
        futures::future::join_all(steps).await;
    });
    assert_eq!(server.sandboxes().len(), 6);
}

fn cancelled() {
    let server = server();
    block_on(async {
        let metadata = submit(&server, "train").await;
        let asked = plugin().step_status(connection(&server), metadata.clone());
        assert_eq!(asked.await.unwrap(), StepStatus::Running);
        let cancel = || plugin().cancel_step(connection(&server), metadata.clone());
        let rpc = "SandboxTerminateV2";
        server
            .fault(json!({"rpc": rpc, "kind": "status", "code": "PERMISSION_DENIED", "nth": [1]}));
        assert!(cancel().await.is_err());
        cancel().await.unwrap();
        assert!(server.sandboxes()[0].terminated);
        let waited = plugin().wait_for_step(connection(&server), metadata.clone());
        assert!(!matches!(
            waited.await.unwrap(),
            StepStatus::Completed | StepStatus::Running
        ));
        // Once more is no harm.
        cancel().await.unwrap();
    });
}

fn what_is_refused() {
    let server = server();
    block_on(async {
        for (submission, place) in [
            (
                StepSubmission {
                    settings: r#"{"timeout": 0}"#.to_owned(),
                    ..submission("train")
                },
                "settings",
            ),
            (
                StepSubmission {
                    resources: Resources {
                        cpu_count: None,
                        gpu_count: None,
                        memory: Some("much".to_owned()),
                    },
                    ..submission("train")
                },
                "resources",
            ),
        ] {
            let refused = plugin().submit_step(connection(&server), submission).await;
            let contract::Error::Invalid(faults) = not_opened(refused.unwrap_err()) else {
                panic!("{place}: not refused")
            };
            assert_eq!(faults[0].path[0], place);
        }
        assert!(server.sandboxes().is_empty());
        let asked = plugin().step_status(connection(&server), "{}".to_owned());
        let error = not_opened(asked.await.unwrap_err());
        assert!(matches!(error, contract::Error::Invalid(_)));
    });
}

fn docker_builds() {
    let snapshot = json!({
        "stack": {"components": {"step_operator": [{"name": "modal"}]}},
        "step_configurations": {
            "plain": {"config": {"step_operator": null, "settings": {}}},
            "train": {"config": {
                "step_operator": "modal", "settings": {"docker": {"parent_image": "x"}},
            }},
        },
    });
    let builds = block_on(plugin().docker_builds(snapshot.to_string())).unwrap();
    let [build] = &*builds else {
        panic!("one build: {builds:?}")
    };
    assert_eq!(
        (&*build.step, &*build.settings),
        ("train", r#"{"parent_image":"x"}"#)
    );
}
