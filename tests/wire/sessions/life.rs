//! How sessions begin and end: tags, names, lists, destroying.

use super::{connection, connection_with, create, image, not_opened, plugins, server, shell};
use crate::Test;
use crate::flavor::{block_on, plugin};
use flavor_host::contract::{self, SessionOptions};
use flavor_host::session::{Component, command};
use flavor_host::{Connection, StartError};
use serde_json::{Map, Value, json};

pub(super) const TESTS: &[Test] = &[
    (
        "sessions::a_sandbox_without_tags_is_ended",
        a_sandbox_without_tags_is_ended,
    ),
    (
        "sessions::a_create_whose_answer_is_lost",
        a_create_whose_answer_is_lost,
    ),
    ("sessions::destroying_again", destroying_again),
    ("sessions::leaving", leaving),
    ("sessions::names", names),
    ("sessions::lists_in_pages", lists_in_pages),
    ("sessions::attaching", attaching),
    ("sessions::the_older_backend", the_older_backend),
    ("sessions::the_environment_of_commands", environments),
];

fn a_sandbox_without_tags_is_ended() {
    for (gpu, rpc) in [(false, "SandboxTagsSetV2"), (true, "SandboxTagsSet")] {
        let server = server();
        server.fault(json!({"rpc": rpc, "kind": "status", "code": "PERMISSION_DENIED"}));
        let mut options = image();
        if gpu {
            options.settings = r#"{"gpu": "T4"}"#.to_owned();
        }
        let created = block_on(plugin().create_session(connection(&server), options));
        let error = not_opened(created.err().unwrap());
        assert!(matches!(error, contract::Error::Service(error) if error.code == 7));
        let [sandbox] = &*server.sandboxes() else {
            panic!("one sandbox")
        };
        assert!(sandbox.terminated);
    }
}

/// There is one sandbox, whatever becomes of the answers.
fn a_create_whose_answer_is_lost() {
    let rpc = "SandboxCreateV2";
    for fault in [
        json!({"rpc": rpc, "kind": "status", "performed": true, "nth": [1, 2, 3, 4]}),
        json!({"rpc": rpc, "kind": "reset", "when": "unanswered", "nth": [1]}),
    ] {
        let server = server();
        server.fault(fault);
        block_on(async {
            let session = create(&server).await;
            assert_eq!(server.sandboxes().len(), 1);
            assert_eq!(server.sandboxes()[0].id, session.id());
        });
    }
    // A server that does it again all the same, and then says no: the sandbox is
    // found by the mark of the request.
    let server = server();
    server.fault(json!({"rpc": rpc, "kind": "status", "performed": true, "nth": [1]}));
    server.fault(json!({"rpc": rpc, "kind": "status", "code": "INVALID_ARGUMENT", "nth": [2]}));
    block_on(async {
        let session = create(&server).await;
        assert_eq!(server.sandboxes().len(), 1);
        let tags = session.tags().await.unwrap();
        let id = session.id().to_owned();
        assert_eq!(tags, [("zenml-sandbox-id".to_owned(), id)]);
    });
}

fn destroying_again() {
    let server = server();
    let rpc = "SandboxTerminateV2";
    server.fault(json!({"rpc": rpc, "kind": "status", "code": "PERMISSION_DENIED", "nth": [1]}));
    block_on(async {
        let session = create(&server).await;
        let error = plugins(session.destroy().await.unwrap_err());
        assert!(matches!(error, contract::Error::Service(error) if error.code == 7));
        // The handle stayed open.
        assert_eq!(session.tags().await.unwrap().len(), 1);
        session.destroy().await.unwrap();
        session.destroy().await.unwrap();
        assert!(server.sandboxes()[0].terminated);
        let error = plugins(session.exec(command(["true"])).await.err().unwrap());
        let contract::Error::Invalid(faults) = error else {
            panic!("{error:?}")
        };
        assert_eq!(faults[0].kind, "closed");
    });
    assert_eq!(server.count(rpc), 2);
}

