//! Guests that write too much to the log, or what should not stand there.

use crate::harness::log::Captured;
use crate::harness::{GRANTED, NOWHERE, hostile, limits, outcomes, request};
use tracing::Level;

/// What a test's subscriber writes before a line.
const PREFIX: usize = 100;

#[tokio::test]
async fn a_flood_of_lines_is_cut_off() {
    for size in ["0", "50", "3000"] {
        let log = Captured::start(Level::INFO);
        let plugin = hostile(limits(|limits| limits.log_bytes = 20_000)).await;
        let (request, _) = request(NOWHERE, &[&["log-flood", "5000", size]]);
        outcomes(&plugin, request).await;
        let log = log.text();
        let lines = log.lines().count();
        assert!((2..=20_000 / 64 + 1).contains(&lines), "{lines} lines");
        assert!(log.len() < 20_000 + lines * PREFIX, "{} bytes", log.len());
        assert_eq!(log.matches("is full").count(), 1);
    }
}

#[tokio::test]
async fn a_flood_of_refusals_is_cut_off() {
    let log = Captured::start(Level::INFO);
    let plugin = hostile(limits(|limits| limits.log_bytes = 20_000)).await;
    let attack = ["many", "http", "evil.example", GRANTED, "1000"];
    let (request, _) = request(NOWHERE, &[&attack]);
    let outcomes = outcomes(&plugin, request).await;
    assert_eq!(outcomes, ["{\"error ErrorCode::HttpRequestDenied\": 1000}"]);
    let log = log.text();
    let lines = log.lines().count();
    assert!((2..=20_000 / 64 + 1).contains(&lines), "{lines} lines");
    assert!(log.len() < 20_000 + lines * PREFIX, "{} bytes", log.len());
}

#[tokio::test]
async fn one_line_stays_one_line_of_text() {
    let log = Captured::start(Level::INFO);
    let plugin = hostile(limits(|limits| limits.log_line_bytes = 200)).await;
    let forged = "x\r\n2026-01-01T00:00:00Z ERROR forged\u{1b}[2J\u{1b}]0;title\u{7}\u{202e}\u{85}";
    let long = "y".repeat(100_000);
    let (request, _) = request(NOWHERE, &[&["log", forged], &["log", &long]]);
    outcomes(&plugin, request).await;
    let log = log.text();
    let [forged, long] = &log.lines().collect::<Vec<_>>()[..] else {
        panic!("{log}");
    };
    assert!(forged.contains("x\\r\\n2026"), "{forged}");
    let is_odd = |c: char| c.is_control() || c == '\u{202e}';
    assert!(!forged.contains(is_odd), "{forged:?}");
    assert!(long.len() < 200 + PREFIX, "{long}");
}
