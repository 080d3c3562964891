//! The same work through Modal's SDK and through the plugin, and what the server
//! gets of each.

use super::{all, connection, image};
use crate::Test;
use crate::equality::{Allowed, Comparison, is_uuid, sorted};
use crate::flavor::{block_on, plugin};
use crate::foreign::{Foreign, Recorded, TOKEN_ID, TOKEN_SECRET};
use crate::python;
use flavor_host::contract::{Command, SessionOptions, Terminal};
use flavor_host::session::command;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Stdio;

pub(super) const TESTS: &[Test] = &[(
    "sessions::requests_are_those_of_the_sdk",
    requests_are_those_of_the_sdk,
)];

/// Operations that are compared. How apps and images come to be is compared for
/// whole pipelines; when ends are asked for is each one's own.
const COMPARED: [&str; 15] = [
    "ImageFromId",
    "SandboxCreateV2",
    "SandboxGetCommandRouterAccess",
    "SandboxGetTaskIdV2",
    "SandboxListV2",
    "SandboxTagsGetV2",
    "SandboxTagsSetV2",
    "SandboxTerminateV2",
    "TaskExecPoll",
    "TaskExecStart",
    "TaskExecStdinWrite",
    "TaskExecStdinWriteStream",
    "TaskExecStdioRead",
    "TaskExecWait",
    "TaskSnapshotFilesystem",
];

const APP: &str = "zenml-sandboxes";
const INPUT: &str = "some input\n";

fn requests_are_those_of_the_sdk() {
    let own = include_str!("allowed-differences.toml");
    let allowed = Allowed::parse(&[own, include_str!("../allowed-differences.toml")]);
    let server = super::server();
    let files = tempfile::tempdir().unwrap();
    let local = files.path().join("file");
    std::fs::write(&local, super::numbered(600_000)).unwrap();
    through_sdk(&server, local.to_str().unwrap());
    let theirs = by_rpc(&server.requests());
    through_plugin(&server);
    let ours = by_rpc(&server.requests());

    let mut differences = Vec::new();
    let mut comparison = Comparison {
        case: "a session",
        allowed: &allowed,
        differences: &mut differences,
    };
    for rpc in COMPARED {
        let none = Vec::new();
        let (theirs, ours) = (
            theirs.get(rpc).unwrap_or(&none),
            ours.get(rpc).unwrap_or(&none),
        );
        if theirs.len() != ours.len() {
            comparison.report(
                rpc,
                &format!("{} times", theirs.len()),
                &format!("{} times", ours.len()),
            );
            continue;
        }
        for (theirs, ours) in theirs.iter().zip(ours) {
            comparison.request(rpc, theirs, ours);
            assert_eq!(theirs.pieces, ours.pieces, "{rpc}");
        }
    }
    assert!(differences.is_empty(), "\n{}", differences.join("\n\n"));
    let common = include_str!("../allowed-differences.toml");
    let idle = allowed.idle();
    let needless = idle.iter().filter(|entry| !common.contains(reason(entry)));
    assert_eq!(needless.collect::<Vec<_>>(), [""; 0]);
}

/// The reason in an entry as it is shown.
fn reason(entry: &str) -> &str {
    let reason = entry.rsplit("reason: \"").next().unwrap();
    reason.trim_end_matches("\" }")
}

fn through_sdk(server: &Foreign, local: &str) {
    let call = json!({
        "app": APP,
        "image": "python:3.11-slim",
        "local": local,
        "options": {"timeout": 300, "cpu": 2, "env": {"A": "1"}, "name": "one"},
        "command": ["sh", "-c", "cat; echo grüße >&2"],
        "command_options": {"workdir": "/", "env": {"B": "2", "C": ""}},
        "input": INPUT,
        "tags": {"a": "b", "c": ""},
    });
    let mut sdk = python::program("session.py");
    sdk.env("MODAL_SERVER_URL", server.url())
        .env("MODAL_TOKEN_ID", TOKEN_ID)
        .env("MODAL_TOKEN_SECRET", TOKEN_SECRET)
        .env("MODAL_CONFIG_PATH", "/dev/null")
        .env("TERM", "dumb");
    let mut sdk = sdk.stdin(Stdio::piped()).spawn().expect("the SDK starts");
    let mut stdin = sdk.stdin.take().unwrap();
    write!(stdin, "{call}").expect("the SDK takes its call");
    drop(stdin);
    assert!(sdk.wait().expect("the SDK ends").success());
}