fn leaving() {
    let server = server();
    block_on(async {
        for destroy_on_exit in [false, true] {
            let options = SessionOptions {
                destroy_on_exit,
                ..image()
            };
            let created = plugin().create_session(connection(&server), options);
            let session = created.await.unwrap();
            let process = shell(&session, "echo one").await;
            session.leave().await.unwrap();
            let is_running = |sandbox: &crate::foreign::Sandbox| sandbox.running;
            let sandboxes = server.sandboxes();
            let left = sandboxes.iter().find(|sandbox| sandbox.id == session.id());
            assert_eq!(left.map(is_running), Some(!destroy_on_exit));
            if !destroy_on_exit {
                // What was started can still be waited for.
                assert_eq!(process.wait(None).await.unwrap(), 0);
            }
            assert!(session.tags().await.is_err());
        }
    });
}

fn names() {
    let server = server();
    let named = || SessionOptions {
        name: Some("only-one".to_owned()),
        ..image()
    };
    block_on(async {
        let session = plugin().create_session(connection(&server), named());
        let session = session.await.unwrap();
        let twice = plugin().create_session(connection(&server), named()).await;
        let error = not_opened(twice.err().unwrap());
        assert!(matches!(error, contract::Error::Service(error) if error.code == 6));
        assert_eq!(server.sandboxes().len(), 1);

        let found = plugin().attach_named_session(connection(&server), "only-one");
        assert_eq!(found.await.unwrap().id(), session.id());
        session.destroy().await.unwrap();
        let gone = plugin().attach_named_session(connection(&server), "only-one");
        let error = not_opened(gone.await.err().unwrap());
        assert!(matches!(error, contract::Error::NotFound(text) if text.contains("only-one")));
        // The name is free again.
        let session = plugin().create_session(connection(&server), named());
        session.await.unwrap();
    });
}

fn lists_in_pages() {
    let server = server();
    server.settings(json!({"page": 3}));
    let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    block_on(async {
        // Without an app there is nothing, and none is made for it.
        let list = |tags: Vec<(String, String)>, finished| {
            plugin().list_sandboxes(connection(&server), tags, finished)
        };
        assert!(list(Vec::new(), true).await.unwrap().is_empty());

        let mut ids = Vec::new();
        for number in 0..10 {
            let options = SessionOptions {
                tags: vec![
                    tag("all", "yes"),
                    tag("number", &(number % 2).to_string()),
                    tag("zenml-sandbox-id", "not for others to say"),
                ],
                name: Some(format!("n{number}")),
                ..image()
            };
            let session = plugin().create_session(connection(&server), options);
            let session = session.await.unwrap();
            ids.push(session.id().to_owned());
            if number >= 8 {
                session.destroy().await.unwrap();
            }
        }
        ids.reverse();
        let listed = list(Vec::new(), true).await.unwrap();
        let found: Vec<_> = listed.iter().map(|one| one.sandbox.clone()).collect();
        assert_eq!(found, ids);
        let finished: Vec<_> = listed.iter().map(|one| one.finished).collect();
        assert_eq!(finished, [vec![true; 2], vec![false; 8]].concat());
        assert_eq!(listed[9].name.as_deref(), Some("n0"));
        assert!(listed[9].tags.contains(&tag("all", "yes")));
        assert!(listed[9].tags.contains(&tag("zenml-sandbox-id", &ids[9])));

        assert_eq!(list(Vec::new(), false).await.unwrap().len(), 8);
        let odd = vec![tag("all", "yes"), tag("number", "1")];
        assert_eq!(list(odd.clone(), true).await.unwrap().len(), 5);
        assert_eq!(list(odd, false).await.unwrap().len(), 4);
        assert!(
            list(vec![tag("no", "body")], true)
                .await
                .unwrap()
                .is_empty()
        );
    });
}

fn attaching() {
    let server = server();
    block_on(async {
        let session = create(&server).await;
        let attach = async |id: &str| plugin().attach_session(connection(&server), id).await;
        let attached = attach(session.id()).await.unwrap();
        assert_eq!(attached.id(), session.id());
        assert_eq!(attached.dashboard_url(), session.dashboard_url());
        assert_eq!(attached.metadata(), session.metadata());
        let url = format!("https://modal.com/id/{}", session.id());
        assert_eq!(session.dashboard_url(), url);
        let process = shell(&attached, "exit 3").await;
        assert_eq!(process.wait(None).await.unwrap(), 3);
        // A handle that did not create it has to ask for the way.
        assert_eq!(server.count("SandboxGetTaskIdV2"), 1);
        assert_eq!(server.count("SandboxGetCommandRouterAccess"), 1);

        // The control plane's word for a sandbox that has ended meanwhile.
        let code = "FAILED_PRECONDITION";
        let rpc = "SandboxGetCommandRouterAccess";
        server.fault(json!({"rpc": rpc, "kind": "status", "code": code}));
        let other = attach(session.id()).await.unwrap();
        let error = plugins(other.exec(command(["true"])).await.err().unwrap());
        assert!(matches!(error, contract::Error::NotFound(_)));
        server.no_faults();

        session.destroy().await.unwrap();
        for id in [session.id(), "sb-unknown"] {
            let error = not_opened(attach(id).await.err().unwrap());
            assert!(matches!(error, contract::Error::NotFound(text) if text.contains(id)));
        }
    });
}

