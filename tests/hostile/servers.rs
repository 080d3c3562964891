//! Servers that break the rules: the guest gets an error, the host goes on, and
//! nothing is asked twice behind the guest's back.

use crate::harness::raw::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PUSH_PROMISE, RST_STREAM,
    Raw, SETTINGS, STATUS_200, frame, header,
};
use crate::harness::server::{Server, answer};
use crate::harness::{GRANTED, hostile, outcomes, request, within};
use flavor_host::Limits;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

/// What a guest hears that asks once, and waits a moment at each point.
async fn ask(url: &str, authority: &str) -> String {
    let plugin = hostile(Limits::default()).await;
    let attack = ["impatient", "500", "POST", "http", authority, GRANTED];
    let (request, _) = request(url, &[&attack]);
    within(outcomes(&plugin, request)).await.concat()
}

async fn assert_error(server: &Raw) -> String {
    let outcome = ask(&server.url(), &server.authority()).await;
    assert!(outcome.contains("ErrorCode::"), "{outcome}");
    assert!(server.requests() <= 1, "{} requests", server.requests());
    outcome
}

fn response(fields: &[u8], flags: u8) -> Vec<u8> {
    frame(HEADERS, flags, 1, fields)
}

#[tokio::test]
async fn silence_is_an_error_after_a_while() {
    // Nothing at all, not even a greeting.
    let mute = Raw::start(|socket| async move {
        let _open = socket;
        std::future::pending().await
    })
    .await;
    let outcome = assert_error(&mute).await;
    assert!(outcome.contains("HttpResponseTimeout"), "{outcome}");
    // No answer; no body; no more of it.
    let outcome = assert_error(&Raw::sends(vec![]).await).await;
    assert!(outcome.contains("HttpResponseTimeout"), "{outcome}");
    let head = response(STATUS_200, END_HEADERS);
    let outcome = assert_error(&Raw::sends(vec![head.clone()]).await).await;
    assert!(outcome.contains("ConnectionReadTimeout"), "{outcome}");
    let piece = frame(DATA, 0, 1, b"some");
    let outcome = assert_error(&Raw::sends(vec![head, piece]).await).await;
    assert!(outcome.contains("4 bytes"), "{outcome}");
    assert!(outcome.contains("ConnectionReadTimeout"), "{outcome}");
}

#[tokio::test]
async fn what_is_no_http_2_is_an_error() {
    for garbage in [
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(),
        vec![0xff; 100_000],
        vec![0; 100_000],
        // A frame of 16 MiB.
        frame(DATA, 0, 1, &[0; 20_000])[..].to_vec(),
        Vec::new(),
    ] {
        let server = Raw::start(move |mut socket| {
            let garbage = garbage.clone();
            async move {
                let _ = socket.write_all(&garbage).await;
            }
        })
        .await;
        assert_error(&server).await;
    }
}

#[tokio::test]
async fn broken_frames_are_errors() {
    let head = || response(STATUS_200, END_HEADERS);
    for (what, attack) in [
        (
            "headers that are no HPACK",
            vec![response(&[0xff; 50], END_HEADERS)],
        ),
        (
            "an index that is not there",
            vec![response(&[0xfe], END_HEADERS)],
        ),
        ("no status", vec![response(&header("a", "b"), END_HEADERS)]),
        (
            "a status that is none",
            vec![response(&header(":status", "abc"), END_HEADERS)],
        ),
        (
            "a header in capitals",
            vec![response(
                &[STATUS_200, &header("A-B", "c")].concat(),
                END_HEADERS,
            )],
        ),
        (
            "a header about the connection",
            vec![response(
                &[STATUS_200, &header("connection", "close")].concat(),
                END_HEADERS | END_STREAM,
            )],
        ),
        ("data before headers", vec![frame(DATA, 0, 1, b"data")]),
        (
            "a stream that is not there",
            vec![frame(DATA, 0, 99, b"data")],
        ),
        (
            "an even stream",
            vec![frame(HEADERS, END_HEADERS, 2, STATUS_200)],
        ),
        (
            "a continuation of nothing",
            vec![frame(CONTINUATION, END_HEADERS, 1, STATUS_200)],
        ),
        (
            "settings of odd length",
            vec![frame(SETTINGS, 0, 0, &[0; 5])],
        ),
        (
            "a push",
            vec![frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x88])],
        ),
        ("more than the window", {
            let piece = frame(DATA, 0, 1, &[0; 16_384]);
            let mut frames = vec![head()];
            frames.extend(std::iter::repeat_n(piece, 1100));
            frames
        }),
        (
            "padding beyond the frame",
            vec![head(), frame(DATA, 8, 1, &[200, 0, 0])],
        ),
    ] {
        let server = Raw::sends(attack).await;
        let outcome = ask(&server.url(), &server.authority()).await;
        assert!(outcome.contains("ErrorCode::"), "{what}: {outcome}");
        assert_eq!(server.requests(), 1, "{what}");
    }
}

