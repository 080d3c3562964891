//! Wide pipelines through the real plugin, against a server that is slow to
//! answer, fails, or says that it is too much.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking, their helpers too"
)]

use flavor_host::contract::{
    Event, ExecutionMode, Pipeline, Resources, Retry, RunFinished, RunStatus, Step,
};
use flavor_host::credentials::Secret;
use flavor_host::credentials::modal::TokenPair;
use flavor_host::store::MemoryStore;
use flavor_host::{Host, Plugin, RunRequest, Target};
use scripted_modal::{Faults, Script, Server, Throttle};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

async fn plugin() -> Plugin {
    let host = Host::new().unwrap();
    host.load(default_plugin::COMPONENT).await.unwrap()
}

/// Steps that all may run at once.
fn pipeline(steps: usize, command: &[&str]) -> Pipeline {
    let step = |number| Step {
        name: format!("step-{number}"),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        after: Vec::new(),
        image: "image".into(),
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
    };
    Pipeline {
        run_id: "wide".into(),
        name: "wide".into(),
        execution_mode: ExecutionMode::ContinueOnFailure,
        max_parallelism: None,
        steps: (0..steps).map(step).collect(),
    }
}

/// How a run ended, and what each of its steps wrote.
async fn run(
    plugin: &Plugin,
    server: &Server,
    pipeline: Pipeline,
) -> (RunFinished, HashMap<String, Vec<u8>>) {
    let credentials = TokenPair::new("ak-1", Secret::new("as-1")).unwrap();
    let target = Target::new(server.url(), credentials).unwrap();
    let request = RunRequest::new(pipeline, target, Arc::new(MemoryStore::new()));
    let mut run = plugin.run(request).await.unwrap();
    let mut outputs: HashMap<String, Vec<u8>> = HashMap::new();
    while let Some(event) = run.next().await {
        match event {
            Event::Output(output) => {
                let kept = outputs.entry(output.step).or_default();
                kept.extend_from_slice(&output.data);
            }
            Event::OutputLost(lost) => panic!("{} lost output", lost.step),
            _ => {}
        }
    }
    (run.finish().await.unwrap(), outputs)
}

#[tokio::test]
async fn more_steps_than_a_connection_has_streams_run_at_once() {
    let server = Server::start(Script {
        create_delay: Duration::from_millis(200),
        ..Script::default()
    })
    .unwrap();
    let pipeline = pipeline(350, &["sleep", "2", "say", "hello"]);
    let (finished, outputs) = run(&plugin().await, &server, pipeline).await;
    assert_eq!(finished.status, RunStatus::Completed);
    assert_eq!(outputs.len(), 350);
    assert!(outputs.values().all(|said| said == b"hello"));
    // 350 creates at a time need four connections, their outputs seven.
    assert!(server.connections() >= 8, "{}", server.connections());
    assert_eq!(server.created(), 350);
    assert_eq!(server.running(), 0);
}

#[tokio::test]
async fn a_tenth_of_all_calls_failing_changes_nothing() {
    let plugin = plugin().await;
    for seed in 1..=3 {
        let server = Server::start(Script {
            faults: Some(Faults { percent: 10, seed }),
            page: 20,
            ..Script::default()
        })
        .unwrap();
        let pipeline = pipeline(120, &["sleep", "0.5", "say", "hello"]);
        let (finished, outputs) = run(&plugin, &server, pipeline).await;
        assert_eq!(finished.status, RunStatus::Completed, "seed {seed}");
        assert_eq!(outputs.len(), 120, "seed {seed}");
        assert!(outputs.values().all(|said| said == b"hello"));
        // A create whose answer was lost is not made twice.
        assert_eq!(server.created(), 120, "seed {seed}");
        assert_eq!(server.running(), 0);
    }
}

#[tokio::test]
async fn creates_that_are_too_many_are_made_later() {
    let server = Server::start(Script {
        throttle: Some(Throttle {
            rate: 100.0,
            burst: 50.0,
            wait: Duration::from_millis(500),
        }),
        ..Script::default()
    })
    .unwrap();
    let (finished, _) = run(&plugin().await, &server, pipeline(250, &["true"])).await;
    assert_eq!(finished.status, RunStatus::Completed);
    assert_eq!(server.created(), 250);
    let asked = server.counts()["SandboxCreateV2"];
    assert!(asked < 250 * 6, "{asked} creates were asked for");
}

#[tokio::test]
async fn a_server_without_listings_is_asked_about_each_sandbox() {
    let server = Server::start(Script {
        lists: false,
        ..Script::default()
    })
    .unwrap();
    let pipeline = pipeline(300, &["sleep", "1", "exit", "3"]);
    let (finished, _) = run(&plugin().await, &server, pipeline).await;
    assert_eq!(finished.status, RunStatus::Failed);
    assert_eq!(server.counts()["SandboxListV2"], 1);
    assert_eq!(server.running(), 0);
}
