//! What wide pipelines cost, and how long they take: the scripted server on a
//! thread of its own, everything else as `flavor run` does it but for drawing.
//!
//! `cargo bench --bench scale` runs all of it, `cargo bench --bench scale --
//! makespan` one part:
//!
//! - `makespan`: 1,000 steps of 5 s, 30 ms on every call, 0.3 s more on every
//!   create
//! - `cpu`: CPU and memory for 10,000 and 20,000 steps that end at once;
//!   `cpu-once` for the first of them
//! - `watching`: calls per running step and second, and how soon an end is
//!   noticed, at 50, 1,000 and 10,000 running steps
//!
//! `cargo bench --bench scale -- at URL` runs 1,000 steps on a server that was
//! started by hand, such as `tests/foreign/server.py`, whose script says how long
//! sandboxes live.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark: it prints its results, and a failure ends it"
)]

use flavor_host::contract::{Event, ExecutionMode, Pipeline, Resources, Retry, RunStatus, Step};
use flavor_host::credentials::Secret;
use flavor_host::credentials::modal::TokenPair;
use flavor_host::state::StateDir;
use flavor_host::{Host, Plugin, RunRequest, Target};
use scripted_modal::{Script, Server};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// As `flavor` has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|name| name == part);
    // As `flavor` has it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let host = Host::new().unwrap();
        let plugin = host.load(default_plugin::COMPONENT).await.unwrap();
        if let [at, url] = wanted.as_slice()
            && at == "at"
        {
            return against(&plugin, url).await;
        }
        if wants("makespan") {
            makespan(&plugin).await;
        }
        if wants("cpu") {
            cpu(&plugin, &[10_000, 20_000]).await;
        } else if wants("cpu-once") {
            cpu(&plugin, &[10_000]).await;
        }
        if wants("watching") {
            watching(&plugin).await;
        }
    });
}

/// Milliseconds on every call, and on creates besides.
const SLOW: Script = Script {
    delay: Duration::from_millis(30),
    create_delay: Duration::from_millis(300),
    page: 100,
    streams: 100,
    lists: true,
    faults: None,
    throttle: None,
};

async fn makespan(plugin: &Plugin) {
    for round in 1..=3 {
        let outcome = run(plugin, SLOW, pipeline(1000, |_| "5".into())).await;
        let elapsed = outcome.elapsed.as_secs_f64();
        println!(
            "makespan {round}: {elapsed:.2} s, {:.3} of the ideal 5.36 s; first start after {:.2} s, last after \
             {:.2} s, last end noticed after {:.2} s; CPU {:.2} s; {}",
            elapsed / 5.36,
            outcome.first_start.as_secs_f64(),
            outcome.last_start.as_secs_f64(),
            outcome.last_end.as_secs_f64(),
            outcome.cpu.as_secs_f64(),
            outcome.calls(),
        );
    }
}

/// A thousand steps on a server that somebody else has started.
async fn against(plugin: &Plugin, url: &str) {
    let seen = watch(plugin, url, pipeline(1000, |_| "5".into())).await;
    println!(
        "1000 steps at {url}: {:.2} s, last start after {:.2} s, last end noticed after {:.2} s; \
         CPU {:.2} s",
        seen.elapsed.as_secs_f64(),
        seen.starts.last().unwrap().as_secs_f64(),
        seen.last_end().as_secs_f64(),
        seen.cpu.as_secs_f64(),
    );
}

async fn cpu(plugin: &Plugin, sizes: &[usize]) {
    let mut all = Vec::new();
    for steps in sizes.iter().copied() {
        let outcome = run(plugin, Script::default(), pipeline(steps, |_| "0".into())).await;
        println!(
            "{steps} steps: {:.2} s of CPU in {:.2} s, peak {} MiB with the server; {:.2} calls per step; {}",
            outcome.cpu.as_secs_f64(),
            outcome.elapsed.as_secs_f64(),
            peak() / 1024,
            outcome.total_calls() / steps as f64,
            outcome.calls(),
        );
        all.push(outcome.cpu.as_secs_f64());
    }
    if let [first, second] = all[..] {
        println!("the second costs {:.2} times as much", second / first);
    }
}

async fn watching(plugin: &Plugin) {
    for (steps, spread) in [(50, 10), (1000, 10), (10_000, 30)] {
        // Ends spread over a while, after all have started.
        let lives = move |step: usize| {
            let share = step as f64 / steps as f64;
            format!("{:.3}", 10.0 + share * f64::from(spread))
        };
        let outcome = run(plugin, Script::default(), pipeline(steps, lives)).await;
        let mut reactions = outcome.reactions.clone();
        reactions.sort_unstable();
        let at = |share: f64| reactions[((reactions.len() - 1) as f64 * share) as usize];
        let seconds = 10.0 + f64::from(spread) / 2.0;
        let questions = outcome.count("SandboxListV2") + outcome.count("SandboxWaitV2");
        println!(
            "{steps} running: an end is noticed after {:?} (median), {:?} (99 of 100), {:?} (last); \
             {:.3} questions per running step and second, {:.3} calls of all kinds but creates; CPU {:.2} s; {}",
            at(0.5),
            at(0.99),
            at(1.0),
            questions / (steps as f64 * seconds),
            (outcome.total_calls() - outcome.count("SandboxCreateV2")) / (steps as f64 * seconds),
            outcome.cpu.as_secs_f64(),
            outcome.calls(),
        );
    }
}

