//! Commands with a terminal.

use modal_proto::{
    client::PtyInfo,
    task_command_router::{
        TaskExecStdioFileDescriptor::Stdout, task_exec_wait_response::ExitStatus,
    },
};
use tonic::Code;

use crate::harness::{Exec, Local, Sandbox, code, in_time};

fn terminal(rows: u32, columns: u32) -> PtyInfo {
    PtyInfo {
        enabled: true,
        winsz_rows: rows,
        winsz_cols: columns,
        env_term: "xterm-256color".to_owned(),
        ..PtyInfo::default()
    }
}

async fn shell(local: &Local, sandbox: &Sandbox, script: &str) -> Exec {
    let start = sandbox.shell(local, script);
    let start = start.define(|request| request.pty_info = Some(terminal(50, 132)));
    start.start().await
}

#[tokio::test]
async fn a_command_has_a_terminal_of_the_size_asked_for() {
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create().await;
    let script = "test -t 0 && test -t 1 && test -t 2 && stty size && echo $TERM && echo err >&2";
    let exec = shell(&local, &sandbox, script).await;
    assert_eq!(exec.wait().await, ExitStatus::Code(0));
    // All of it comes out of the terminal.
    assert_eq!(exec.stdout().await, b"50 132\r\nxterm-256color\r\nerr\r\n");
    assert_eq!(exec.stderr().await, b"");
    let usual = sandbox.shell(&local, "stty size");
    let usual = usual.define(|request| request.pty_info = Some(terminal(0, 0)));
    assert_eq!(usual.start().await.stdout().await, b"24 80\r\n");
    let huge = sandbox.shell(&local, "stty size");
    let huge = huge.define(|request| request.pty_info = Some(terminal(70_000, 80)));
    assert_eq!(
        code(huge.try_start().await.map(drop)),
        Code::InvalidArgument
    );
    local.finish().await;
}

#[tokio::test]
async fn an_interrupt_is_a_byte() {
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create().await;
    let exec = shell(
        &local,
        &sandbox,
        "trap 'echo caught; exit 5' INT; echo ready; read line",
    )
    .await;
    let mut stream = exec.stream(Stdout, 0).await;
    let mut seen = Vec::new();
    while !seen.ends_with(b"ready\r\n") {
        seen.extend(in_time(stream.message()).await.unwrap().unwrap().data);
    }
    exec.write(0, b"\x03", false).await.unwrap();
    assert_eq!(exec.wait().await, ExitStatus::Code(5));
    assert_eq!(exec.stdout().await, b"ready\r\n^Ccaught\r\n");
    // Without a trap it ends the command.
    let exec = shell(&local, &sandbox, "echo ready; exec sleep 100").await;
    let mut stream = exec.stream(Stdout, 0).await;
    in_time(stream.message()).await.unwrap().unwrap();
    exec.write(0, b"\x03", false).await.unwrap();
    assert_eq!(exec.wait().await, ExitStatus::Signal(2));
    local.finish().await;
}

#[tokio::test]
async fn what_is_typed_is_read_and_ends() {
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create().await;
    let exec = shell(&local, &sandbox, "stty -echo; echo ready; cat; echo end").await;
    let mut stream = exec.stream(Stdout, 0).await;
    let mut seen = Vec::new();
    while !seen.ends_with(b"ready\r\n") {
        seen.extend(in_time(stream.message()).await.unwrap().unwrap().data);
    }
    exec.write(0, b"typed\n", true).await.unwrap();
    assert_eq!(exec.wait().await, ExitStatus::Code(0));
    assert_eq!(exec.stdout().await, b"ready\r\ntyped\r\nend\r\n");
    assert_eq!(exec.stdin().await, (6, true));
    local.finish().await;
}

#[tokio::test]
async fn a_sandbox_ends_those_with_a_terminal_too() {
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create().await;
    let exec = shell(
        &local,
        &sandbox,
        "trap '' TERM HUP; echo ready; sleep 100; sleep 100",
    )
    .await;
    let mut stream = exec.stream(Stdout, 0).await;
    in_time(stream.message()).await.unwrap().unwrap();
    sandbox.terminate().await;
    assert_eq!(exec.wait().await, ExitStatus::Signal(9));
    assert!(in_time(stream.message()).await.unwrap().is_none());
    local.finish().await;
}
