//! Sessions with a guest that lies, stalls, floods and crashes, and host apps that
//! lose interest in them.

use crate::harness::log::Captured;
use crate::harness::{
    NOWHERE, PATIENCE, TOKEN_SECRET, account, assert_well, hostile, limits, until, within,
};
use bytes::Bytes;
use flavor_host::contract::{self, OutputStream, SessionOptions};
use flavor_host::session::{Bytestream, Process, Session, TransferError, WaitError, command};
use flavor_host::{Connection, Error, Limits, Plugin, StartError, Target};
use futures::StreamExt as _;
use futures::future::join_all;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tracing::Level;

fn connection() -> Connection {
    Connection::new(Target::new(NOWHERE, account()).unwrap())
}

/// Options of a session that does what its name says.
fn named(name: &str) -> SessionOptions {
    SessionOptions {
        name: Some(name.to_owned()),
        ..flavor_host::session::options("image")
    }
}

async fn open(plugin: &Plugin, name: &str) -> Session {
    let opening = plugin.create_session(connection(), named(name));
    within(opening).await.unwrap()
}

async fn exec(session: &Session, words: &str) -> Process {
    within(session.exec(command(words.split(' '))))
        .await
        .unwrap()
}

/// How many bytes come, and how they end.
async fn drain(mut stream: Bytestream) -> (usize, Result<(), Error>) {
    within(async move {
        let mut count = 0;
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(piece) => {
                    assert!(!piece.is_empty());
                    count += piece.len();
                }
                Err(error) => {
                    assert!(stream.next().await.is_none(), "something follows an error");
                    return (count, Err(error));
                }
            }
        }
        (count, Ok(()))
    })
    .await
}

fn soon() -> Limits {
    limits(|limits| limits.cpu_between_returns = Duration::from_millis(500))
}

fn is_trapped(error: &Error) -> bool {
    matches!(error, Error::Trapped { .. })
}

fn is_spinning(error: &Error) -> bool {
    matches!(error, Error::Spinning { .. })
}

#[tokio::test]
async fn a_session_that_cannot_be_opened_says_why() {
    let plugin = hostile(soon()).await;
    let error = async |name: &str| {
        let opened = within(plugin.create_session(connection(), named(name))).await;
        match opened.err().unwrap() {
            StartError::Run(error) => error,
            other => panic!("{other}"),
        }
    };
    assert!(is_trapped(&error("open trap").await));
    assert!(is_spinning(&error("open spin").await));
    assert!(is_trapped(&error("id trap").await));
    match error("open fail no-room").await {
        Error::Plugin(contract::Error::Service(error)) => assert_eq!(error.message, "no-room"),
        other => panic!("{other:?}"),
    }
    // What the guest says of itself is bounded as all that it says.
    assert!(is_trapped(&error("id flood").await));
    assert_well(&plugin).await;
}

#[tokio::test]
async fn a_session_that_is_never_opened_is_given_up() {
    let patience = Duration::from_millis(300);
    let plugin = hostile(limits(|limits| limits.service_time = patience)).await;
    let opened = within(plugin.create_session(connection(), named("open never"))).await;
    match opened.err().unwrap() {
        StartError::Run(Error::TooSlow { limit }) => assert_eq!(limit, patience),
        other => panic!("{other}"),
    }
    let listed = within(plugin.list_sandboxes(connection(), vec![tag("never")], false)).await;
    assert!(matches!(
        listed,
        Err(StartError::Run(Error::TooSlow { .. }))
    ));
    assert_well(&plugin).await;
}

fn tag(key: &str) -> (String, String) {
    (key.to_owned(), String::new())
}

#[tokio::test]
async fn calls_without_a_session_are_bounded_too() {
    let plugin = hostile(soon()).await;
    let listed = within(plugin.list_sandboxes(connection(), vec![tag("spin")], false)).await;
    assert!(matches!(listed, Err(StartError::Run(error)) if is_spinning(&error)));
    let waited = within(plugin.wait_for_step(connection(), "spin".into())).await;
    assert!(matches!(waited, Err(StartError::Run(error)) if is_spinning(&error)));
    let waited = within(plugin.wait_for_step(connection(), "running".into())).await;
    match waited {
        Err(StartError::Run(Error::BrokenContract { what })) => {
            assert_eq!(what, "a step ended as `running`");
        }
        other => panic!("{other:?}"),
    }
    assert_well(&plugin).await;
}

