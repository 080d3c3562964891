//! Outputs of commands arrive complete, in order and once.

use super::{all, assert_same, create, numbered, server, shell, until};
use crate::Test;
use crate::flavor::block_on;
use flavor_host::contract::OutputStream;
use flavor_host::session::command;
use serde_json::json;

pub(super) const TESTS: &[Test] = &[
    ("sessions::output_and_exit_codes", output_and_exit_codes),
    ("sessions::output_cut_at_any_byte", output_cut_at_any_byte),
    (
        "sessions::outputs_while_calls_fail_at_random",
        outputs_while_calls_fail_at_random,
    ),
    ("sessions::a_slow_reader_misses_nothing", a_slow_reader),
    ("sessions::an_output_that_is_not_read", an_output_not_read),
    ("sessions::lines_and_collecting", lines_and_collecting),
];

const READ: &str = "TaskExecStdioRead";

fn output_and_exit_codes() {
    let server = server();
    block_on(async {
        let session = create(&server).await;
        for (line, code) in [
            ("printf out; printf err >&2; exit 7", 7),
            ("printf out; printf err >&2", 0),
            ("printf out; printf err >&2; kill -9 $$", 137),
        ] {
            let process = shell(&session, line).await;
            let mut stdout = process.stdout().await.unwrap();
            let mut stderr = process.stderr().await.unwrap();
            assert_eq!(all(&mut stdout).await, b"out", "{line}");
            assert_eq!(all(&mut stderr).await, b"err", "{line}");
            assert_eq!(process.wait(None).await.unwrap(), code, "{line}");
            assert_eq!(process.exit_code().await.unwrap(), Some(code), "{line}");
        }
    });
    // The way to the router came with the answer to the create.
    assert_eq!(server.count("SandboxGetCommandRouterAccess"), 0);
    assert_eq!(server.count("SandboxGetTaskIdV2"), 0);
}

fn output_cut_at_any_byte() {
    let server = server();
    let text: String = (0..60_000).map(|line| format!("line {line}\n")).collect();
    // Within the frame of a message, at its edges, within its data, at the end of it
    // and beyond. Those that bring nothing are few enough in a row.
    let cuts = [
        0, 1, 9, 4, 5, 70_000, 6, 10, 65_541, 65_540, 2, 65_542, 131_082, 131_081, 3, 200_000,
        12_345,
    ];
    for (number, after) in cuts.into_iter().enumerate() {
        server.fault(json!({"rpc": READ, "kind": "cut", "after": after, "nth": [number + 1]}));
    }
    block_on(async {
        let session = create(&server).await;
        let process = shell(&session, "i=0; seq -f 'line %.0f' 0 59999").await;
        let mut stdout = process.stdout().await.unwrap();
        assert_same(&all(&mut stdout).await, text.as_bytes());
        assert_eq!(process.wait(None).await.unwrap(), 0);
    });
    assert!(server.count(READ) > cuts.len() as u64);
}

fn outputs_while_calls_fail_at_random() {
    let server = server();
    block_on(async {
        let session = create(&server).await;
        server.fail_at_random(0.2, 5);
        let runs = (0..8).map(async |number| {
            let line = format!("seq 1 {number}0000; seq 1 {number}000 >&2; exit {number}");
            let process = shell(&session, &line).await;
            let mut stdout = process.stdout().await.unwrap();
            let mut stderr = process.stderr().await.unwrap();
            let (stdout, stderr) = futures::join!(all(&mut stdout), all(&mut stderr));
            let numbers = |last: u32| (1..=last).map(|n| format!("{n}\n")).collect::<String>();
            assert_same(&stdout, numbers(number * 10_000).as_bytes());
            assert_same(&stderr, numbers(number * 1000).as_bytes());
            let code = process.wait(None).await.unwrap();
            assert_eq!(code, i32::try_from(number).unwrap());
        });
        futures::future::join_all(runs).await;
    });
    assert!(server.failure_rate() > 0.05);
}

fn a_slow_reader() {
    let server = server();
    let wanted = numbered(6_000_000);
    block_on(async {
        let session = create(&server).await;
        let written = session.upload("/data", std::io::Cursor::new(wanted.clone()));
        assert_eq!(written.await.unwrap(), wanted.len() as u64);
        let process = shell(&session, "cat data").await;
        let mut stdout = process.stdout().await.unwrap();
        let first = stdout.next().await.unwrap().unwrap();
        // The command has long ended when anybody reads on.
        assert_eq!(process.wait(None).await.unwrap(), 0);
        let rest = all(&mut stdout).await;
        assert_same(&[&*first, &rest].concat(), &wanted);
    });
}

fn an_output_not_read() {
    let server = server();
    block_on(async {
        let session = create(&server).await;
        let line = "seq 1 300000 >&2; echo done; read line; echo $line";
        let process = shell(&session, line).await;
        let mut stdout = process.stdout().await.unwrap();
        // Taken and left alone: it holds nothing up.
        let stderr = process.stderr().await.unwrap();
        until(&mut stdout, "done\n").await;
        process.input(&b"go\n"[..]).await.unwrap();
        assert_eq!(all(&mut stdout).await, b"go\n");
        assert_eq!(process.wait(None).await.unwrap(), 0);
        drop(stderr);
        let process = session.exec(command(["true"])).await.unwrap();
        assert_eq!(process.wait(None).await.unwrap(), 0);
    });
}

fn lines_and_collecting() {
    let server = server();
    server.fault(json!({"rpc": READ, "kind": "cut", "after": 8, "nth": [1]}));
    block_on(async {
        let session = create(&server).await;
        let process = shell(&session, "printf 'one\\ngr\\303\\274\\303\\237e\\n\\nend'").await;
        let mut lines = process.lines(OutputStream::Stdout).await.unwrap();
        let mut read = Vec::new();
        while let Some(line) = lines.next().await {
            read.push(line.unwrap());
        }
        assert_eq!(read, ["one", "grüße", "", "end"]);
        assert!(process.lines(OutputStream::Stdout).await.is_err());

        let process = shell(&session, "seq 1 5; seq 1 3 >&2; exit 4").await;
        let collected = process.collect(Some(6)).await.unwrap();
        assert_eq!(collected.stdout, "1\n2\n3\n");
        assert_eq!(collected.stderr, "1\n2\n3\n");
        assert_eq!((collected.exit_code, collected.truncated), (4, true));
        assert!(process.collect(None).await.is_err());
    });
}
