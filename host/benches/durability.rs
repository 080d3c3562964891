//! What it costs to record a run: a chain of steps on a local Modal in this process,
//! recorded in memory, in a file, and in a file that survives a power cut.
//!
//! `cargo bench -p flavor-host --bench durability`. The three take turns, so that what
//! else the machine does is the same for all of them; medians are printed.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark: it prints its results, and a failure ends it"
)]

use flavor_host::contract::{ExecutionMode, Pipeline, Resources, Retry, RunStatus, Step};
use flavor_host::credentials::{Secret, modal::TokenPair};
use flavor_host::store::{MemoryStore, RunStore, SqliteStore};
use flavor_host::{Host, Plugin, RunRequest, Target};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// As `flavor` has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Steps of the chain.
const STEPS: u32 = 100;

/// Runs of each kind.
const ROUNDS: usize = 9;

fn main() {
    // `cargo test --benches` asks for tests, of which there are none.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    // As `flavor` has it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(compare());
}

async fn compare() {
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
    let file = |durable: bool| {
        let path = directory.path().join(format!("durable-{durable}.db"));
        Arc::new(SqliteStore::open(&path, durable).unwrap())
    };
    let stores: [(&str, Arc<dyn RunStore>); 3] = [
        ("in memory", Arc::new(MemoryStore::new())),
        ("in a file", file(false)),
        ("in a file, --durable", file(true)),
    ];
    let mut times = [(); 3].map(|()| Vec::with_capacity(ROUNDS));
    for round in 0..=ROUNDS {
        for (kind, (_, store)) in stores.iter().enumerate() {
            let took = run(&plugin, &target, store, &format!("{kind}-{round}")).await;
            // The first round fills caches.
            if round > 0 {
                times[kind].push(took);
            }
        }
    }
    let mut without = None;
    for ((name, _), mut times) in stores.iter().zip(times) {
        times.sort_unstable();
        let step = times[ROUNDS / 2].as_secs_f64() * 1000.0 / f64::from(STEPS);
        let base = *without.get_or_insert(step);
        println!(
            "recorded {name}: {step:.2} ms per step of a chain of {STEPS}, {:+.1} %",
            (step / base - 1.0) * 100.0
        );
    }
    modal.shutdown().await;
}

async fn run(
    plugin: &Plugin,
    target: &Target,
    store: &Arc<dyn RunStore>,
    run_id: &str,
) -> Duration {
    let pipeline = Pipeline {
        run_id: run_id.into(),
        name: "chain".into(),
        execution_mode: ExecutionMode::FailFast,
        max_parallelism: None,
        steps: (0..STEPS).map(step).collect(),
    };
    let request = RunRequest::new(pipeline, target.clone(), Arc::clone(store));
    let started = Instant::now();
    let finished = plugin.run(request).await.unwrap().finish().await.unwrap();
    assert_eq!(finished.status, RunStatus::Completed);
    started.elapsed()
}

fn step(number: u32) -> Step {
    let before = number.checked_sub(1);
    Step {
        name: format!("s{number}"),
        command: vec!["/bin/true".into()],
        after: before
            .map(|before| format!("s{before}"))
            .into_iter()
            .collect(),
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
