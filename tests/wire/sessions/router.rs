//! Command routers that restart and move, and tokens that end.

use super::{all, create, plugins, server, shell, until};
use crate::Test;
use crate::flavor::block_on;
use flavor_host::contract;
use flavor_host::session::command;
use serde_json::json;

pub(super) const TESTS: &[Test] = &[
    ("sessions::a_router_that_restarts", a_router_that_restarts),
    ("sessions::a_router_that_moves", a_router_that_moves),
    (
        "sessions::a_token_that_ends_during_a_command",
        a_token_that_ends,
    ),
    (
        "sessions::a_token_that_lasts_is_refused_twice_at_most",
        a_token_that_lasts,
    ),
    ("sessions::a_command_starts_once", a_command_starts_once),
    (
        "sessions::what_a_router_does_not_know",
        what_a_router_does_not_know,
    ),
];

const ACCESS: &str = "SandboxGetCommandRouterAccess";

fn a_router_that_restarts() {
    restarted(false);
}

fn a_router_that_moves() {
    restarted(true);
}

/// Between two lines of a command the router goes away and comes back.
fn restarted(moves: bool) {
    let server = server();
    block_on(async {
        let session = create(&server).await;
        let line = "echo one; read line; echo $line; read line; echo $line; exit 6";
        let process = shell(&session, line).await;
        let mut stdout = process.stdout().await.unwrap();
        let (waited, ()) = futures::join!(process.wait(None), async {
            until(&mut stdout, "one\n").await;
            server.restart_router(moves);
            process.input(&b"two\nthree\n"[..]).await.unwrap();
            assert_eq!(all(&mut stdout).await, b"two\nthree\n");
        });
        assert_eq!(waited.unwrap(), 6);
        // Whatever comes next finds it too.
        let process = session.exec(command(["true"])).await.unwrap();
        assert_eq!(process.wait(None).await.unwrap(), 0);
    });
    let asked = server.count(ACCESS);
    assert!(!moves || asked > 0);
}

fn a_token_that_ends() {
    let server = server();
    // Within the time in which a refused token is replaced.
    server.settings(json!({"router_token_life": 25.0}));
    block_on(async {
        let session = create(&server).await;
        let process = shell(&session, "echo one; read line; echo $line; exit 2").await;
        let mut stdout = process.stdout().await.unwrap();
        until(&mut stdout, "one\n").await;
        server.revoke();
        server.restart_router(false);
        process.input(&b"two\n"[..]).await.unwrap();
        assert_eq!(all(&mut stdout).await, b"two\n");
        assert_eq!(process.wait(None).await.unwrap(), 2);
    });
    assert!(server.count(ACCESS) >= 1);
}

fn a_token_that_lasts() {
    let server = server();
    block_on(async {
        let session = create(&server).await;
        server.revoke();
        let error = session.exec(command(["true"])).await.err().unwrap();
        assert!(matches!(
            plugins(error),
            contract::Error::Service(error) if error.code == 16
        ));
    });
    assert_eq!(server.count("TaskExecStart"), 2);
    assert_eq!(server.count(ACCESS), 0);
}

/// However often it is asked for.
fn a_command_starts_once() {
    let server = server();
    let rpc = "TaskExecStart";
    server.fault(json!({"rpc": rpc, "kind": "status", "performed": true, "nth": [1, 2]}));
    server.fault(json!({"rpc": rpc, "kind": "reset", "when": "unanswered", "nth": [3]}));
    server.fault(json!({"rpc": rpc, "kind": "reset", "when": "before", "nth": [4]}));
    let throttled = json!({
        "rpc": rpc, "kind": "status", "code": "RESOURCE_EXHAUSTED", "retry_after": 0.1, "nth": [5],
    });
    server.fault(throttled);
    block_on(async {
        let session = create(&server).await;
        let process = shell(&session, "echo x >> count; cat count").await;
        let mut stdout = process.stdout().await.unwrap();
        assert_eq!(all(&mut stdout).await, b"x\n");
        assert_eq!(process.wait(None).await.unwrap(), 0);
    });
    let requests = server.requests();
    let starts: Vec<_> = requests.iter().filter(|sent| sent.rpc == rpc).collect();
    assert_eq!(starts.len(), 6);
    assert!(starts.iter().all(|sent| sent.message == starts[0].message));
    assert_eq!(starts[5].headers["x-throttle-retry-attempt"], "1");
}

fn what_a_router_does_not_know() {
    let server = server();
    block_on(async {
        let session = create(&server).await;
        let process = shell(&session, "read line").await;
        let other = create(&server).await;
        session.destroy().await.unwrap();
        // The command went with its sandbox.
        let error = process.wait(None).await.unwrap_err().to_string();
        assert!(error.contains("has ended"), "{error}");

        let attached = other.exec(command(["true"])).await.unwrap();
        assert_eq!(attached.wait(None).await.unwrap(), 0);
        for code in ["NOT_FOUND", "UNAUTHENTICATED", "RESOURCE_EXHAUSTED"] {
            let fault = json!({"rpc": "TaskExecStart", "kind": "status", "code": code});
            server.fault(fault);
            let error = other.exec(command(["true"])).await.err().unwrap();
            match (code, plugins(error)) {
                ("NOT_FOUND", contract::Error::NotFound(_)) => {}
                ("UNAUTHENTICATED", contract::Error::Service(error)) => assert_eq!(error.code, 16),
                ("RESOURCE_EXHAUSTED", contract::Error::Service(error)) => {
                    assert_eq!(error.code, 8);
                }
                (code, error) => panic!("{code}: {error:?}"),
            }
            server.no_faults();
        }
    });
}