fn the_older_backend() {
    let server = server();
    server.script("*", json!({"duration": 3600.0, "scheduled_after": 0.3}));
    block_on(async {
        let options = SessionOptions {
            settings: r#"{"gpu": "T4"}"#.to_owned(),
            environment: vec![("A".to_owned(), "1".to_owned())],
            ..image()
        };
        let created = plugin().create_session(connection(&server), options);
        let session = created.await.unwrap();
        // Scheduled before anybody gets it.
        assert!(server.count("SandboxGetTaskId") >= 1);
        let asked = server.count("SandboxGetTaskId");
        let process = shell(&session, "exit 9").await;
        assert_eq!(process.wait(None).await.unwrap(), 9);
        session.upload("/file", &b"x"[..]).await.unwrap();
        assert_eq!(server.count("SandboxGetTaskId"), asked);
        assert_eq!(server.count("TaskGetCommandRouterAccess"), 1);
        session
            .set_tags(vec![("a".into(), "b".into())])
            .await
            .unwrap();
        assert_eq!(session.tags().await.unwrap(), [("a".into(), "b".into())]);
        session.destroy().await.unwrap();
    });
    // The older backend needs no short-lived token.
    assert_eq!(server.count("AuthTokenGet"), 0);
    assert!(server.sandboxes()[0].terminated);

    // By choice, for a sandbox without a GPU.
    let options: Map<String, Value> = Map::from_iter([("sandbox_v2".to_owned(), false.into())]);
    let created = plugin().create_session(connection_with(&server, options), image());
    let session = block_on(created).unwrap();
    assert_eq!(session.id().len(), "sb-".len() + 22);
}

fn environments() {
    let server = server();
    block_on(async {
        let session = create(&server).await;
        let mut order = command(["sh", "-c", "echo $A$B; pwd"]);
        order.environment = vec![
            ("A".to_owned(), "1".to_owned()),
            ("B".to_owned(), "ü".to_owned()),
        ];
        order.working_directory = Some("/".to_owned());
        let process = session.exec(order).await.unwrap();
        let collected = process.collect(None).await.unwrap();
        assert_eq!(collected.stdout, "1ü\n/\n");

        server.requests();
        let mut order = command(["true"]);
        order.working_directory = Some("relative".to_owned());
        let refused = plugins(session.exec(order).await.err().unwrap());
        assert!(matches!(refused, contract::Error::Invalid(_)));
        let refused = session.exec(command(["x".repeat(70_000)])).await;
        let refused = plugins(refused.err().unwrap());
        assert!(matches!(refused, contract::Error::Invalid(_)));
        assert!(server.requests().is_empty());

        let error = plugins(shell(&session, "read x").await.kill().await.unwrap_err());
        assert!(matches!(error, contract::Error::Unsupported(text) if text.contains("kill")));
    });

    // What marks a sandbox of a stack.
    block_on(async {
        let component = Component {
            connection: Connection {
                config: json!({"app_name": "mine"}),
                ..connection(&server)
            },
            id: Some("a0000000-0000-4000-8000-000000000001".to_owned()),
            step: None,
        };
        let created = plugin().create_session(component.clone(), image());
        let session = created.await.unwrap();
        let tags = session.tags().await.unwrap();
        let names: Vec<_> = tags.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["zenml-sandbox-id", "zenml-sandbox-component-id"]);
        let snapshot = session.snapshot().await.unwrap();
        assert_eq!(snapshot.component, component.id);
        let other = Component {
            id: Some("a0000000-0000-4000-8000-000000000002".to_owned()),
            ..component
        };
        let refused = plugin().restore_session(other, snapshot, image()).await;
        let error: StartError = refused.err().unwrap();
        assert!(matches!(not_opened(error), contract::Error::Invalid(_)));
    });
}
