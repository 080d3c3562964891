//! Files in and out of sandboxes, byte for byte.

use super::{all, assert_same, create, image, numbered, plugins, server};
use crate::Test;
use crate::flavor::{block_on, plugin};
use flavor_host::contract::{self, ServiceError, Snapshot};
use flavor_host::session::TransferError;
use serde_json::json;
use std::io::Cursor;

pub(super) const TESTS: &[Test] = &[
    ("sessions::files_there_and_back", files_there_and_back),
    ("sessions::uploads_cut_at_any_byte", uploads_cut_at_any_byte),
    (
        "sessions::downloads_cut_at_any_byte",
        downloads_cut_at_any_byte,
    ),
    ("sessions::files_larger_than_a_window", larger_than_a_window),
    ("sessions::files_that_cannot_be", files_that_cannot_be),
    ("sessions::snapshots", snapshots),
];

const STREAM: &str = "TaskExecStdinWriteStream";

fn files_there_and_back() {
    let server = server();
    block_on(async {
        let session = create(&server).await;
        for length in [0, 1, 262_143, 262_144, 262_145, 5_000_000] {
            let wanted = numbered(length);
            let path = format!("/a/b c/{length}");
            let written = session.upload(&path, Cursor::new(wanted.clone()));
            assert_eq!(written.await.unwrap(), length as u64);
            assert_same(&server.file(session.id(), &path), &wanted);
            let mut file = session.download(&path).await.unwrap();
            assert_same(&all(&mut file).await, &wanted);
        }
    });
    let requests = server.requests();
    let pieces = requests.iter().filter(|request| request.rpc == STREAM);
    let pieces: Vec<_> = pieces.map(|request| request.pieces.to_string()).collect();
    let expected = [
        r#"["end"]"#,
        r#"[1,"end"]"#,
        r#"[262143,"end"]"#,
        r#"[262144,"end"]"#,
        r#"[262144,1,"end"]"#,
    ];
    assert_eq!(pieces[..expected.len()], expected);
}

fn uploads_cut_at_any_byte() {
    let server = server();
    let wanted = numbered(3_000_000);
    let cuts = [
        0, 1, 262_143, 0, 262_144, 262_145, 700_000, 10, 524_288, 300_001,
    ];
    for (number, after) in cuts.into_iter().enumerate() {
        server.fault(json!({"rpc": STREAM, "kind": "cut", "after": after, "nth": [number + 1]}));
    }
    block_on(async {
        let session = create(&server).await;
        let written = session.upload("/file", Cursor::new(wanted.clone()));
        assert_eq!(written.await.unwrap(), wanted.len() as u64);
        assert_same(&server.file(session.id(), "/file"), &wanted);
    });
    // Each goes on where the one before it was cut.
    let mut taken = 0;
    let requests = server.requests();
    let streams = requests.iter().filter(|request| request.rpc == STREAM);
    for (stream, cut) in streams.zip(cuts.into_iter().map(Some).chain([None])) {
        let offset = stream.message["start"]["offset"].as_str().unwrap_or("0");
        assert_eq!(offset, taken.to_string());
        taken += cut.unwrap_or_default();
    }
}

fn downloads_cut_at_any_byte() {
    let server = server();
    let wanted = numbered(1_000_000);
    let cuts = [0, 5, 6, 4, 65_541, 1, 65_542, 100_000, 262_144, 3];
    block_on(async {
        let session = create(&server).await;
        let written = session.upload("/file", Cursor::new(wanted.clone()));
        written.await.unwrap();
        // Both outputs of the tool count.
        for (number, after) in cuts.into_iter().enumerate() {
            server.fault(json!({
                "rpc": "TaskExecStdioRead", "kind": "cut", "after": after, "nth": [number + 1],
            }));
        }
        let mut file = session.download("/file").await.unwrap();
        assert_same(&all(&mut file).await, &wanted);
    });
}

