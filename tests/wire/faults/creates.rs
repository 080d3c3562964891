//! Creates whose answers are lost: the sandbox exists, and must neither be made
//! twice nor left alone.

use super::{assert_nothing_runs, assert_one_call, header, of};
use crate::Test;
use crate::flavor::{Order, Outcome, block_on, gpu_step, step};
use crate::foreign::Foreign;
use flavor_host::contract::{Event, RunStatus, Step, StepStatus, StopMode};
use flavor_host::store::MemoryStore;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) const TESTS: &[Test] = &[
    (
        "faults::a_lost_answer_does_not_make_a_second_sandbox",
        a_lost_answer_does_not_make_a_second_sandbox,
    ),
    (
        "faults::a_sandbox_is_found_again_when_its_key_is_forgotten",
        a_sandbox_is_found_again_when_its_key_is_forgotten,
    ),
    (
        "faults::a_sandbox_is_found_again_when_its_create_is_refused_later",
        a_sandbox_is_found_again_when_its_create_is_refused_later,
    ),
    (
        "faults::a_sandbox_is_found_again_by_the_next_controller",
        a_sandbox_is_found_again_by_the_next_controller,
    ),
    (
        "faults::a_create_that_came_to_nothing_is_repeated_by_the_next_controller",
        a_create_that_came_to_nothing_is_repeated_by_the_next_controller,
    ),
    (
        "faults::what_cannot_be_looked_for_is_said",
        what_cannot_be_looked_for_is_said,
    ),
    (
        "faults::a_stop_ends_a_sandbox_whose_answer_is_late",
        a_stop_ends_a_sandbox_whose_answer_is_late,
    ),
    ("faults::ending_is_tried_again", ending_is_tried_again),
];

