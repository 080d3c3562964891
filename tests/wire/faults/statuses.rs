//! Statuses that pass, and waits that the server directs.

use super::{ASKED, PASSING, assert_nothing_runs, assert_one_call, header, of, on_both_backends};
use super::{Order, status};
use crate::Test;
use crate::flavor::{Outcome, block_on, step};
use crate::foreign::Foreign;
use flavor_host::contract::{Event, StepStatus, StopMode};
use serde_json::json;

pub(super) const TESTS: &[Test] = &[
    ("faults::unavailable", || passes("UNAVAILABLE")),
    ("faults::cancelled", || passes("CANCELLED")),
    ("faults::internal", || passes("INTERNAL")),
    ("faults::unknown", || passes("UNKNOWN")),
    ("faults::deadline_exceeded", || passes("DEADLINE_EXCEEDED")),
    (
        "faults::directed_waits_are_waited",
        directed_waits_are_waited,
    ),
    (
        "faults::throttling_without_a_wait_is_final_for_actions_only",
        throttling_without_a_wait_is_final_for_actions_only,
    ),
    (
        "faults::calls_under_way_are_bounded_and_waits_starve_nothing",
        calls_under_way_are_bounded_and_waits_starve_nothing,
    ),
    (
        "faults::a_status_question_is_asked_on",
        a_status_question_is_asked_on,
    ),
    (
        "faults::short_lived_tokens_are_renewed",
        short_lived_tokens_are_renewed,
    ),
];

/// Every call of a run fails twice, and none is noticed.
fn passes(code: &str) {
    let server = Foreign::start();
    for (rpc, _) in ASKED {
        server.fault(status(rpc, code, &[1, 2]));
    }
    block_on(on_both_backends().run(&server)).assert_completed();
    let requests = server.requests();
    for (rpc, usual) in ASKED {
        let sent = of(&requests, rpc);
        assert_eq!(sent.len() as u64, usual + 2, "{rpc}");
        // A status question has no effect; each is a call of its own.
        if !rpc.starts_with("SandboxWait") {
            assert_one_call(&sent[..3]);
            assert_eq!(header(&sent[..3], "x-retry-attempt"), ["0", "1", "2"]);
            let delays = header(&sent[..3], "x-retry-delay");
            assert_eq!(delays[0], "");
            let seconds = |text: &str| text.parse::<f64>().expect("seconds");
            assert!(
                0.1 <= seconds(delays[1]) && 0.3 <= seconds(delays[2]),
                "{delays:?}"
            );
        }
    }
    assert_eq!(server.sandboxes().len(), 2);
    assert_nothing_runs(&server);
}

fn directed_waits_are_waited() {
    let server = Foreign::start();
    for (rpc, _) in ASKED {
        let mut fault = status(rpc, "RESOURCE_EXHAUSTED", &[1, 2, 3, 4, 5]);
        fault["retry_after"] = 0.2.into();
        server.fault(fault);
    }
    block_on(on_both_backends().run(&server)).assert_completed();
    let requests = server.requests();
    for (rpc, usual) in ASKED {
        let sent = of(&requests, rpc);
        assert_eq!(sent.len() as u64, usual + 5, "{rpc}");
        for pair in sent[..6].windows(2) {
            let pause = pair[1].at - pair[0].at;
            assert!(pause >= 0.19, "{rpc} was asked again after {pause} s");
        }
        if !rpc.starts_with("SandboxWait") {
            assert_one_call(&sent[..6]);
            assert_eq!(header(&sent[..6], "x-retry-attempt"), ["0"; 6]);
            let throttled = header(&sent[..6], "x-throttle-retry-attempt");
            assert_eq!(throttled, ["0", "1", "2", "3", "4", "5"]);
        }
    }
    assert_nothing_runs(&server);
}

fn throttling_without_a_wait_is_final_for_actions_only() {
    let server = Foreign::start();
    server.fault(status("SandboxWaitV2", "RESOURCE_EXHAUSTED", &[1, 2, 3]));
    server.fault(json!({
        "rpc": "SandboxCreateV2", "sandbox": "b.0", "kind": "status",
        "code": "RESOURCE_EXHAUSTED", "message": "too many sandboxes",
    }));
    let steps = vec![step("a", &[]), step("b", &["a"])];
    let outcome = block_on(Order::new(steps).run(&server));
    let statuses = outcome.statuses();
    assert_eq!(statuses["a"], StepStatus::Completed);
    assert_eq!(statuses["b"], StepStatus::Failed);
    assert!(
        outcome.reason("b").ends_with("too many sandboxes"),
        "{}",
        outcome.reason("b")
    );
    assert_eq!(server.count("SandboxWaitV2"), 4);
    assert_eq!(server.count("SandboxCreateV2"), 2);
    assert_nothing_runs(&server);
}

/// More sandboxes run than one connection carries streams, and while all of
/// them are waited for another one is created and ends.
fn calls_under_way_are_bounded_and_waits_starve_nothing() {
    const WIDE: usize = 150;

    let server = Foreign::start();
    server.settings(json!({"records_bodies": false}));
    server.script("*", json!({"duration": 3600}));
    server.script("first", json!({"duration": 3.0}));
    server.script("last", json!({"duration": 0.0}));
    let mut steps: Vec<_> = (0..WIDE)
        .map(|number| step(&format!("long-{number}"), &[]))
        .collect();
    steps.push(step("first", &[]));
    steps.push(step("last", &["first"]));
    let outcome = block_on(async {
        let mut run = Order::new(steps).start(&server).await.expect("a run");
        while let Some(event) = run.next().await {
            if matches!(event, Event::StepFinished(finished) if finished.step == "last") {
                break;
            }
        }
        server
            .until("all run", |server| server.sandboxes().len() == WIDE + 2)
            .await;
        run.stop(StopMode::Force).await.expect("the run stops");
        Outcome::of(run).await
    });
    let statuses = outcome.statuses();
    assert_eq!(statuses["first"], StepStatus::Completed);
    assert_eq!(statuses["last"], StepStatus::Completed);
    for (rpc, at_most) in [("SandboxWaitV2", 100), ("SandboxTerminateV2", 150)] {
        let peak = server.peak(rpc);
        assert!((1..=at_most).contains(&peak), "{rpc}: {peak} at one time");
    }
    assert_nothing_runs(&server);
}

/// More often than any call is repeated by itself.
fn a_status_question_is_asked_on() {
    for code in PASSING {
        let server = Foreign::start();
        server.script("*", json!({"duration": 0.5, "exit_code": 0}));
        server.fault(status("SandboxWaitV2", code, &[1, 2, 3, 4, 5]));
        block_on(Order::new(vec![step("a", &[])]).run(&server)).assert_completed();
        assert!(server.count("SandboxWaitV2") >= 6, "{code}");
        assert_eq!(server.count("SandboxTerminateV2"), 0);
    }
}

fn short_lived_tokens_are_renewed() {
    let server = Foreign::start();
    server.settings(json!({"token_life": 2.5}));
    server.script("*", json!({"duration": 1.5}));
    let steps = ["a", "b", "c", "d"].map(|name| match name {
        "a" => step(name, &[]),
        _ => step(name, &["a"]),
    });
    let mut steps = Vec::from(steps);
    steps.push(step("e", &["b", "c", "d"]));
    block_on(Order::new(steps).run(&server)).assert_completed();
    let fetched = server.count("AuthTokenGet");
    assert!((2..10).contains(&fetched), "fetched {fetched} times");
}
