//! What arrives on the socket.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http_body_util::{BodyExt, Full};
use modal_proto::{client as pb, client::GenericStatus, task_command_router as tcr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{Code, transport::Endpoint};

use crate::harness::{Headers, Local, code, in_time};

/// Sends a request as it is.
async fn send(local: &Local, request: http::Request<Full<Bytes>>) -> http::Response<Bytes> {
    let stream = TcpStream::connect(local.server().addr()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .unwrap();
    let connection = tokio::spawn(connection);
    let (parts, body) = in_time(sender.send_request(request))
        .await
        .unwrap()
        .into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    drop(sender);
    in_time(connection).await.unwrap().unwrap();
    http::Response::from_parts(parts, body)
}

fn post(local: &Local, path: &str) -> http::request::Builder {
    let credentials = local.server().credentials();
    http::Request::post(format!("{}{path}", local.server().url()))
        .header("content-type", "application/grpc")
        .header("x-modal-token-id", &credentials.token_id)
        .header("x-modal-token-secret", &credentials.token_secret)
}

#[tokio::test]
async fn unknown_calls_are_unimplemented_and_counted() {
    let local = Local::start().await;
    let unknown = "/modal.client.ModalClient/FunctionCreate";
    let elsewhere = "/grpc.health.v1.Health/Check";
    for (path, times) in [(unknown, 2), (elsewhere, 1), ("/", 1), ("/x", 1)] {
        for _ in 0..times {
            let request = post(&local, path).body(Full::default()).unwrap();
            let response = send(&local, request).await;
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["grpc-status"], "12", "{path}");
            let message = response.headers()["grpc-message"].to_str().unwrap();
            assert!(message.contains("not%20implemented"), "{message}");
        }
    }
    let sandbox = local.sandbox(["true"]).create().await;
    let start = tcr::TaskExecStartRequest {
        task_id: sandbox.task.clone(),
        exec_id: "exec".to_owned(),
        command_args: vec!["true".to_owned()],
        container_id: "another".to_owned(),
        ..tcr::TaskExecStartRequest::default()
    };
    let started = local.router(&sandbox.jwt).task_exec_start(start).await;
    assert_eq!(code(started), Code::Unimplemented);
    let fetch = pb::AppFetchLogsRequest::default();
    assert_eq!(
        code(local.control().app_fetch_logs(fetch.clone()).await),
        Code::Unimplemented
    );
    // Strangers are refused, not counted.
    let mut stranger = local.control_with(Headers::default());
    assert_eq!(
        code(stranger.app_fetch_logs(fetch).await),
        Code::Unauthenticated
    );

    let counted: Vec<(String, u64)> = local.server().unimplemented().into_iter().collect();
    let expected = [
        ("/", 1),
        (elsewhere, 1),
        ("/modal.client.ModalClient/AppFetchLogs", 1),
        (unknown, 2),
        (
            "/modal.task_command_router.TaskCommandRouter/TaskExecStart",
            1,
        ),
        ("/x", 1),
    ];
    assert_eq!(
        counted,
        expected.map(|(path, count)| (path.to_owned(), count))
    );
    local.finish().await;
}

#[tokio::test]
async fn what_is_not_grpc_gets_an_http_status() {
    let local = Local::start().await;
    let path = "/modal.client.ModalClient/ClientHello";
    let get = post(&local, path)
        .method("GET")
        .body(Full::default())
        .unwrap();
    assert_eq!(send(&local, get).await.status(), 405);
    let url = format!("{}{path}", local.server().url());
    let bare = http::Request::post(url).body(Full::default()).unwrap();
    assert_eq!(send(&local, bare).await.status(), 415);
    local.finish().await;
}

#[tokio::test]
async fn broken_messages_are_refused() {
    let local = Local::start().await;
    let path = "/modal.client.ModalClient/SandboxCreateV2";
    let bodies: [&[u8]; 7] = [
        b"",
        b"\0",
        b"\0\0\0\0\x05abc",
        b"\0\0\0\0\x03\xff\xff\xff",
        b"\x01\0\0\0\x01a",
        b"\xff\0\0\0\0",
        b"\0\xff\xff\xff\xff",
    ];
    for body in bodies {
        let request = post(&local, path).body(Full::from(body)).unwrap();
        let response = send(&local, request).await;
        let status = response.headers().get("grpc-status");
        assert!(
            status.is_some_and(|status| status != "0"),
            "{body:?}: {response:?}"
        );
    }
    // Headers that are no text.
    let odd = http::HeaderValue::from_bytes(b"\xff\xfe").unwrap();
    for name in [
        "x-idempotency-key",
        "x-modal-client-type",
        "x-modal-auth-token",
    ] {
        let request = post(&local, path)
            .header(name, &odd)
            .body(Full::from(&b"\0\0\0\0\0"[..]));
        let response = send(&local, request.unwrap()).await;
        assert_ne!(response.headers()["grpc-status"], "0", "{name}");
    }
    local.control().client_hello(()).await.unwrap();
    local.finish().await;
}

/// Numbers that look random and are the same every time.
fn noise(seed: u64) -> impl FnMut() -> u8 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    }
}

