//! A unary gRPC call through guest, policy and host against the same call made
//! with reqwest alone, on the same server, over loopback.
//!
//! The plugin runs a chain of steps on a server that answers everything at once:
//! two calls per step, one after the other, and all that a controller does between
//! them is counted too. Run with `cargo bench -p flavor-host --bench grpc_call`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement that cannot be made fails by panicking, and prints its result"
)]

use bytes::Bytes;
use flavor_host::contract::{Event, ExecutionMode, Pipeline, Resources, Retry, RunStatus, Step};
use flavor_host::credentials::Secret;
use flavor_host::credentials::modal::TokenPair;
use flavor_host::store::MemoryStore;
use flavor_host::{Host, Plugin, RunRequest, Target};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use modal_proto::client::{
    AppGetOrCreateResponse, AuthTokenGetResponse, EnvironmentGetOrCreateResponse,
    EnvironmentMetadata, EnvironmentSettings, GenericResult, ImageGetOrCreateResponse,
    SandboxCreateV2Response, SandboxWaitRequest, SandboxWaitResponse,
};
use prost::Message;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// Steps of the chain.
const STEPS: u32 = 3_000;
/// Calls of one measurement: a create and a question for the end of each step.
const CALLS: u32 = 2 * STEPS;
const ROUNDS: usize = 5;

fn main() {
    // The server has a thread of its own, as it would have a machine of its own.
    let address = serve();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let host = Host::new().unwrap();
        let plugin = host.load(default_plugin::COMPONENT).await.unwrap();
        let mut ratios = Vec::new();
        for round in 1..=ROUNDS {
            let alone = with_reqwest(address).await;
            let through = through_the_guest(&plugin, address).await;
            let ratio = through.as_secs_f64() / alone.as_secs_f64();
            println!(
                "round {round}: reqwest alone {:.1} µs, through the guest {:.1} µs, ratio {ratio:.2}",
                micros(alone),
                micros(through),
            );
            ratios.push(ratio);
        }
        ratios.sort_by(f64::total_cmp);
        println!("median ratio {:.2}", ratios[ROUNDS / 2]);
    });
}

fn micros(per_call: Duration) -> f64 {
    per_call.as_secs_f64() * 1e6
}

async fn with_reqwest(address: SocketAddr) -> Duration {
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .no_proxy()
        .tcp_nodelay(true)
        .build()
        .unwrap();
    let url = format!("http://{address}/modal.client.ModalClient/Alone");
    let message = SandboxWaitRequest {
        sandbox_id: "sb-01JABCDEFGHJKMNPQRSTVWXYZ0".into(),
        timeout: 10.0,
    };
    let body = framed(&message);
    let mut started = Instant::now();
    for call in 0..CALLS + 100 {
        if call == 100 {
            started = Instant::now();
        }
        let request = client
            .post(&url)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("x-modal-client-version", "1.6.4")
            .header("x-modal-client-type", "1")
            .header("x-modal-token-id", "ak-1234567890123456789012")
            .header("x-modal-token-secret", "as-1234567890123456789012")
            .header("x-modal-auth-token", "e30.e30.sig")
            .header("x-idempotency-key", "6ba7b810-9dad-41d1-80b4-00c04fd430c8")
            .header("x-retry-attempt", "0")
            .header("x-throttle-retry-attempt", "0")
            .header("x-modal-timestamp", "1750000000.123")
            .body(body.clone());
        let response: http::Response<reqwest::Body> = request.send().await.unwrap().into();
        let answer = response.into_body().collect().await.unwrap();
        assert!(answer.trailers().is_some());
    }
    started.elapsed() / CALLS
}

async fn through_the_guest(plugin: &Plugin, address: SocketAddr) -> Duration {
    let credentials = TokenPair::new("ak-1", Secret::new("as-1")).unwrap();
    let target = Target::new(&format!("http://{address}"), credentials).unwrap();
    let mut request = RunRequest::new(pipeline(), target, Arc::new(MemoryStore::new()));
    request.outputs = false;
    let mut run = plugin.run(request).await.unwrap();
    let mut started = None;
    while let Some(event) = run.next().await {
        if let Event::StepStarted(_) = event {
            started.get_or_insert_with(Instant::now);
        }
    }
    let elapsed = started.unwrap().elapsed();
    assert_eq!(run.finish().await.unwrap().status, RunStatus::Completed);
    elapsed / CALLS
}

fn pipeline() -> Pipeline {
    Pipeline {
        run_id: "bench".into(),
        name: "bench".into(),
        execution_mode: ExecutionMode::FailFast,
        max_parallelism: None,
        steps: (0..STEPS).map(step).collect(),
    }
}

fn step(number: u32) -> Step {
    let before = number.checked_sub(1);
    Step {
        name: format!("s{number}"),
        command: vec!["true".into()],
        after: before
            .map(|before| format!("s{before}"))
            .into_iter()
            .collect(),
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
    }
}

/// A server that answers everything at once.
fn serve() -> SocketAddr {
    let (sender, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                socket.set_nodelay(true).unwrap();
                tokio::spawn(
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), service_fn(answer)),
                );
            }
        });
    });
    address.recv().unwrap()
}

type AnswerBody = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn answer(
    request: http::Request<Incoming>,
) -> Result<http::Response<AnswerBody>, Infallible> {
    static SANDBOXES: AtomicU64 = AtomicU64::new(0);
    let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
    let _ = request.into_body().collect().await;
    let result = |status| {
        Some(GenericResult {
            status,
            ..GenericResult::default()
        })
    };
    let message = match method.as_str() {
        "AuthTokenGet" => framed(&AuthTokenGetResponse {
            token: "e30.e30.sig".into(),
        }),
        "AppGetOrCreate" => framed(&AppGetOrCreateResponse {
            app_id: "ap-1".into(),
            ..AppGetOrCreateResponse::default()
        }),
        "EnvironmentGetOrCreate" => framed(&EnvironmentGetOrCreateResponse {
            metadata: Some(EnvironmentMetadata {
                settings: Some(EnvironmentSettings {
                    image_builder_version: "2025.06".into(),
                    ..EnvironmentSettings::default()
                }),
                ..EnvironmentMetadata::default()
            }),
            ..EnvironmentGetOrCreateResponse::default()
        }),
        "ImageGetOrCreate" => framed(&ImageGetOrCreateResponse {
            image_id: "im-1".into(),
            result: result(1),
            ..ImageGetOrCreateResponse::default()
        }),
        "SandboxCreateV2" => framed(&SandboxCreateV2Response {
            sandbox_id: format!("sb-{:026}", SANDBOXES.fetch_add(1, Ordering::Relaxed)),
            task_id: "ta-V".into(),
            ..SandboxCreateV2Response::default()
        }),
        "SandboxWaitV2" => framed(&SandboxWaitResponse {
            result: result(1),
            ..SandboxWaitResponse::default()
        }),
        _ => framed(&SandboxWaitResponse::default()),
    };
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    let frames = [Ok(Frame::data(message)), Ok(Frame::trailers(trailers))];
    let body = StreamBody::new(futures::stream::iter(frames));
    Ok(http::Response::builder()
        .header("content-type", "application/grpc")
        .body(body.boxed())
        .unwrap())
}

/// A message with gRPC's prefix.
fn framed(message: &impl Message) -> Bytes {
    let encoded = message.encode_to_vec();
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(encoded.len()).unwrap().to_be_bytes());
    framed.extend_from_slice(&encoded);
    framed.into()
}
