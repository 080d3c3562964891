//! Failures that asking again does not change: they end things at once, with
//! Modal's own words.

use super::{PERMANENT, assert_nothing_runs, status};
use crate::Test;
use crate::flavor::{Order, block_on, gpu_step, step};
use crate::foreign::Foreign;
use flavor_host::contract::{Error, RunStatus, StepStatus};
use flavor_host::{Error as HostError, StartError};
use serde_json::json;

pub(super) const TESTS: &[Test] = &[
    ("faults::permanent_at_first_contact", at_first_contact),
    ("faults::permanent_before_a_sandbox", before_a_sandbox),
    (
        "faults::permanent_while_a_sandbox_runs",
        while_a_sandbox_runs,
    ),
    (
        "faults::refused_credentials_end_the_run_and_its_sandboxes",
        refused_credentials_end_the_run_and_its_sandboxes,
    ),
    ("faults::a_wrong_account", a_wrong_account),
];

fn at_first_contact() {
    for code in PERMANENT {
        let server = Foreign::start();
        server.fault(status("AppGetOrCreate", code, &[1]));
        let refused = block_on(Order::new(vec![step("a", &[])]).start(&server));
        match refused.err().expect("no run starts") {
            StartError::Run(HostError::Plugin(Error::Service(error))) => {
                assert_eq!(error.message, format!("no: {code}"));
            }
            other => panic!("{code}: {other:?}"),
        }
        assert_eq!(server.count("AppGetOrCreate"), 1, "{code}");
    }
}

/// Each fails its step, and asking for the same again is not tried.
fn before_a_sandbox() {
    for code in PERMANENT {
        for rpc in [
            "EnvironmentGetOrCreate",
            "ImageGetOrCreate",
            "SecretGetOrCreate",
            "SandboxCreate",
        ] {
            let server = Foreign::start();
            server.fault(status(rpc, code, &[1]));
            let mut doomed = gpu_step("a", &[]);
            doomed.environment = vec![("A".into(), "1".into())];
            let outcome = block_on(Order::new(vec![doomed, step("b", &["a"])]).run(&server));
            assert_eq!(outcome.finished.status, RunStatus::Failed, "{rpc} {code}");
            let statuses = outcome.statuses();
            // Without an account the run is over, and its steps with it.
            let status = match code {
                "UNAUTHENTICATED" => StepStatus::Cancelled,
                _ => StepStatus::Failed,
            };
            assert_eq!(statuses["a"], status, "{rpc} {code}");
            assert_eq!(statuses["b"], StepStatus::Skipped, "{rpc} {code}");
            let reason = outcome.reason("a");
            assert!(reason.ends_with(&format!("no: {code}")), "{rpc}: {reason}");
            assert_eq!(server.count(rpc), 1, "{rpc} {code}");
            assert!(server.sandboxes().is_empty(), "{rpc} {code}");
        }
    }
}

/// A sandbox about which Modal will not answer is given up, and ended.
fn while_a_sandbox_runs() {
    for code in &PERMANENT[1..] {
        let server = Foreign::start();
        server.script("*", json!({"duration": 3600}));
        server.fault(status("SandboxWaitV2", code, &[1]));
        let outcome = block_on(Order::new(vec![step("a", &[])]).run(&server));
        assert_eq!(outcome.statuses()["a"], StepStatus::Failed, "{code}");
        let reason = outcome.reason("a");
        assert!(reason.ends_with(&format!("no: {code}")), "{reason}");
        assert_eq!(server.count("SandboxTerminateV2"), 1, "{code}");
        let sandboxes = server.sandboxes();
        assert!(sandboxes.iter().all(|sandbox| sandbox.terminated), "{code}");
        assert_eq!(sandboxes.len(), 1);
    }
}

fn refused_credentials_end_the_run_and_its_sandboxes() {
    let server = Foreign::start();
    server.script("*", json!({"duration": 3600}));
    server.script("first", json!({"duration": 0.2}));
    server.fault(json!({
        "rpc": "SandboxCreateV2", "sandbox": "last.0", "kind": "status",
        "code": "UNAUTHENTICATED", "message": "Token revoked",
    }));
    let steps = vec![
        step("first", &[]),
        step("long", &[]),
        gpu_step("longer", &[]),
        step("last", &["first"]),
    ];
    let outcome = block_on(Order::new(steps).run(&server));
    assert_eq!(outcome.finished.status, RunStatus::Failed);
    match &outcome.finished.error {
        Some(Error::Service(error)) => assert_eq!(error.message, "Token revoked"),
        other => panic!("{other:?}"),
    }
    let statuses = outcome.statuses();
    assert_eq!(statuses["first"], StepStatus::Completed);
    assert_eq!(statuses["long"], StepStatus::Cancelled);
    assert_eq!(statuses["longer"], StepStatus::Cancelled);
    assert_eq!(server.count("SandboxCreateV2"), 3);
    assert_nothing_runs(&server);
}

fn a_wrong_account() {
    let server = Foreign::start();
    let mut order = Order::new(vec![step("a", &[])]);
    order.token_secret = "as-somebody-else";
    let error = block_on(order.start(&server)).err().expect("no run starts");
    assert_eq!(error.to_string(), "Token missing or unknown");
    assert_eq!(server.count("AppGetOrCreate"), 1);
}