#[tokio::test]
async fn a_request_that_is_turned_away_is_not_sent_again() {
    for code in [0, 1, 2, 7, 8, 11] {
        let reset = frame(RST_STREAM, 0, 1, &u32::to_be_bytes(code));
        assert_error(&Raw::sends(vec![reset]).await).await;
        // Nothing that came after the last stream has been processed.
        let mut payload = vec![0; 4];
        payload.extend_from_slice(&u32::to_be_bytes(code));
        payload.extend_from_slice(b"\x1b[2J go away");
        let go = frame(GOAWAY, 0, 0, &payload);
        let server = Raw::after_request(move |mut writer| {
            let go = go.clone();
            async move {
                let _ = writer.write_all(&go).await;
                let _ = writer.shutdown().await;
            }
        })
        .await;
        assert_error(&server).await;
    }
    let closes = Raw::after_request(|writer| async move { drop(writer) }).await;
    assert_error(&closes).await;
}

#[tokio::test]
async fn header_bombs_are_not_taken() {
    let big = [STATUS_200, &header("x", &"y".repeat(100_000))].concat();
    let split = |fields: &[u8], last: u8| {
        let mut pieces = fields.chunks(16_000).peekable();
        let mut frames = Vec::new();
        let mut kind = HEADERS;
        while let Some(piece) = pieces.next() {
            let flags = if pieces.peek().is_none() { last } else { 0 };
            frames.push(frame(kind, flags, 1, piece));
            kind = CONTINUATION;
        }
        frames
    };
    let many: Vec<u8> = (0..5000)
        .flat_map(|number| header(&format!("x-{number}"), ""))
        .collect();
    let many = [STATUS_200, &many].concat();
    // An entry of the table, and thousands of references to it.
    let mut bomb = STATUS_200.to_vec();
    let mut stored = header("x", &"y".repeat(4000));
    stored[0] = 0x40;
    bomb.extend(stored);
    bomb.extend(std::iter::repeat_n(0x80 | 62, 10_000));
    for fields in [big, many, bomb] {
        let server = Raw::sends(split(&fields, END_HEADERS | END_STREAM)).await;
        assert_error(&server).await;
        // In trailers.
        let mut frames = vec![response(STATUS_200, END_HEADERS)];
        frames.extend(
            split(&fields[1..], END_HEADERS | END_STREAM)
                .into_iter()
                .enumerate()
                .map(|(position, mut frame)| {
                    if position == 0 {
                        frame[4] |= END_STREAM;
                    }
                    frame
                }),
        );
        assert_error(&Raw::sends(frames).await).await;
    }
}

#[tokio::test]
async fn floods_of_frames_end() {
    let head = || response(STATUS_200, END_HEADERS);
    for (what, first, piece) in [
        (
            "continuations",
            response(STATUS_200, 0),
            frame(CONTINUATION, 0, 1, &[]),
        ),
        ("pings", head(), frame(PING, 0, 0, &[0; 8])),
        ("settings", head(), frame(SETTINGS, 0, 0, &[])),
        ("empty data", head(), frame(DATA, 0, 1, &[])),
        (
            "padding",
            head(),
            frame(DATA, 8, 1, &[9, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ),
        (
            "interim answers",
            Vec::new(),
            response(&header(":status", "103"), END_HEADERS),
        ),
        ("resets of others", head(), frame(RST_STREAM, 0, 3, &[0; 4])),
    ] {
        let server = Raw::floods(first, piece).await;
        let outcome = ask(&server.url(), &server.authority()).await;
        assert!(outcome.contains("ErrorCode::"), "{what}: {outcome}");
    }
}

/// On two threads a server can be quick enough that there always is a piece.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_nothing_does_not_hold_a_thread() {
    let server = Raw::floods(
        response(STATUS_200, END_HEADERS),
        frame(DATA, 0, 1, &[]).repeat(1000),
    )
    .await;
    let outcome = ask(&server.url(), &server.authority()).await;
    assert!(outcome.contains("ErrorCode::"), "{outcome}");
}

#[tokio::test]
async fn odd_answers_that_are_within_the_rules_are_handed_over() {
    for status in [204, 304, 404, 500, 599, 999] {
        let server = Server::start(move |_| answer(status, &[], b"")).await;
        let outcome = ask(&server.url(), &server.authority()).await;
        assert!(
            outcome.starts_with(&format!("status {status}")),
            "{outcome}"
        );
    }
}

#[tokio::test]
async fn a_server_that_does_not_listen_is_an_error_at_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    drop(listener);
    let url = format!("http://{authority}");
    let asking = tokio::time::timeout(Duration::from_secs(20), ask(&url, &authority));
    let outcome = asking.await.unwrap();
    assert!(outcome.contains("ConnectionRefused"), "{outcome}");
}