#[tokio::test]
async fn a_crash_is_the_end_of_all_that_is_under_way_and_of_nothing_else() {
    let plugin = hostile(soon()).await;
    for (words, is_meant) in [
        ("then-trap 3 10", is_trapped as fn(&Error) -> bool),
        ("then-spin 3 10", is_spinning),
    ] {
        let other = open(&plugin, "other").await;
        let session = open(&plugin, "session").await;
        let waiting = exec(&session, "wait never").await;
        let hanging = exec(&session, "then-hang 2 10").await;
        let hanging = hanging.stdout().await.unwrap();
        let crashing = exec(&session, words).await;
        let waiting = async { waiting.wait(None).await };
        let (waited, hung, crashed) = within(async {
            futures::join!(waiting, drain(hanging), async {
                match crashing.stdout().await {
                    Ok(stdout) => drain(stdout).await,
                    Err(error) => (0, Err(error)),
                }
            })
        })
        .await;
        match waited {
            Err(WaitError::Plugin(error)) => assert!(is_meant(&error), "{error}"),
            other => panic!("{other:?}"),
        }
        assert!(is_meant(&hung.1.unwrap_err()));
        assert!(is_meant(&crashed.1.unwrap_err()));
        // And of all that comes after it.
        assert!(is_meant(&within(session.snapshot()).await.unwrap_err()));
        assert!(is_meant(&within(session.close()).await.unwrap_err()));
        let late = within(crashing.stderr()).await.err().unwrap();
        assert!(is_meant(&late));
        assert_eq!(within(other.snapshot()).await.unwrap().image, "im-1");
    }
    assert_well(&plugin).await;
}

#[tokio::test]
async fn a_call_that_is_not_answered_ends_the_session() {
    let patience = Duration::from_millis(500);
    let plugin = hostile(limits(|limits| limits.service_time = patience)).await;
    let session = open(&plugin, "snapshot never").await;
    let waiting = exec(&session, "wait never").await;
    let (waited, kept) =
        within(async { futures::join!(waiting.wait(None), session.snapshot()) }).await;
    assert_eq!(kept, Err(Error::TooSlow { limit: patience }));
    assert_eq!(
        waited,
        Err(WaitError::Plugin(Error::TooSlow { limit: patience }))
    );
}

#[tokio::test]
async fn an_idle_session_is_healthy() {
    let plugin = hostile(limits(|limits| {
        limits.service_time = Duration::from_millis(300);
        limits.cpu_between_returns = Duration::from_millis(300);
    }))
    .await;
    let session = open(&plugin, "session").await;
    let process = exec(&session, "wait never").await;
    let still = within(process.wait(Some(Duration::from_secs(1)))).await;
    assert_eq!(still, Err(WaitError::StillRunning(Duration::from_secs(1))));
    assert!(within(session.snapshot()).await.is_ok());
}

#[tokio::test]
async fn an_output_says_how_it_ends() {
    let plugin = hostile(Limits::default()).await;
    let session = open(&plugin, "session").await;
    let read = async |words: &str| {
        let process = exec(&session, words).await;
        drain(within(process.stdout()).await.unwrap()).await
    };
    assert_eq!(read("whole 0 0").await, (0, Ok(())));
    assert_eq!(read("whole 5 0").await, (0, Ok(())));
    assert_eq!(read("whole 3 1000000").await, (3_000_000, Ok(())));
    let (count, end) = read("then-fail 3 7").await;
    assert_eq!(count, 21);
    match end {
        Err(Error::Plugin(contract::Error::Service(error))) => {
            assert_eq!(error.message, "the rest is gone");
        }
        other => panic!("{other:?}"),
    }
}

/// Neither is said to have ended well.
#[tokio::test]
async fn an_output_without_an_end_does_not_end() {
    let plugin = hostile(Limits::default()).await;
    let session = open(&plugin, "session").await;
    for words in ["then-hang 1 5", "then-silence 1 5", "fail-first 1 5"] {
        let process = exec(&session, words).await;
        let mut stdout = within(process.stdout()).await.unwrap();
        let piece = within(stdout.next()).await.unwrap().unwrap();
        assert_eq!(piece, Bytes::from_static(b"xxxxx"));
        let waited = tokio::time::timeout(Duration::from_millis(100), stdout.next()).await;
        assert!(waited.is_err(), "{words}: {waited:?}");
    }
    // Nor does it keep anyone else.
    assert!(within(session.snapshot()).await.is_ok());
}

