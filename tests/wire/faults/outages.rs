//! A server that goes away, for a while or for good.

use super::{assert_nothing_runs, status};
use crate::Test;
use crate::flavor::{Order, Outcome, block_on, gpu_step, step};
use crate::foreign::Foreign;
use flavor_host::contract::{Error, ExecutionMode, RunStatus, StepStatus};
use flavor_host::{Error as HostError, StartError};
use serde_json::json;
use std::time::{Duration, Instant};

pub(super) const TESTS: &[Test] = &[
    ("faults::away_for_a_minute", away_for_a_minute),
    ("faults::away_while_a_step_fails", away_while_a_step_fails),
    ("faults::away_from_the_start", away_from_the_start),
    (
        "faults::others_are_ended_through_an_outage",
        others_are_ended_through_an_outage,
    ),
];

/// Sandboxes run on without us: one ends meanwhile, one much later, and one is
/// to be created just then.
fn away_for_a_minute() {
    const MINUTE: Duration = Duration::from_secs(60);

    let server = Foreign::start();
    server.script("quick", json!({"duration": 1.0}));
    server.script("short", json!({"duration": 10.0}));
    server.script("long", json!({"duration": 70.0}));
    let steps = vec![
        step("quick", &[]),
        step("short", &[]),
        gpu_step("long", &[]),
        step("next", &["quick"]),
        gpu_step("last", &["next", "short", "long"]),
    ];
    let started = Instant::now();
    let outcome = block_on(async {
        let run = Order::new(steps).start(&server).await.expect("a run");
        // As soon as the first step has ended, its successor is created: there
        // is nobody to create it.
        server.fault(
            json!({"rpc": "SandboxCreateV2", "sandbox": "next.0", "kind": "silence", "nth": [1]}),
        );
        server
            .until("the next step is being created", |server| {
                server.count("SandboxCreateV2") == 3
            })
            .await;
        server.go_away(MINUTE);
        Outcome::of(run).await
    });
    outcome.assert_completed();
    assert!(started.elapsed() >= MINUTE);
    let names: Vec<String> = server.sandboxes().into_iter().map(|it| it.name).collect();
    assert_eq!(names.len(), 5, "{names:?}");
    assert_eq!(server.count("SandboxTerminate"), 0);
    assert_eq!(server.count("SandboxTerminateV2"), 0);
    assert_nothing_runs(&server);
}

/// The failure is known later, and so is the success of the other.
fn away_while_a_step_fails() {
    let server = Foreign::start();
    server.script("bad", json!({"duration": 2.0, "status": 2, "exit_code": 3}));
    server.script("good", json!({"duration": 2.0}));
    let outcome = block_on(async {
        let steps = vec![step("bad", &[]), gpu_step("good", &[])];
        let run = Order::new(steps).start(&server).await.expect("a run");
        server
            .until("both run", |server| server.sandboxes().len() == 2)
            .await;
        server.go_away(Duration::from_secs(5));
        Outcome::of(run).await
    });
    let statuses = outcome.statuses();
    assert_eq!(statuses["bad"], StepStatus::Failed);
    assert_eq!(statuses["good"], StepStatus::Completed);
    assert!(outcome.reason("bad").contains("exit code 3"));
    assert_eq!(server.sandboxes().len(), 2);
    assert_nothing_runs(&server);
}

/// One step fails, and just when the others are to be ended for it the server
/// cannot do so, for longer than a stop by hand would wait.
fn others_are_ended_through_an_outage() {
    let server = Foreign::start();
    server.script("*", json!({"duration": 3600}));
    server.script("bad", json!({"duration": 2.0, "status": 2, "exit_code": 3}));
    let failures: Vec<u64> = (1..=9).collect();
    for rpc in ["SandboxTerminate", "SandboxTerminateV2"] {
        server.fault(status(rpc, "UNAVAILABLE", &failures));
    }
    let steps = vec![step("bad", &[]), step("long", &[]), gpu_step("longer", &[])];
    let mut order = Order::new(steps);
    order.pipeline.execution_mode = ExecutionMode::FailFast;
    let outcome = block_on(order.run(&server));
    assert_eq!(outcome.finished.status, RunStatus::Failed);
    assert_eq!(outcome.warnings(), [""; 0]);
    assert_eq!(server.count("SandboxTerminate"), 10);
    assert_eq!(server.count("SandboxTerminateV2"), 10);
    assert_eq!(server.sandboxes().len(), 3);
    assert_nothing_runs(&server);
}

fn away_from_the_start() {
    let server = Foreign::start();
    server.go_away(Duration::from_secs(3600));
    let started = Instant::now();
    let refused = block_on(Order::new(vec![step("a", &[])]).start(&server));
    match refused.err().expect("no run starts") {
        StartError::Run(HostError::Plugin(Error::Unreachable(error))) => {
            assert!(error.reason.contains("refused"), "{}", error.reason);
        }
        other => panic!("{other:?}"),
    }
    // The promise is 20 s; a busy machine gets its share.
    assert!(
        started.elapsed() < Duration::from_secs(40),
        "{:?}",
        started.elapsed()
    );
}
