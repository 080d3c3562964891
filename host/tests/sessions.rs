//! Sessions of the plugin that comes with the project, on the local Modal.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failing test is what they are for"
)]

mod world;

use flavor_host::contract::{self, Arguments, OutputStream, SessionOptions};
use flavor_host::session::{Bytestream, Lines, Process, Session, WaitError, command, options};
use flavor_host::{Error, StartError};
use futures::StreamExt as _;
use futures::future::join_all;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use world::World;

async fn open(world: &World) -> Session {
    let session = world
        .plugin
        .create_session(world.connection(), options("image"));
    session.await.unwrap()
}

#[tokio::test]
async fn many_commands_run_at_once_and_none_gets_another_s_output() {
    let world = World::new().await;
    let session = open(&world).await;
    let commands = (0..64).map(async |number: u64| {
        let script = "cat; seq 1 20000; echo $0 >&2; exit $(($0 % 7))";
        let words = command(["sh", "-c", script, &number.to_string()]);
        let process = session.exec(words).await.unwrap();
        let input = format!("{number}\n").repeat(10_000);
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let mut out = process.stdout().await.unwrap().into_reader();
        let mut err = process.stderr().await.unwrap().into_reader();
        let (fed, read, told, code) = futures::join!(
            process.input(std::io::Cursor::new(input.clone())),
            out.read_to_string(&mut stdout),
            err.read_to_string(&mut stderr),
            process.wait(None),
        );
        fed.unwrap();
        read.unwrap();
        told.unwrap();
        let numbers: String = (1..=20_000).map(|line| format!("{line}\n")).collect();
        assert!(
            stdout == input + &numbers,
            "of {number}: {} bytes",
            stdout.len()
        );
        assert_eq!(stderr, format!("{number}\n"));
        assert_eq!(code, Ok(i32::try_from(number % 7).unwrap()));
    });
    join_all(commands).await;
    session.destroy().await.unwrap();
}

#[tokio::test]
async fn a_command_that_runs_is_waited_for_again() {
    let world = World::new().await;
    let session = open(&world).await;
    let process = session.exec(command(["cat"])).await.unwrap();
    let patience = Duration::from_millis(50);
    let waited = process.wait(Some(patience)).await;
    assert_eq!(waited, Err(WaitError::StillRunning(patience)));
    assert_eq!(process.exit_code().await, Ok(None));
    assert!(matches!(
        process.kill().await,
        Err(Error::Plugin(contract::Error::Unsupported(_)))
    ));
    let (fed, code) = futures::join!(process.input(tokio::io::empty()), process.wait(None));
    fed.unwrap();
    assert_eq!(code, Ok(0));
    assert_eq!(process.exit_code().await, Ok(Some(0)));
}

#[tokio::test]
async fn lines_texts_and_collections() {
    let world = World::new().await;
    let session = open(&world).await;
    let text = contract::Command {
        arguments: Arguments::Text("printf 'one\\ntwo\\nthree'".into()),
        ..command(["unused"])
    };
    let process = session.exec(text.clone()).await.unwrap();
    let lines = process.lines(OutputStream::Stdout).await.unwrap();
    let lines: Vec<_> = lines.map(Result::unwrap).collect().await;
    assert_eq!(lines, ["one", "two", "three"]);
    let twice = process.stdout().await.err().unwrap();
    assert!(matches!(twice, Error::Plugin(contract::Error::Invalid(_))));
    let process = session.exec(text).await.unwrap();
    let collected = process.collect(None).await.unwrap();
    assert_eq!(collected.stdout, "one\ntwo\nthree");
    assert_eq!((collected.exit_code, collected.truncated), (0, false));
}

#[tokio::test]
async fn a_snapshot_is_restored_and_sandboxes_are_listed() {
    let world = World::new().await;
    let tagged = SessionOptions {
        tags: vec![("team".into(), "a".into())],
        name: Some("work".into()),
        ..options("image")
    };
    let session = world.plugin.create_session(world.connection(), tagged);
    let session = session.await.unwrap();
    let pwd = session.exec(command(["pwd"])).await.unwrap();
    let home = pwd.collect(None).await.unwrap().stdout;
    let path = format!("{}/file", home.trim_end());
    let written = session.upload(&path, &b"kept"[..]).await.unwrap();
    assert_eq!(written, 4);
    let snapshot = session.snapshot().await.unwrap();
    let restored = world
        .plugin
        .restore_session(world.connection(), snapshot, options("other"));
    let restored = restored.await.unwrap();
    let read = restored.exec(command(["cat", "file"])).await.unwrap();
    assert_eq!(read.collect(None).await.unwrap().stdout, "kept");

    let named = world
        .plugin
        .attach_named_session(world.connection(), "work");
    let named = named.await.unwrap();
    assert_eq!(named.id(), session.id());
    let mut contents = Vec::new();
    let mut file = named.download(&path).await.unwrap().into_reader();
    file.read_to_end(&mut contents).await.unwrap();
    assert_eq!(contents, b"kept");
    let list = async |tags: &[(String, String)], finished| {
        let listed = world
            .plugin
            .list_sandboxes(world.connection(), tags.to_vec(), finished);
        let listed = listed.await.unwrap().into_iter();
        listed.map(|sandbox| sandbox.sandbox).collect::<Vec<_>>()
    };
    let team = [("team".to_owned(), "a".to_owned())];
    assert_eq!(list(&team, false).await, [session.id()]);
    session.destroy().await.unwrap();
    session.destroy().await.unwrap();
    assert_eq!(list(&team, false).await, [""; 0]);
    assert_eq!(list(&team, true).await, [session.id()]);
    let ended = world
        .plugin
        .attach_session(world.connection(), session.id())
        .await;
    assert!(matches!(
        ended.err(),
        Some(StartError::Run(Error::Plugin(contract::Error::NotFound(_))))
    ));
    // A closed handle does nothing more, and its sandbox lives on.
    restored.close().await.unwrap();
    assert!(restored.exec(command(["true"])).await.is_err());
    assert_eq!(list(&[], false).await, [restored.id()]);
}

/// A host app moves them between its tasks.
#[test]
fn what_the_library_hands_out_can_move_to_any_thread() {
    fn is_send<T: Send>() {}
    fn is_sync<T: Sync>() {}
    fn sendable<T: Send>(future: T) -> T {
        future
    }
    is_send::<Session>();
    is_sync::<Session>();
    is_send::<Process>();
    is_sync::<Process>();
    is_send::<Bytestream>();
    is_send::<Lines>();
    let _ = async |world: &World, session: &Session, process: &Process| {
        sendable(
            world
                .plugin
                .create_session(world.connection(), options("i")),
        )
        .await
        .ok();
        sendable(
            world
                .plugin
                .wait_for_step(world.connection(), String::new()),
        )
        .await
        .ok();
        sendable(session.exec(command(["true"]))).await.ok();
        sendable(session.upload("/", tokio::io::empty())).await.ok();
        sendable(process.wait(None)).await.ok();
    };
}