fn through_plugin(server: &Foreign) {
    let variables = |list: &[(&str, &str)]| {
        let owned = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
        list.iter().map(owned).collect::<Vec<(String, String)>>()
    };
    let connection = || {
        let mut connection = connection(server);
        connection.config = json!({"app_name": APP});
        connection
    };
    let short = || SessionOptions {
        settings: json!({"timeout": 300}).to_string(),
        ..image()
    };
    block_on(async {
        let options = SessionOptions {
            settings: json!({"timeout": 300, "cpu": 2}).to_string(),
            environment: variables(&[("A", "1")]),
            name: Some("one".to_owned()),
            ..image()
        };
        let session = plugin().create_session(connection(), options);
        let session = session.await.unwrap();

        let line = ["sh", "-c", "cat; echo grüße >&2"];
        let order = Command {
            working_directory: Some("/".to_owned()),
            environment: variables(&[("B", "2"), ("C", "")]),
            ..command(line)
        };
        let process = session.exec(order).await.unwrap();
        process.input(INPUT.as_bytes()).await.unwrap();
        all(&mut process.stdout().await.unwrap()).await;
        all(&mut process.stderr().await.unwrap()).await;
        process.wait(None).await.unwrap();
        let order = Command {
            // The size of no terminal at all.
            terminal: Some(Terminal {
                rows: 0,
                columns: 0,
                name: "dumb".to_owned(),
            }),
            ..command(["true"])
        };
        let process = session.exec(order).await.unwrap();
        process.wait(None).await.unwrap();

        let order = Command {
            timeout: Some(60),
            ..command(["true"])
        };
        let process = session.exec(order).await.unwrap();
        process.wait(None).await.unwrap();

        let file = std::io::Cursor::new(super::numbered(600_000));
        session.upload("/d/file", file).await.unwrap();
        all(&mut session.download("/d/file").await.unwrap()).await;

        let tags = variables(&[("a", "b"), ("c", "")]);
        session.set_tags(tags.clone()).await.unwrap();
        session.tags().await.unwrap();
        let listed = plugin().list_sandboxes(connection(), tags, false);
        listed.await.unwrap();

        let snapshot = session.snapshot().await.unwrap();
        let restored = plugin().restore_session(connection(), snapshot, short());
        restored.await.unwrap().destroy().await.unwrap();

        let attached = plugin().attach_session(connection(), session.id());
        let attached = attached.await.unwrap();
        let process = attached.exec(command(["true"])).await.unwrap();
        process.wait(None).await.unwrap();
        attached.destroy().await.unwrap();
    });
}

/// Requests by operation, with ids replaced by what they stand for.
fn by_rpc(requests: &[Recorded]) -> BTreeMap<String, Vec<Recorded>> {
    let mut by_rpc: BTreeMap<String, Vec<Recorded>> = BTreeMap::new();
    for request in requests {
        let mut request = request.clone();
        replace_ids("", &mut request.message);
        let same = by_rpc.entry(request.rpc.clone()).or_default();
        // Each asks for the next page in its own way.
        if request.rpc != "SandboxListV2" || same.is_empty() {
            same.push(request);
        }
    }
    // Outputs are opened side by side.
    for list in by_rpc.values_mut() {
        list.sort_by_key(|request| sorted(&request.message).to_string());
    }
    by_rpc
}

fn replace_ids(key: &str, value: &mut Value) {
    match value {
        Value::String(text) => {
            let kind = text.split_once('-').map_or("", |(kind, _)| kind);
            if ["exec_id", "snapshot_id"].contains(&key) {
                assert!(is_uuid(text), "{key}: {text}");
                *text = "uuid".to_owned();
            } else if ["sb", "ta", "im", "ap"].contains(&kind) && text.len() > 20 {
                *text = kind.to_owned();
            } else if let Ok(told) = serde_json::from_str::<Value>(text)
                && told.is_object()
            {
                // What the tool for files is told, however it is spaced.
                *value = told;
            }
        }
        Value::Array(values) => {
            // By this the plugin finds a sandbox whose answer was lost.
            values.retain(|value| value["tag_name"] != "zenml-sandbox-request");
            for value in values {
                replace_ids(key, value);
            }
        }
        Value::Object(values) => {
            for (key, value) in values.iter_mut() {
                replace_ids(key, value);
            }
            values.retain(|_, value| value != &json!([]));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
