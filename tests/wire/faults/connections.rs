//! Connections and streams that break, answers that are late or never come.

use super::{ASKED, assert_nothing_runs, header, of, on_both_backends};
use crate::Test;
use crate::flavor::{Order, block_on, step};
use crate::foreign::{Foreign, Recorded};
use serde_json::json;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

pub(super) const TESTS: &[Test] = &[
    // Calls that are under way side by side share a connection.
    ("faults::connection_reset_before_an_answer", || {
        breaks("reset", "before", 2..=3);
    }),
    ("faults::connection_reset_instead_of_an_answer", || {
        breaks("reset", "unanswered", 2..=3);
    }),
    ("faults::connection_reset_during_an_answer", || {
        breaks("reset", "during", 2..=3);
    }),
    ("faults::connection_reset_after_an_answer", || {
        // What has been read may still be dropped with its connection, and the
        // next call may be on its way over it.
        breaks("reset", "after", 1..=3);
    }),
    ("faults::stream_reset_before_an_answer", || {
        breaks("stream", "before", 2..=2);
    }),
    ("faults::stream_reset_instead_of_an_answer", || {
        breaks("stream", "unanswered", 2..=2);
    }),
    ("faults::slow_answers", slow_answers),
    (
        "faults::an_image_is_waited_for_through_failures",
        an_image_is_waited_for_through_failures,
    ),
    (
        "faults::a_question_without_an_answer_is_asked_again",
        a_question_without_an_answer_is_asked_again,
    ),
    (
        "faults::a_server_that_never_answers_is_unreachable",
        a_server_that_never_answers_is_unreachable,
    ),
];

/// The first call of each method breaks: it takes so many attempts, as the same
/// call, and what was done already is not done twice.
fn breaks(kind: &str, when: &str, attempts: RangeInclusive<usize>) {
    let server = Foreign::start();
    for (rpc, _) in ASKED {
        server.fault(json!({"rpc": rpc, "kind": kind, "when": when, "nth": [1]}));
    }
    block_on(on_both_backends().run(&server)).assert_completed();
    let requests = server.requests();
    for (rpc, usual) in ASKED {
        let sent = of(&requests, rpc);
        let usual = usize::try_from(usual).unwrap();
        let took = sent.len() + 1 - usual;
        assert!(attempts.contains(&took), "{rpc} took {took} attempts");
        // A status question has no effect; each is a call of its own.
        if !rpc.starts_with("SandboxWait") {
            let keys: BTreeSet<_> = header(&sent, "x-idempotency-key").into_iter().collect();
            assert_eq!(keys.len(), usual, "{rpc}: {keys:?}");
        }
    }
    let names: Vec<String> = server.sandboxes().into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["cpu.0", "gpu.0"]);
    assert_nothing_runs(&server);
}

/// Late is not lost: nothing is asked twice.
fn slow_answers() {
    let server = Foreign::start();
    for (rpc, _) in ASKED {
        // The token is waited for 5 s at most.
        server.fault(json!({"rpc": rpc, "kind": "delay", "seconds": 2.0, "nth": [1]}));
    }
    block_on(on_both_backends().run(&server)).assert_completed();
    for (rpc, usual) in ASKED {
        assert_eq!(server.count(rpc), usual, "{rpc}");
    }
    assert_nothing_runs(&server);
}

fn an_image_is_waited_for_through_failures() {
    const RPC: &str = "ImageJoinStreaming";

    let server = Foreign::start();
    server.settings(json!({"image_build": 4.0}));
    server.fault(json!({"rpc": RPC, "kind": "status", "nth": [1]}));
    server.fault(json!({"rpc": RPC, "kind": "reset", "when": "before", "nth": [2]}));
    server.fault(json!({"rpc": RPC, "kind": "reset", "when": "during", "nth": [3]}));
    server.fault(json!({"rpc": RPC, "kind": "stream", "when": "before", "nth": [4]}));
    block_on(Order::new(vec![step("a", &[])]).run(&server)).assert_completed();
    assert_eq!(server.count(RPC), 5);
    let requests = server.requests();
    let joins = of(&requests, RPC);
    let goes_on_at = |join: &&Recorded| join.message["last_entry_id"].as_str().map(str::to_owned);
    let places: Vec<_> = joins.iter().map(goes_on_at).collect();
    assert_eq!(
        places,
        [None, None, None, Some("1".into()), Some("1".into())]
    );
}

fn a_question_without_an_answer_is_asked_again() {
    let server = Foreign::start();
    server.fault(json!({"rpc": "SandboxWaitV2", "kind": "silence", "nth": [1]}));
    server.fault(json!({"rpc": "AuthTokenGet", "kind": "silence", "nth": [1]}));
    block_on(Order::new(vec![step("a", &[])]).run(&server)).assert_completed();
    assert_eq!(server.count("SandboxWaitV2"), 2);
    assert_eq!(server.count("AuthTokenGet"), 2);
    assert_eq!(server.count("SandboxTerminateV2"), 0);
    assert_nothing_runs(&server);
}

fn a_server_that_never_answers_is_unreachable() {
    let server = Foreign::start();
    server.fault(json!({"kind": "silence"}));
    let started = Instant::now();
    let refused = block_on(Order::new(vec![step("a", &[])]).start(&server));
    let error = refused.err().expect("no run starts").to_string();
    assert!(error.contains("no answer"), "{error}");
    // The promise is 20 s; a busy machine gets its share.
    assert!(
        started.elapsed() < Duration::from_secs(40),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(server.count("AppGetOrCreate"), 1);
}