/// Both backends: the step, and the method that creates its sandbox.
fn backends() -> [(Step, &'static str); 2] {
    [
        (step("a", &[]), "SandboxCreateV2"),
        (gpu_step("a", &[]), "SandboxCreate"),
    ]
}

/// All ways in which the answer to a create that was carried out gets lost.
fn losses(rpc: &str) -> Vec<Value> {
    let loss = |mut fault: Value| {
        fault["rpc"] = rpc.into();
        fault["nth"] = json!([1]);
        fault
    };
    let status = json!({"kind": "status", "code": "UNAVAILABLE", "performed": true});
    let reset = |when: &str| json!({"kind": "reset", "when": when});
    let stream = json!({"kind": "stream", "when": "unanswered"});
    vec![
        loss(status),
        loss(reset("unanswered")),
        loss(reset("during")),
        loss(stream),
    ]
}

fn a_lost_answer_does_not_make_a_second_sandbox() {
    for (step, rpc) in backends() {
        for loss in losses(rpc) {
            let server = Foreign::start();
            server.fault(loss.clone());
            block_on(Order::new(vec![step.clone()]).run(&server)).assert_completed();
            let requests = server.requests();
            let creates = of(&requests, rpc);
            assert_eq!(creates.len(), 2, "{loss}");
            assert_one_call(&creates);
            assert_eq!(server.sandboxes().len(), 1, "{loss}");
            assert_nothing_runs(&server);
        }
    }
}

/// Modal says that there is a sandbox of that name: ours.
fn a_sandbox_is_found_again_when_its_key_is_forgotten() {
    for (step, rpc) in backends() {
        let server = Foreign::start();
        server.settings(json!({"forgets_keys": true}));
        server.script("*", json!({"duration": 2.0}));
        let [lost, ..] = &losses(rpc)[..] else {
            panic!("there is one");
        };
        server.fault(lost.clone());
        block_on(Order::new(vec![step]).run(&server)).assert_completed();
        assert_eq!(server.count(rpc), 2);
        assert_eq!(server.sandboxes().len(), 1);
        assert_nothing_runs(&server);
    }
}

fn a_sandbox_is_found_again_when_its_create_is_refused_later() {
    for (step, rpc) in backends() {
        let server = Foreign::start();
        server.script("*", json!({"duration": 2.0}));
        for lost in &losses(rpc)[..1] {
            server.fault(lost.clone());
        }
        server.fault(json!({
            "rpc": rpc, "kind": "status", "code": "RESOURCE_EXHAUSTED", "nth": [2],
        }));
        // A question like any other: it may fail in passing too.
        server.fault(json!({"rpc": "SandboxListV2", "kind": "status", "nth": [1, 2]}));
        block_on(Order::new(vec![step]).run(&server)).assert_completed();
        assert_eq!(server.count(rpc), 2);
        assert_eq!(server.sandboxes().len(), 1);
        assert_nothing_runs(&server);
    }
}

/// Runs a step until its create has been asked for so many times, lets go of the
/// run, and takes it up again.
fn let_go_of(server: &Foreign, step: &Step, rpc: &str, creates: u64) -> Outcome {
    let store = Arc::<MemoryStore>::default();
    let order = || Order {
        store: Arc::clone(&store),
        ..Order::new(vec![step.clone()])
    };
    block_on(async {
        let run = order().start(server).await.expect("the run starts");
        let asked = |server: &Foreign| server.count(rpc) == creates;
        server.until("the creates are under way", asked).await;
        run.abandon().await;
        server.no_faults();
        order().resume(server).await
    })
}

/// The answer is lost, and so is the controller. Whether the sandbox still runs or
/// has ended then.
fn a_sandbox_is_found_again_by_the_next_controller() {
    for (step, rpc) in backends() {
        for duration in [0.0, 5.0] {
            let server = Foreign::start();
            server.settings(json!({"forgets_keys": true}));
            server.script("*", json!({"duration": duration}));
            let [lost, ..] = &losses(rpc)[..] else {
                panic!("there is one");
            };
            server.fault(lost.clone());
            server.fault(json!({"rpc": rpc, "kind": "silence", "nth": [2]}));
            let outcome = let_go_of(&server, &step, rpc, 2);
            outcome.assert_completed();
            assert_eq!(server.count(rpc), 2, "it is not asked for again");
            assert_eq!(server.sandboxes().len(), 1);
            assert_nothing_runs(&server);
        }
    }
}

fn a_create_that_came_to_nothing_is_repeated_by_the_next_controller() {
    for (step, rpc) in backends() {
        let server = Foreign::start();
        server.fault(json!({"rpc": rpc, "kind": "silence", "nth": [1]}));
        let_go_of(&server, &step, rpc, 1).assert_completed();
        let requests = server.requests();
        let creates = of(&requests, rpc);
        let keys = header(&creates, "x-idempotency-key");
        assert!(keys.len() == 2 && keys[0] == keys[1], "{keys:?}");
        assert_eq!(server.sandboxes().len(), 1);
        assert_nothing_runs(&server);
    }
}

fn what_cannot_be_looked_for_is_said() {
    let server = Foreign::start();
    server.fault(json!({"rpc": "SandboxCreateV2", "kind": "status", "nth": [1]}));
    server.fault(json!({
        "rpc": "SandboxCreateV2", "kind": "status", "code": "INVALID_ARGUMENT",
        "message": "unknown region", "nth": [2],
    }));
    server.fault(json!({
        "rpc": "SandboxListV2", "kind": "status", "code": "PERMISSION_DENIED",
        "message": "no lists for you",
    }));
    let outcome = block_on(Order::new(vec![step("a", &[])]).run(&server));
    assert_eq!(outcome.statuses()["a"], StepStatus::Failed);
    let reason = outcome.reason("a");
    assert!(reason.contains("unknown region"), "{reason}");
    assert!(reason.contains("no lists for you"), "{reason}");
    assert!(reason.contains("may still run"), "{reason}");
    assert_eq!(server.count("SandboxCreateV2"), 2);
}

fn a_stop_ends_a_sandbox_whose_answer_is_late() {
    let server = Foreign::start();
    server.script("*", json!({"duration": 3600}));
    let late = json!({"rpc": "SandboxCreateV2", "kind": "delay", "seconds": 1.0});
    server.fault(late);
    let outcome = block_on(async {
        let order = Order::new(vec![step("a", &[])]);
        let run = order.start(&server).await.expect("the run starts");
        server
            .until("the create is under way", |server| {
                server.count("SandboxCreateV2") == 1
            })
            .await;
        run.stop(StopMode::Force).await.expect("the run stops");
        Outcome::of(run).await
    });
    assert_eq!(outcome.finished.status, RunStatus::Stopped);
    assert_eq!(server.count("SandboxTerminateV2"), 1);
    assert_eq!(server.sandboxes().len(), 1);
    assert_nothing_runs(&server);
}

/// A stop, and the first answers to it are failures.
fn ending_is_tried_again() {
    for (step, suffix) in [(step("a", &[]), "V2"), (gpu_step("a", &[]), "")] {
        let rpc = format!("SandboxTerminate{suffix}");
        let server = Foreign::start();
        server.script("*", json!({"duration": 3600}));
        server.fault(json!({"rpc": rpc, "kind": "status", "nth": [1, 2]}));
        server.fault(json!({"rpc": rpc, "kind": "reset", "when": "before", "nth": [3]}));
        let finished = block_on(async {
            let order = Order::new(vec![step]);
            let mut run = order.start(&server).await.expect("the run starts");
            while let Some(event) = run.next().await {
                if matches!(event, Event::StepStarted(_)) {
                    run.stop(StopMode::Force).await.expect("the run stops");
                }
            }
            run.finish().await.expect("an end")
        });
        assert_eq!(finished.status, RunStatus::Stopped);
        let requests = server.requests();
        assert_one_call(&of(&requests, &rpc));
        assert_eq!(of(&requests, &rpc).len(), 4);
        assert_nothing_runs(&server);
    }
}