#[tokio::test]
async fn garbage_on_the_socket_harms_nobody() {
    let local = Local::start().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for seed in 0..200 {
        let mut next = noise(seed);
        let mut bytes = Vec::new();
        if seed % 4 != 0 {
            bytes.extend_from_slice(preface);
        }
        if seed % 4 == 1 {
            bytes.extend_from_slice(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        }
        // Frames with plausible lengths and types, and random contents.
        for _ in 0..20 {
            let length = next() % 40;
            bytes.extend_from_slice(&[0, 0, length, next() % 12, next(), 0, 0, 0, next() % 8]);
            bytes.extend((0..length).map(|_| next()));
        }
        let mut stream = TcpStream::connect(local.server().addr()).await.unwrap();
        // The server may hang up at any byte.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = in_time(stream.read_to_end(&mut answer)).await;
    }
    local.control().client_hello(()).await.unwrap();
    local.finish().await;
}

#[tokio::test]
async fn frequent_pings_are_tolerated() {
    let local = Local::start().await;
    let channel = Endpoint::from_shared(local.server().url())
        .unwrap()
        .http2_keep_alive_interval(Duration::from_millis(5))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true)
        .connect()
        .await
        .unwrap();
    let mut control =
        pb::modal_client_client::ModalClientClient::with_interceptor(channel, local.headers());
    let sandbox = local.sandbox(["sleep", "100"]).create().await;
    let wait = pb::SandboxWaitRequest {
        sandbox_id: sandbox.id.clone(),
        timeout: 1.0,
    };
    // A hundred pings and more, on one connection that has one call open.
    let response = control.sandbox_wait_v2(wait).await.unwrap();
    assert_eq!(response.into_inner().result, None);
    control.client_hello(()).await.unwrap();
    sandbox.terminate().await;
    local.finish().await;
}

#[tokio::test]
async fn a_thousand_long_polls_do_not_starve_a_connection() {
    let local = Local::start().await;
    let sandbox = local.sandbox(["sleep", "100"]).create().await;
    let waits: Vec<_> = (0..1_000)
        .map(|_| {
            let sandbox = sandbox.clone();
            tokio::spawn(async move { sandbox.wait().await.status() })
        })
        .collect();
    // On the same connection, while they hang.
    let other = local.script("echo through").create().await;
    assert_eq!(other.stdout(&local).await, b"through\n");
    other.ends_with(GenericStatus::Success, 0).await;
    sandbox.terminate().await;
    for status in join_all(waits).await {
        assert_eq!(status.unwrap(), GenericStatus::Terminated);
    }
    local.finish().await;
}

#[tokio::test]
async fn abandoned_long_polls_do_not_cost_the_connection() {
    let local = Local::start().await;
    let sandbox = local.sandbox(["sleep", "100"]).create().await;
    for _ in 0..5 {
        let waits = (0..400).map(|_| sandbox.wait_for(50.0));
        let mut waits = Box::pin(join_all(waits));
        // Sent, and given up at once.
        assert!(futures::poll!(&mut waits).is_pending());
        local.control().client_hello(()).await.unwrap();
    }
    sandbox.terminate().await;
    local.finish().await;
}
