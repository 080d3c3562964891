//! What commands read arrives complete, in order and once.

use super::{all, assert_same, create, numbered, server, shell, until};
use crate::Test;
use crate::flavor::block_on;
use serde_json::json;
use std::io::Cursor;

pub(super) const TESTS: &[Test] = &[
    ("sessions::input_and_its_end", input_and_its_end),
    ("sessions::input_cut_at_any_byte", input_cut_at_any_byte),
    (
        "sessions::input_whose_answers_are_lost",
        input_whose_answers_are_lost,
    ),
    ("sessions::input_that_nobody_wants", input_that_nobody_wants),
];

const WRITE: &str = "TaskExecStdinWrite";

/// After the end of the input the command goes on.
fn input_and_its_end() {
    let server = server();
    let wanted = numbered(5_000_000);
    block_on(async {
        let session = create(&server).await;
        let process = shell(&session, "cat; printf end; exit 3").await;
        let mut stdout = process.stdout().await.unwrap();
        let input = process.input(Cursor::new(wanted.clone()));
        let (read, given) = futures::join!(all(&mut stdout), input);
        given.unwrap();
        assert_same(&read, &[&*wanted, b"end"].concat());
        assert_eq!(process.wait(None).await.unwrap(), 3);
    });
}

fn input_cut_at_any_byte() {
    let server = server();
    let wanted = numbered(3_000_000);
    for (number, after) in [0, 1, 4095, 4096, 65_535, 65_536, 100_000, 262_144, 9]
        .into_iter()
        .enumerate()
    {
        server.fault(json!({"rpc": WRITE, "kind": "cut", "after": after, "nth": [number + 1]}));
    }
    block_on(async {
        let session = create(&server).await;
        let process = shell(&session, "cat").await;
        let mut stdout = process.stdout().await.unwrap();
        let input = process.input(Cursor::new(wanted.clone()));
        let (read, given) = futures::join!(all(&mut stdout), input);
        given.unwrap();
        assert_same(&read, &wanted);
        assert_eq!(process.wait(None).await.unwrap(), 0);
    });
    assert!(server.count("TaskExecStdinStatus") >= 9);
}

fn input_whose_answers_are_lost() {
    let server = server();
    let wanted = numbered(2_000_000);
    server.fault(json!({"rpc": WRITE, "kind": "status", "performed": true, "nth": [1, 2, 3]}));
    server.fault(json!({"rpc": WRITE, "kind": "reset", "when": "unanswered", "nth": [5, 6]}));
    server.fault(json!({"rpc": WRITE, "kind": "reset", "when": "during", "nth": [8]}));
    block_on(async {
        let session = create(&server).await;
        let process = shell(&session, "cat").await;
        let mut stdout = process.stdout().await.unwrap();
        let input = process.input(Cursor::new(wanted.clone()));
        let (read, given) = futures::join!(all(&mut stdout), input);
        given.unwrap();
        assert_same(&read, &wanted);
    });
}

/// As with a pipe: who reads no more is no failure of who writes.
fn input_that_nobody_wants() {
    let server = server();
    block_on(async {
        let session = create(&server).await;
        let process = shell(&session, "exec 0<&-; echo closed; exit 5").await;
        let mut stdout = process.stdout().await.unwrap();
        until(&mut stdout, "closed\n").await;
        let given = process.input(Cursor::new(numbered(4_000_000)));
        given.await.unwrap();
        assert_eq!(process.wait(None).await.unwrap(), 5);
    });
}
