//! What fails, one kind at a time: how runs end, how often was asked, and that
//! nothing is left running.

mod connections;
mod creates;
mod outages;
mod outputs;
mod permanent;
mod statuses;

use crate::Test;
use crate::flavor::{Order, gpu_step, step};
use crate::foreign::{Foreign, Recorded};
use flavor_host::contract::Step;
use serde_json::{Value, json};

pub(crate) fn tests() -> Vec<Test> {
    // The longest first.
    [
        outages::TESTS,
        connections::TESTS,
        creates::TESTS,
        outputs::TESTS,
        permanent::TESTS,
        statuses::TESTS,
    ]
    .concat()
}

/// Statuses that may pass, as the SDK sees it.
const PASSING: [&str; 5] = [
    "UNAVAILABLE",
    "CANCELLED",
    "INTERNAL",
    "UNKNOWN",
    "DEADLINE_EXCEEDED",
];

/// Statuses that asking again does not change.
const PERMANENT: [&str; 5] = [
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
];

/// What a run with one step on each backend asks, and how often when all goes
/// well: each backend's variables are stored for the older one only, plain and
/// secret ones apart.
const ASKED: [(&str, u64); 9] = [
    ("AppGetOrCreate", 1),
    ("AuthTokenGet", 1),
    ("EnvironmentGetOrCreate", 1),
    ("ImageGetOrCreate", 1),
    ("SecretGetOrCreate", 2),
    ("SandboxCreate", 1),
    ("SandboxCreateV2", 1),
    ("SandboxWait", 1),
    ("SandboxWaitV2", 1),
];

/// One step on each backend, one after the other: no more than one call is
/// under way at any time.
fn on_both_backends() -> Order {
    let variables = |step: Step| Step {
        environment: vec![
            ("A".into(), "1".into()),
            ("MODAL_TOKEN_ID".into(), "ak-x".into()),
        ],
        ..step
    };
    Order::new(vec![
        variables(step("cpu", &[])),
        variables(gpu_step("gpu", &["cpu"])),
    ])
}

/// A status for some calls of a method.
fn status(rpc: &str, code: &str, nth: &[u64]) -> Value {
    json!({"rpc": rpc, "kind": "status", "code": code, "message": format!("no: {code}"), "nth": nth})
}

fn assert_nothing_runs(server: &Foreign) {
    let left: Vec<_> = server
        .sandboxes()
        .into_iter()
        .filter(|sandbox| sandbox.running)
        .collect();
    assert!(left.is_empty(), "still running: {left:?}");
}

/// Requests for one method.
fn of<'r>(requests: &'r [Recorded], rpc: &str) -> Vec<&'r Recorded> {
    let requests = requests.iter();
    requests.filter(|request| request.rpc == rpc).collect()
}

/// The values of a header, in the order of the requests; empty where absent.
fn header<'r>(requests: &[&'r Recorded], name: &str) -> Vec<&'r str> {
    let value = |request: &&'r Recorded| request.headers.get(name).map_or("", String::as_str);
    requests.iter().map(value).collect()
}

/// They are attempts of one call: same key, same time of the call.
fn assert_one_call(requests: &[&Recorded]) {
    for name in ["x-idempotency-key", "x-modal-timestamp"] {
        let mut values = header(requests, name);
        values.dedup();
        assert_eq!(values.len(), 1, "{name}: {values:?}");
        assert_ne!(values, [""]);
    }
}