/// How much the guest got rid of, once that does not change any more.
async fn taken(process: &Process) -> u64 {
    let mut before = None;
    within(async {
        loop {
            let count = process.exit_code().await.unwrap().unwrap();
            // The guest had its turn in between, many times.
            for _ in 0..20 {
                process.exit_code().await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if before == Some(count) {
                return u64::try_from(count).unwrap();
            }
            before = Some(count);
        }
    })
    .await
}

#[tokio::test]
async fn what_nobody_reads_holds_the_guest_up() {
    let plugin = hostile(limits(|limits| {
        limits.output_bytes_waiting = 500_000;
        limits.line_bytes_waiting = 100_000;
    }))
    .await;
    let session = open(&plugin, "session").await;
    let bytes = exec(&session, "whole 100000 10000").await;
    let mut stdout = within(bytes.stdout()).await.unwrap();
    let count = taken(&bytes).await;
    assert!((10_000..=1_000_000).contains(&count), "{count} bytes");

    let long = exec(&session, "whole 100000 10000").await;
    let mut lines = within(long.lines(OutputStream::Stdout)).await.unwrap();
    let count = taken(&long).await;
    assert!((5..=20).contains(&count), "{count} lines");

    // Somebody reads, so it goes on; nobody does, so it may end.
    for _ in 0..1000 {
        assert!(within(stdout.next()).await.unwrap().is_ok());
        assert_eq!(within(lines.next()).await.unwrap().unwrap().len(), 10_000);
    }
    drop((stdout, lines));
    assert!(within(session.snapshot()).await.is_ok());
}

#[tokio::test]
async fn a_flood_that_is_read_arrives_in_full() {
    let plugin = hostile(Limits::default()).await;
    let session = open(&plugin, "session").await;
    let process = exec(&session, "whole 20000 3").await;
    let lines = within(process.lines(OutputStream::Stdout)).await.unwrap();
    let lines: Vec<_> = within(lines.collect()).await;
    assert_eq!(lines.len(), 20_000);
    assert!(lines.iter().all(|line| line.as_deref() == Ok("xxx")));
    let process = exec(&session, "whole 200 100000").await;
    let stdout = within(process.stdout()).await.unwrap();
    assert_eq!(drain(stdout).await, (20_000_000, Ok(())));
}

#[tokio::test]
async fn a_line_that_is_too_long_for_the_host_is_the_guest_s_problem() {
    let plugin = hostile(Limits::default()).await;
    let session = open(&plugin, "session").await;
    let process = exec(&session, "whole 1 100000000").await;
    let mut lines = within(process.lines(OutputStream::Stdout)).await.unwrap();
    let error = within(lines.next()).await.unwrap().unwrap_err();
    assert!(is_trapped(&error), "{error}");
    assert_well(&plugin).await;
}

#[tokio::test]
async fn many_commands_run_side_by_side_within_a_bound() {
    let plugin = hostile(limits(|limits| limits.session_calls = 8)).await;
    let session = open(&plugin, "session").await;
    let processes = (0..100).map(|_| async {
        let process = exec(&session, "whole 100 1000").await;
        let read = drain(process.stdout().await.unwrap()).await;
        (read, process.wait(None).await.unwrap())
    });
    for outcome in within(join_all(processes)).await {
        assert_eq!(outcome, ((100_000, Ok(())), 7));
    }
    // Those that are under way hold all places: others wait for one.
    let stuck: Vec<Process> = join_all((0..8).map(|_| exec(&session, "wait never"))).await;
    let waits = stuck.iter().map(|process| process.wait(None));
    let waits = join_all(waits);
    let snapshot = async {
        let patience = Duration::from_millis(200);
        tokio::time::timeout(patience, session.snapshot()).await
    };
    futures::pin_mut!(waits);
    futures::pin_mut!(snapshot);
    match within(futures::future::select(waits, snapshot)).await {
        futures::future::Either::Right((snapshot, _)) => assert!(snapshot.is_err()),
        futures::future::Either::Left(_) => panic!("what never ends has ended"),
    }
}

#[tokio::test]
async fn however_many_wait_the_guest_is_asked_once() {
    let plugin = hostile(Limits::default()).await;
    let session = open(&plugin, "session").await;
    let process = exec(&session, "count-waits").await;
    let waits = (0..50).map(|_| process.wait(Some(Duration::from_millis(100))));
    for waited in within(join_all(waits)).await {
        assert!(matches!(waited, Err(WaitError::StillRunning(_))));
    }
    assert_eq!(process.exit_code().await, Ok(Some(1)));

    // A failure is no end: the next one asks again.
    let process = exec(&session, "fail-once").await;
    let (one, other) =
        within(async { futures::join!(process.wait(None), process.wait(None)) }).await;
    for waited in [one, other] {
        assert!(matches!(waited, Err(WaitError::Plugin(Error::Plugin(_)))));
    }
    assert_eq!(within(process.wait(None)).await, Ok(7));
    assert_eq!(within(process.wait(None)).await, Ok(7));
}

/// A file of so many bytes that breaks off then, or ends.
struct File {
    left: usize,
    breaks: bool,
}

impl AsyncRead for File {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 && self.breaks {
            return Poll::Ready(Err(io::Error::other("the disk is gone")));
        }
        let count = buffer.remaining().min(self.left);
        buffer.put_slice(&vec![b'x'; count]);
        self.left -= count;
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_guest_cannot_lie_about_a_file_that_it_was_given() {
    let plugin = hostile(Limits::default()).await;
    let session = open(&plugin, "session").await;
    let upload = async |path: &str, left: usize, breaks: bool| {
        within(session.upload(path, File { left, breaks })).await
    };
    assert_eq!(upload("/whole", 1_000_001, false).await.unwrap(), 1_000_001);
    assert_eq!(upload("/whole", 0, false).await.unwrap(), 0);
    for (path, words) in [
        ("/deaf", "was not read beyond 0 bytes"),
        ("/some", "was not read beyond 10 bytes"),
        ("/more", "a file of 1000 bytes was written as 1001"),
        ("/less", "a file of 1000 bytes was written as 500"),
    ] {
        match upload(path, 1000, false).await {
            Err(TransferError::Plugin(Error::BrokenContract { what })) => {
                assert!(what.contains(words), "{what}");
            }
            other => panic!("{path}: {other:?}"),
        }
    }
    match upload("/refused", 1000, false).await {
        Err(TransferError::Plugin(Error::Plugin(contract::Error::Service(error)))) => {
            assert_eq!(error.message, "no such directory");
        }
        other => panic!("{other:?}"),
    }
    match upload("/whole", 1000, true).await {
        Err(TransferError::Local(error)) => assert_eq!(error.to_string(), "the disk is gone"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_file_can_be_read_with_tokio_s_tools() {
    let plugin = hostile(Limits::default()).await;
    let session = open(&plugin, "session").await;
    let mut read = Vec::new();
    let file = within(session.download("/whole/3/1000000")).await.unwrap();
    let count = within(file.into_reader().read_to_end(&mut read)).await;
    assert_eq!(count.unwrap(), 3_000_000);
    let file = within(session.download("/then-fail/1/10")).await.unwrap();
    let error = within(file.into_reader().read_to_end(&mut read)).await;
    assert_eq!(error.unwrap_err().to_string(), "the rest is gone");
}

#[tokio::test]
async fn input_that_is_given_up_is_closed() {
    let plugin = hostile(soon()).await;
    let session = open(&plugin, "session").await;
    let process = exec(&session, "counts").await;
    within(process.input(File {
        left: 100_000,
        breaks: false,
    }))
    .await
    .unwrap();
    assert_eq!(process.exit_code().await, Ok(Some(100_000)));

    let process = exec(&session, "counts").await;
    let (endless, mut given) = tokio::io::duplex(1000);
    let input = process.input(endless);
    let feeding = async {
        tokio::io::AsyncWriteExt::write_all(&mut given, b"12345")
            .await
            .unwrap();
        within(async {
            while process.exit_code().await != Ok(Some(5)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    };
    tokio::select! {
        _ = input => panic!("it has no end"),
        () = feeding => {}
    }
    // The reader goes with the stream, once the guest has heard of its end.
    within(async {
        while tokio::io::AsyncWriteExt::write_all(&mut given, &[0; 1000])
            .await
            .is_ok()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;

    let deaf = exec(&session, "deaf").await;
    let patience = Duration::from_millis(100);
    let input = deaf.input(File {
        left: 1,
        breaks: false,
    });
    assert!(tokio::time::timeout(patience, input).await.is_err());
    let crashing = exec(&session, "trap-at-input").await;
    match within(crashing.input(File {
        left: 1_000_000,
        breaks: false,
    }))
    .await
    {
        Err(TransferError::Plugin(error)) => assert!(is_trapped(&error)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_session_that_is_dropped_goes_and_takes_its_instance_along() {
    let log = Captured::start(Level::WARN);
    let plugin = hostile(Limits::default()).await;
    let session = open(&plugin, "session").await;
    let process = exec(&session, "then-hang 1 5").await;
    let mut stdout = within(process.stdout()).await.unwrap();
    drop((session, process));
    // As long as anything of it is in use.
    assert!(within(stdout.next()).await.unwrap().is_ok());
    let (endless, given) = tokio::io::duplex(1000);
    let session = open(&plugin, "session").await;
    let process = exec(&session, "deaf").await;
    {
        let input = process.input(endless);
        futures::pin_mut!(input);
        assert!(futures::poll!(&mut input).is_pending());
        tokio::task::yield_now().await;
    }
    drop((session, process));
    let mut given = given;
    within(async {
        while tokio::io::AsyncWriteExt::write_all(&mut given, &[0; 1000])
            .await
            .is_ok()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(!log.text().contains("asked to leave"));
}

#[tokio::test]
async fn a_session_that_destroys_on_exit_leaves_when_it_is_dropped() {
    let log = Captured::start(Level::WARN);
    let plugin = hostile(Limits::default()).await;
    let destroying = |name: &str| SessionOptions {
        destroy_on_exit: true,
        ..named(name)
    };
    let count = || log.text().matches("asked to leave").count();
    for name in ["session", "leave fail no"] {
        let before = count();
        let session = plugin.create_session(connection(), destroying(name));
        drop(within(session).await.unwrap());
        until(|| count() == before + 1).await;
    }
    until(|| log.text().contains("may live on: no")).await;
    // One that was left already has nothing to do.
    let session = within(plugin.create_session(connection(), destroying("session"))).await;
    let session = session.unwrap();
    within(session.leave()).await.unwrap();
    drop(session);
    let session = within(plugin.create_session(connection(), destroying("session"))).await;
    let session = session.unwrap();
    within(session.destroy()).await.unwrap();
    drop(session);
    assert_well(&plugin).await;
    assert_eq!(count(), 3);
}

/// A destructor has no call of its own whose limits would end it.
#[tokio::test]
async fn a_destructor_that_spins_is_ended() {
    let plugin = hostile(soon()).await;
    let session = open(&plugin, "drop spin").await;
    let process = exec(&session, "wait never").await;
    drop(session);
    let waited = within(process.wait(None)).await;
    assert!(matches!(waited, Err(WaitError::Plugin(error)) if is_spinning(&error)));
    let session = open(&plugin, "drop trap").await;
    let process = exec(&session, "wait never").await;
    drop(session);
    let waited = within(process.wait(None)).await;
    assert!(matches!(waited, Err(WaitError::Plugin(error)) if is_trapped(&error)));
    assert_well(&plugin).await;
}

#[tokio::test]
async fn a_session_that_does_not_close_is_ended() {
    let plugin = hostile(soon()).await;
    let session = open(&plugin, "close spin").await;
    assert!(is_spinning(&within(session.close()).await.unwrap_err()));
    let session = open(&plugin, "close never").await;
    let started = std::time::Instant::now();
    assert!(matches!(
        within(session.close()).await,
        Err(Error::TooSlow { .. })
    ));
    assert!(started.elapsed() < PATIENCE);
}

#[tokio::test]
async fn errors_and_logs_of_a_session_hold_no_secret() {
    const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3MDB9.c2lnbmF0dXJl";
    let log = Captured::start(Level::TRACE);
    let plugin = hostile(Limits::default()).await;
    for secret in [TOKEN_SECRET, JWT] {
        let opening = plugin.create_session(connection(), named(&format!("open fail {secret}")));
        let error = within(opening).await.err().unwrap();
        assert_eq!(error.to_string(), "***");
        let session = open(&plugin, &format!("say {secret}")).await;
        let process = exec(&session, &format!("fail {secret}")).await;
        let error = within(process.kill()).await.unwrap_err();
        assert_eq!(error.to_string(), "***");
        let process = exec(&session, &format!("wait fail {secret}")).await;
        let error = within(process.wait(None)).await.unwrap_err();
        assert_eq!(error.to_string(), "***");
        assert!(!log.text().contains(secret));
    }
    assert!(log.text().contains("***"));
}
