//! Commands, sandboxes and files through the plugin, each beside Modal's own client for
//! Python on the same local Modal in the same run. Prints figures, asserts nothing:
//! `cargo bench -p flavor-cli --bench session`. Needs python3 with its module venv.
//!
//! The server is a process of its own, as it would be a machine of its own.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a program that prints figures"
)]

#[path = "../../../tests/foreign/environment.rs"]
mod environment;

use environment::Environment;
use flavor_host::contract::{ExecutionMode, Pipeline, Resources, Retry, RunStatus, Step};
use flavor_host::credentials::{Secret, modal::TokenPair};
use flavor_host::session::{Session, command, options};
use flavor_host::store::MemoryStore;
use flavor_host::{Connection, Host, Plugin, RunRequest, Target};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

/// The same packages as those of the test targets.
const MODAL: Environment = Environment::new(
    "modal-sdk",
    &[include_str!("../../../tests/foreign/requirements.txt")],
);

const EXECS: u32 = 300;
const CREATES: u32 = 200;
const MEGABYTES: u32 = 100;
const ROUNDS: usize = 3;

const TOKEN: (&str, &str) = ("ak-of-the-bench", "as-of-the-bench");

/// Seconds for each of what is measured.
#[derive(Debug, Clone, Copy)]
struct Figures {
    exec: f64,
    create: f64,
    stdout: f64,
    upload: f64,
}

fn main() {
    // `cargo test --benches` asks for tests, of which there are none.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    if let Err(reason) = MODAL.set_up() {
        println!("not measured: {reason}");
        return;
    }
    let server = Server::start();
    // As `flavor` itself has it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for round in 1..=ROUNDS {
        let sdk = server.with_sdk();
        let plugin = runtime.block_on(through_the_plugin(&server.url));
        let time = |plugin: f64, sdk: f64| {
            let (plugin, sdk) = (plugin * 1e3, sdk * 1e3);
            format!("{plugin:.2} ms, SDK {sdk:.2} ms, ratio {:.2}", plugin / sdk)
        };
        let rate = |plugin: f64, sdk: f64| {
            let rate = |seconds: f64| f64::from(MEGABYTES) / seconds;
            let (plugin, sdk) = (rate(plugin), rate(sdk));
            format!(
                "{plugin:.0} MB/s, SDK {sdk:.0} MB/s, ratio {:.2}",
                plugin / sdk
            )
        };
        println!("round {round}");
        println!("  exec of true: {}", time(plugin.exec, sdk.exec));
        println!(
            "  create and wait for true: {}",
            time(plugin.create, sdk.create)
        );
        println!(
            "  {MEGABYTES} MB of stdout: {}",
            rate(plugin.stdout, sdk.stdout)
        );
        println!(
            "  upload of {MEGABYTES} MB: {}",
            rate(plugin.upload, sdk.upload)
        );
    }
}

async fn through_the_plugin(url: &str) -> Figures {
    let pair = TokenPair::new(TOKEN.0, Secret::new(TOKEN.1)).unwrap();
    let target = Target::new(url, pair).unwrap();
    let plugin = Host::new()
        .unwrap()
        .load(default_plugin::COMPONENT)
        .await
        .unwrap();
    let connection = Connection::new(target.clone());
    let session = plugin
        .create_session(connection, options("python:3.11-slim"))
        .await
        .unwrap();
    let home = home(&session).await;
    let figures = Figures {
        exec: seconds(execs(&session)).await / f64::from(EXECS),
        create: creates(&plugin, &target).await,
        stdout: seconds(stdout(&session)).await,
        upload: upload(&session, &home).await,
    };
    session.destroy().await.unwrap();
    figures
}

async fn home(session: &Session) -> String {
    let process = session.exec(command(["pwd"])).await.unwrap();
    let collected = process.collect(None).await.unwrap();
    collected.stdout.trim_end().to_owned()
}

async fn execs(session: &Session) {
    for _ in 0..EXECS {
        let process = session.exec(command(["true"])).await.unwrap();
        assert_eq!(process.wait(None).await, Ok(0));
    }
}

/// A chain of steps: each is created once the one before it is known to have ended.
/// What a run needs once is taken off.
async fn creates(plugin: &Plugin, target: &Target) -> f64 {
    let whole = chain(plugin, target, CREATES + 1).await;
    let one = chain(plugin, target, 1).await;
    (whole - one) / f64::from(CREATES)
}

async fn chain(plugin: &Plugin, target: &Target, steps: u32) -> f64 {
    let step = |number: u32| Step {
        name: format!("step-{number}"),
        command: vec!["true".into()],
        after: number
            .checked_sub(1)
            .map(|before| format!("step-{before}"))
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
    };
    let pipeline = Pipeline {
        run_id: format!("bench-{steps}"),
        name: "bench".into(),
        execution_mode: ExecutionMode::FailFast,
        max_parallelism: None,
        steps: (0..steps).map(step).collect(),
    };
    let store = Arc::new(MemoryStore::new());
    let mut request = RunRequest::new(pipeline, target.clone(), store);
    // The other side does not read them either.
    request.outputs = false;
    seconds(async {
        let run = plugin.run(request).await.unwrap();
        assert_eq!(run.finish().await.unwrap().status, RunStatus::Completed);
    })
    .await
}

async fn stdout(session: &Session) {
    let size = u64::from(MEGABYTES) * 1_000_000;
    let head = command(["head", "-c", &size.to_string(), "/dev/zero"]);
    let process = session.exec(head).await.unwrap();
    let mut stdout = process.stdout().await.unwrap();
    let mut count = 0;
    while let Some(piece) = stdout.next().await {
        count += piece.unwrap().len() as u64;
    }
    assert_eq!(count, size);
    assert_eq!(process.wait(None).await, Ok(0));
}

async fn upload(session: &Session, home: &str) -> f64 {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let piece: Vec<u8> = (0..1_000_000_u32)
        .map(|number| number.to_le_bytes()[0])
        .collect();
    for _ in 0..MEGABYTES {
        file.write_all(&piece).unwrap();
    }
    let opened = tokio::fs::File::open(file.path()).await.unwrap();
    let path = format!("{home}/upload");
    seconds(async {
        session.upload(&path, opened).await.unwrap();
    })
    .await
}

async fn seconds(work: impl Future<Output = ()>) -> f64 {
    let started = Instant::now();
    work.await;
    started.elapsed().as_secs_f64()
}

/// A local Modal.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_flavor"))
            .arg("modal-local")
            .env("MODAL_TOKEN_ID", TOKEN.0)
            .env("MODAL_TOKEN_SECRET", TOKEN.1)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let url = line
            .trim_end()
            .strip_prefix("listening on ")
            .unwrap()
            .to_owned();
        Self { child, url }
    }

    fn with_sdk(&self) -> Figures {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/session.py");
        let output = MODAL
            .program(&script)
            .args([EXECS, CREATES, MEGABYTES].map(|number| number.to_string()))
            .env("MODAL_SERVER_URL", &self.url)
            .env("MODAL_TOKEN_ID", TOKEN.0)
            .env("MODAL_TOKEN_SECRET", TOKEN.1)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        let figures: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        let figure = |name: &str| figures[name].as_f64().unwrap();
        Figures {
            exec: figure("exec"),
            create: figure("create"),
            stdout: figure("stdout"),
            upload: figure("upload"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its sandboxes have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
