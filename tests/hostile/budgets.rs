//! Guests that stay within their grants and want too much of them.

use crate::harness::server::{Server, answer, answer_with_trailers, endless_answer};
use crate::harness::{GRANTED, hostile, outcomes, request, within};
use flavor_host::Limits;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

/// What came of one attack on a server, under these limits of the network.
async fn outcome(
    server: &Server,
    attack: &[&str],
    change: impl FnOnce(&mut flavor_host::policy::Limits),
) -> String {
    let plugin = hostile(Limits::default()).await;
    let (mut request, _) = request(&server.url(), &[attack]);
    change(&mut request.network);
    outcomes(&plugin, request).await.concat()
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let server = Server::yes().await;
    let authority = server.authority();
    let attack = ["upload", "http", &authority, GRANTED, "5000"];
    let cut = outcome(&server, &attack, |limits| {
        limits.request_body_bytes = 100_000
    })
    .await;
    assert!(cut.contains("HttpRequestBodySize"), "{cut}");
    assert!(server.received() <= 100_000, "{}", server.received());

    let cut = outcome(&server, &attack, |limits| limits.egress_bytes = 100_000).await;
    assert!(cut.contains("HttpRequestBodySize"), "{cut}");
    assert!(server.received() <= 200_000, "{}", server.received());
    assert!(server.seen().is_empty(), "a body was taken for complete");
}

#[tokio::test]
async fn all_that_leaves_is_counted() {
    let server = Server::yes().await;
    let authority = server.authority();
    let attack = ["many", "http", &authority, GRANTED, "200"];
    let outcomes = outcome(&server, &attack, |limits| limits.egress_bytes = 5000).await;
    assert!(outcomes.contains("HttpRequestDenied"), "{outcomes}");
    // A request without headers and body still has a URI.
    let uri = server.url().len() + GRANTED.len();
    let seen = server.seen().len();
    assert!(seen > 0 && seen * uri <= 5000, "{seen} requests");
}

#[tokio::test]
async fn headers_and_trailers_are_bounded_and_counted() {
    let server = Server::yes().await;
    let authority = server.authority();
    let value = format!("x-much={}", "x".repeat(3000));
    let with_header = ["request", "POST", "http", &authority, GRANTED, &value];
    let with_trailer = ["trailer", "http", &authority, GRANTED, &value];
    for attack in [&with_header[..], &with_trailer] {
        let much = outcome(&server, attack, |limits| limits.request_header_bytes = 2000).await;
        assert!(much.contains("HttpRequestDenied"), "{much}");
        let much = outcome(&server, attack, |limits| limits.egress_bytes = 2000).await;
        assert!(much.contains("HttpRequestDenied"), "{much}");
    }
    assert!(server.seen().is_empty());
    for attack in [&with_header[..], &with_trailer] {
        let taken = outcome(&server, attack, |_| {}).await;
        assert!(taken.starts_with("status 200"), "{taken}");
    }
    assert!(server.seen()[1].trailers.contains_key("x-much"));
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let server = Server::start(|_| endless_answer(1000)).await;
    let authority = server.authority();
    let attack = ["request", "POST", "http", &authority, GRANTED];
    let cut = within(outcome(&server, &attack, |limits| {
        limits.response_body_bytes = 1_000_000;
    }))
    .await;
    assert!(cut.contains("HttpResponseBodySize"), "{cut}");
    assert!(cut.contains(" 1000000 bytes"), "{cut}");
}

/// A message that is read for what it opens is held in memory, both ways.
#[tokio::test]
async fn what_is_read_for_what_it_opens_is_bounded() {
    const CREATE: &str = "/modal.client.ModalClient/SandboxCreateV2";
    let server = Server::start(|_| endless_answer(1000)).await;
    let authority = server.authority();
    let attack = ["call", "http", &authority, CREATE];
    let cut = within(outcome(&server, &attack, |_| {})).await;
    assert!(cut.contains("HttpResponseBodySize"), "{cut}");

    let attack = ["upload", "http", &authority, CREATE, "50000"];
    let cut = within(outcome(&server, &attack, |_| {})).await;
    assert!(cut.contains("HttpRequestBodySize"), "{cut}");
    assert_eq!(server.received(), 5, "it was sent before it was read");
}

#[tokio::test]
async fn only_so_many_requests_are_under_way_and_only_so_many_wait() {
    let now = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let release = Arc::new(Semaphore::new(0));
    let counters = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&release));
    let server = Server::start_async(move |_| {
        let (now, most, release) = counters.clone();
        Box::pin(async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            release.acquire().await.unwrap().forget();
            now.fetch_sub(1, Ordering::SeqCst);
            answer(200, &[], b"")
        })
    })
    .await;
    let authority = server.authority();
    let plugin = hostile(Limits::default()).await;
    let (mut request, _) = request(
        &server.url(),
        &[&["many", "http", &authority, GRANTED, "20"]],
    );
    request.network.requests_in_flight = 4;
    request.network.requests_waiting = 6;
    let releasing = async {
        // One by one, so that each place is taken by the next in line.
        for arrived in 4..=10 {
            crate::harness::until(|| server.seen().len() >= arrived).await;
            release.add_permits(1);
        }
        release.add_permits(10);
    };
    let (outcomes, ()) = futures::join!(outcomes(&plugin, request), releasing);
    assert_eq!(
        outcomes.concat(),
        "{\"error ErrorCode::ConnectionLimitReached\": 10, \"status 200\": 10}"
    );
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

/// A server that a guest conspires with says in its trailers what the guest may
/// not, and the guest passes them on to another one.
#[tokio::test]
async fn trailers_of_an_answer_that_is_passed_on_are_free_of_the_host_s_headers() {
    for (name, taken) in [
        ("x-modal-token-id", false),
        ("x-modal-token-secret", false),
        ("x-forwarded-host", false),
        ("x-own", true),
    ] {
        let server =
            Server::start(move |_| answer_with_trailers(200, &[], b"data", &[(name, "0")])).await;
        let authority = server.authority();
        let attack = ["pass-on", "http", &authority, GRANTED, GRANTED];
        let outcome = outcome(&server, &attack, |_| {}).await;
        assert!(outcome.starts_with("status 200"), "{name}: {outcome}");
        let seen = &server.seen()[1];
        assert_eq!(seen.body, &b"data"[..]);
        assert_eq!(seen.trailers.contains_key(name), taken, "{name}");
    }
}

#[tokio::test]
async fn a_place_is_free_again_once_an_answer_is_not_wanted_any_more() {
    let server = Server::yes().await;
    let authority = server.authority();
    let attack = ["many", "http", &authority, GRANTED, "30"];
    let outcomes = within(outcome(&server, &attack, |limits| {
        limits.requests_in_flight = 1;
        limits.requests_waiting = 29;
    }))
    .await;
    assert_eq!(outcomes, "{\"status 200\": 30}");
}