/// What came of a run.
struct Outcome {
    elapsed: Duration,
    /// Without the server's.
    cpu: Duration,
    counts: scripted_modal::Counts,
    first_start: Duration,
    last_start: Duration,
    last_end: Duration,
    /// From the end of each sandbox until it was known here.
    reactions: Vec<Duration>,
}

impl Outcome {
    fn count(&self, method: &str) -> f64 {
        self.counts.get(method).copied().unwrap_or_default() as f64
    }

    fn total_calls(&self) -> f64 {
        self.counts.values().sum::<u64>() as f64
    }

    fn calls(&self) -> String {
        let counts = self.counts.iter();
        let texts: Vec<String> = counts
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        texts.join(", ")
    }
}

/// A run against the scripted server.
async fn run(plugin: &Plugin, script: Script, pipeline: Pipeline) -> Outcome {
    let server = Server::start(script).unwrap();
    let steps = pipeline.steps.len();
    let seen = watch(plugin, server.url(), pipeline).await;
    assert_eq!(server.running(), 0);
    assert_eq!(seen.said, steps * SAYS.len(), "output was lost");
    let reactions = server.ended().into_iter().map(|(name, ended)| {
        let known = seen.ends.get(&name).copied().unwrap();
        known.saturating_duration_since(ended.at)
    });
    Outcome {
        elapsed: seen.elapsed,
        cpu: seen.cpu - server.cpu().unwrap(),
        counts: server.counts(),
        first_start: *seen.starts.first().unwrap(),
        last_start: *seen.starts.last().unwrap(),
        last_end: seen.last_end(),
        reactions: reactions.collect(),
    }
}

/// What is seen of a run from here.
struct Seen {
    started: Instant,
    elapsed: Duration,
    /// Of the whole process.
    cpu: Duration,
    starts: Vec<Duration>,
    /// When the end of each sandbox was known.
    ends: HashMap<String, Instant>,
    /// Bytes of output.
    said: usize,
}

impl Seen {
    fn last_end(&self) -> Duration {
        let last = self.ends.values().max().unwrap();
        last.duration_since(self.started)
    }
}

/// A run, kept and recorded as `flavor run` does it.
async fn watch(plugin: &Plugin, url: &str, pipeline: Pipeline) -> Seen {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDir::open(directory.path(), false).unwrap();
    let limits = plugin.host().limits();
    let run_dir = state.run_dir(&pipeline.run_id).unwrap();
    let outputs = run_dir.outputs().unwrap();
    let outputs = outputs.writer(limits.step_output_bytes, limits.run_output_bytes);
    let mut outputs = outputs.unwrap();
    let variable = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let id = variable("MODAL_TOKEN_ID", "ak-1");
    let secret = Secret::new(variable("MODAL_TOKEN_SECRET", "as-1"));
    let target = Target::new(url, TokenPair::new(id, secret).unwrap()).unwrap();
    let request = RunRequest::new(pipeline, target, Arc::new(state.store().clone()));

    let cpu_before = process_cpu();
    let started = Instant::now();
    let mut run = plugin.run(request).await.unwrap();
    let mut starts = Vec::new();
    let mut ends = HashMap::new();
    let mut said = 0;
    while let Some(event) = run.next().await {
        outputs.record(&event).unwrap();
        match event {
            Event::StepStarted(_) => starts.push(started.elapsed()),
            Event::StepFinished(finished) => {
                ends.insert(format!("{}.0", finished.step), Instant::now());
            }
            Event::Output(output) => said += output.data.len(),
            _ => {}
        }
    }
    let finished = run.finish().await.unwrap();
    assert_eq!(finished.status, RunStatus::Completed);
    Seen {
        started,
        elapsed: started.elapsed(),
        cpu: process_cpu() - cpu_before,
        starts,
        ends,
        said,
    }
}

/// What every step says.
const SAYS: &str = "hello\n";

fn pipeline(steps: usize, lives: impl Fn(usize) -> String) -> Pipeline {
    let step = |number: usize| Step {
        name: format!("step-{number:05}"),
        command: ["sleep", &lives(number), "say", SAYS]
            .map(str::to_owned)
            .into(),
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
        run_id: "bench".into(),
        name: "bench".into(),
        execution_mode: ExecutionMode::FailFast,
        max_parallelism: None,
        steps: (0..steps).map(step).collect(),
    }
}

/// CPU of this process so far.
fn process_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
}

/// The most memory that this process ever had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