fn larger_than_a_window() {
    let server = server();
    server.settings(json!({"records_bodies": false}));
    // More than is kept for sending it again.
    let wanted = numbered(70 * 1024 * 1024);
    server.fault(json!({"rpc": STREAM, "kind": "cut", "after": 1_000_000, "nth": [1]}));
    block_on(async {
        let session = create(&server).await;
        let written = session.upload("/file", Cursor::new(wanted.clone()));
        assert_eq!(written.await.unwrap(), wanted.len() as u64);
        let mut file = session.download("/file").await.unwrap();
        assert_same(&all(&mut file).await, &wanted);
    });
    assert!(server.count(STREAM) >= 3);
}

fn files_that_cannot_be() {
    let server = server();
    block_on(async {
        let session = create(&server).await;
        session.upload("/d/file", &b"x"[..]).await.unwrap();

        let mut missing = session.download("/missing").await.unwrap();
        let error = missing.next().await.unwrap().unwrap_err();
        let expected = contract::Error::NotFound("there is no /missing".to_owned());
        assert_eq!(plugins(error), expected);

        let mut directory = session.download("/d").await.unwrap();
        let error = plugins(directory.next().await.unwrap().unwrap_err());
        assert_eq!(error, is_directory("ReadFile"));
        let written = session.upload("/d", Cursor::new(numbered(1_000_000))).await;
        assert_eq!(not_written(written), is_directory("WriteFile"));

        server.requests();
        let refused = session.download("relative").await.err().map(plugins);
        assert!(matches!(refused, Some(contract::Error::Invalid(_))));
        let refused = not_written(session.upload("relative", &b"x"[..]).await);
        assert!(matches!(refused, contract::Error::Invalid(_)));
        assert!(server.requests().is_empty());
    });
}

fn is_directory(operation: &str) -> contract::Error {
    contract::Error::Service(ServiceError {
        operation: operation.to_owned(),
        code: 9,
        message: "/d is a directory".to_owned(),
    })
}

fn not_written(result: Result<u64, TransferError>) -> contract::Error {
    match result {
        Err(TransferError::Plugin(error)) => plugins(error),
        other => panic!("not refused: {other:?}"),
    }
}

fn snapshots() {
    let server = server();
    let rpc = "TaskSnapshotFilesystem";
    // The answer is lost, and the same is asked again: one snapshot.
    server.fault(json!({"rpc": rpc, "kind": "status", "performed": true, "nth": [1]}));
    block_on(async {
        let session = create(&server).await;
        let wanted = numbered(100_000);
        session
            .upload("/d/file", Cursor::new(wanted.clone()))
            .await
            .unwrap();
        let snapshot = session.snapshot().await.unwrap();
        session.destroy().await.unwrap();
        let ids: Vec<_> = server
            .requests()
            .iter()
            .filter(|request| request.rpc == rpc)
            .map(|request| request.message["snapshot_id"].clone())
            .collect();
        assert_eq!(ids.len(), 2);
        assert_eq!(ids[0], ids[1]);

        let connection = super::connection(&server);
        let restored = plugin().restore_session(connection, snapshot, image());
        let restored = restored.await.unwrap();
        assert_ne!(restored.id(), session.id());
        let mut file = restored.download("/d/file").await.unwrap();
        assert_same(&all(&mut file).await, &wanted);
        assert_eq!(server.count("ImageFromId"), 1);

        // One that takes too long is not tried again.
        server.fault(json!({"rpc": rpc, "kind": "status", "code": "DEADLINE_EXCEEDED"}));
        let before = server.count(rpc);
        let error = plugins(restored.snapshot().await.unwrap_err());
        assert!(matches!(error, contract::Error::Service(e) if e.code == 4));
        assert_eq!(server.count(rpc), before + 1);

        let unknown = Snapshot {
            image: "im-unknown".to_owned(),
            component: None,
        };
        let restored = plugin().restore_session(super::connection(&server), unknown, image());
        let error = super::not_opened(restored.await.err().unwrap());
        assert!(matches!(error, contract::Error::NotFound(text) if text.contains("im-unknown")));
    });
}
