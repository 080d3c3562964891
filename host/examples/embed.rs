//! A host app: loads the plugin, runs a pipeline on a local Modal, prints events.
//! `cargo run -p flavor-host --example embed`
#![allow(clippy::print_stdout, reason = "a program, not the library")]

use flavor_host::contract::{ExecutionMode, Pipeline, Resources, Retry, Step};
use flavor_host::credentials::{Secret, modal::TokenPair};
use flavor_host::{Host, RunRequest, Target, store::MemoryStore};
use std::{error::Error, sync::Arc};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let modal = modal_local::Server::start(modal_local::Options::default()).await?;
    let account = modal.credentials();
    let credentials = TokenPair::new(&account.token_id, Secret::new(&account.token_secret))?;
    let target = Target::new(&modal.url(), credentials)?;

    let plugin = Host::new()?.load(default_plugin::COMPONENT).await?;
    let steps = vec![step("hello", &[]), step("again", &["hello"])];
    let pipeline = Pipeline {
        run_id: "embedded".into(),
        name: "greetings".into(),
        execution_mode: ExecutionMode::FailFast,
        max_parallelism: None,
        steps,
    };
    let request = RunRequest::new(pipeline, target, Arc::new(MemoryStore::new()));
    let mut run = plugin.run(request).await?;
    while let Some(event) = run.next().await {
        println!("{event:?}");
    }
    run.finish().await?;
    modal.shutdown().await;
    Ok(())
}

fn step(name: &str, after: &[&str]) -> Step {
    Step {
        name: name.into(),
        command: vec!["echo".into(), name.into()],
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
