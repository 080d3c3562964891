//! Steps of earlier runs whose results stand for later ones.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a failing test is what they are for"
)]

use flavor_host::contract::{
    ExecutionMode, Pipeline, Resources, Retry, RunStatus, Step, StepStatus,
};
use flavor_host::credentials::{Secret, modal::TokenPair};
use flavor_host::store::SqliteStore;
use flavor_host::{Host, Plugin, RunRequest, Target};
use std::path::Path;
use std::sync::Arc;

/// Appends a line to a file: what has run can be counted.
fn step(name: &str, after: &[&str], file: &Path) -> Step {
    Step {
        name: name.into(),
        command: ["sh", "-c", "echo $0 >> $1", name]
            .into_iter()
            .map(Into::into)
            .chain([file.to_string_lossy().into_owned()])
            .collect(),
        after: after.iter().map(|name| (*name).into()).collect(),
        image: "python:3.11-slim".into(),
        settings: "{}".into(),
        resources: Resources {
            cpu_count: None,
            gpu_count: None,
            memory: None,
        },
        environment: Vec::new(),
        retry: Retry {
            max_retries: 0,
            delay: 0.0,
            backoff: 1.0,
        },
    }
}

async fn run(
    plugin: &Plugin,
    target: &Target,
    store: &SqliteStore,
    run_id: &str,
    file: &Path,
) -> Vec<(String, StepStatus)> {
    let pipeline = Pipeline {
        run_id: run_id.into(),
        name: "cached".into(),
        execution_mode: ExecutionMode::FailFast,
        max_parallelism: None,
        steps: vec![step("first", &[], file), step("second", &["first"], file)],
    };
    let mut request = RunRequest::new(pipeline, target.clone(), Arc::new(store.clone()));
    request.cache_keys = [("first".to_owned(), "d530a9f1".to_owned())].into();
    let finished = plugin.run(request).await.unwrap().finish().await.unwrap();
    assert_eq!(finished.status, RunStatus::Completed);
    finished.steps
}

#[tokio::test]
async fn a_step_with_a_known_key_does_not_run_again() {
    let directory = tempfile::tempdir().unwrap();
    let modal = modal_local::Server::start(modal_local::Options::default())
        .await
        .unwrap();
    let account = modal.credentials();
    let pair = TokenPair::new(&account.token_id, Secret::new(&account.token_secret)).unwrap();
    let target = Target::new(&modal.url(), pair).unwrap();
    let plugin = Host::new()
        .unwrap()
        .load(default_plugin::COMPONENT)
        .await
        .unwrap();
    let store = SqliteStore::open(&directory.path().join("runs.db"), false).unwrap();
    let file = directory.path().join("ran");

    let steps = |first| {
        vec![
            ("first".to_owned(), first),
            ("second".to_owned(), StepStatus::Completed),
        ]
    };
    let once = run(&plugin, &target, &store, "once", &file).await;
    assert_eq!(once, steps(StepStatus::Completed));
    let again = run(&plugin, &target, &store, "again", &file).await;
    assert_eq!(again, steps(StepStatus::Cached));
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        "first\nsecond\nsecond\n"
    );

    let recorded = store.run("again").await.unwrap().unwrap();
    let statuses: Vec<StepStatus> = recorded.steps.iter().map(|step| step.status).collect();
    assert_eq!(statuses, [StepStatus::Cached, StepStatus::Completed]);
    assert_eq!(recorded.steps[0].sandbox, None);
    modal.shutdown().await;
}
