//! A unary gRPC call through guest, policy and host against the same call made
//! with reqwest alone, on the same server, over loopback.
//!
//! The plugin asks a server that answers everything at once how sandboxes stand, one
//! after the other, in one call of its export `fetch-status`: nothing of a controller
//! or a run store is in between. `cargo bench -p flavor-host --bench grpc_call`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement that cannot be made fails by panicking, and prints its result"
)]

use bytes::Bytes;
use flavor_host::contract::{RunRecord, RunStatus, StepStatus};
use flavor_host::credentials::Secret;
use flavor_host::credentials::modal::TokenPair;
use flavor_host::{Connection, Host, Plugin, Target};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use modal_proto::client::{
    AuthTokenGetResponse, GenericResult, SandboxWaitRequest, SandboxWaitResponse,
};
use prost::Message;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// Calls of one measurement.
const CALLS: u32 = 5_000;
/// Calls before it.
const WARM_UP: u32 = 100;
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
    for call in 0..CALLS + WARM_UP {
        if call == WARM_UP {
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

/// The status of many sandboxes, asked for one after the other in one call of the
/// plugin, less the same for few: what is left is calls.
async fn through_the_guest(plugin: &Plugin, address: SocketAddr) -> Duration {
    let few = statuses(plugin, address, WARM_UP).await;
    let many = statuses(plugin, address, WARM_UP + CALLS).await;
    many.saturating_sub(few) / CALLS
}

async fn statuses(plugin: &Plugin, address: SocketAddr, sandboxes: u32) -> Duration {
    let credentials = TokenPair::new("ak-1", Secret::new("as-1")).unwrap();
    let target = Target::new(&format!("http://{address}"), credentials).unwrap();
    let step = |number| {
        let metadata = format!("{{\"sandbox_id\":\"sb-{number:026}\"}}");
        (format!("s{number}"), StepStatus::Running, metadata)
    };
    let run = RunRecord {
        run_id: "bench".into(),
        // Nothing is asked about the run itself.
        status: RunStatus::Running,
        metadata: "{}".into(),
        steps: (0..sandboxes).map(step).collect(),
    };
    let started = Instant::now();
    let asked = plugin.fetch_status(Connection::new(target), run, true);
    let (_, steps) = asked.await.unwrap();
    let elapsed = started.elapsed();
    assert!(
        steps
            .iter()
            .all(|(_, status)| *status == StepStatus::Completed)
    );
    assert_eq!(steps.len(), sandboxes as usize);
    elapsed
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
    let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
    let _ = request.into_body().collect().await;
    let message = match method.as_str() {
        "AuthTokenGet" => framed(&AuthTokenGetResponse {
            token: "e30.e30.sig".into(),
        }),
        "SandboxWaitV2" => framed(&SandboxWaitResponse {
            result: Some(GenericResult {
                // Success.
                status: 1,
                ..GenericResult::default()
            }),
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
