//! Input of commands: offsets, repeated and broken writes, its end.

use modal_proto::{
    client::{GenericStatus, SandboxStdinWriteRequest},
    task_command_router::{
        SandboxStdinWriteV2Request, SandboxStdioReadV2Request, TaskExecStdinWriteStreamRequest,
        TaskExecStdioFileDescriptor::Stdout, task_exec_wait_response::ExitStatus,
    },
};
use tokio::sync::mpsc;
use tonic::Code;

use crate::harness::{Fifo, Local, code, data, end, in_time};

fn received(
    messages: mpsc::Receiver<TaskExecStdinWriteStreamRequest>,
) -> impl futures::Stream<Item = TaskExecStdinWriteStreamRequest> {
    futures::stream::unfold(messages, async |mut messages| {
        let message = messages.recv().await?;
        Some((message, messages))
    })
}

#[tokio::test]
async fn a_command_reads_what_is_written_until_the_end() {
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create().await;
    let exec = sandbox.exec(&local, ["cat"]).start().await;
    let mut stream = exec.stream(Stdout, 0).await;
    exec.write(0, b"hello ", false).await.unwrap();
    let chunk = in_time(stream.message()).await.unwrap().unwrap();
    assert_eq!(chunk.data, b"hello ");
    // A repeated write, an overlapping one, and one that would leave a gap.
    exec.write(0, b"hello ", false).await.unwrap();
    exec.write(3, b"lo world", false).await.unwrap();
    let gap = exec.write(12, b"x", false).await.unwrap_err();
    assert_eq!(gap.code(), Code::OutOfRange, "{gap}");
    assert_eq!(exec.stdin().await, (11, false));
    exec.write(11, b"\0\xff", true).await.unwrap();
    assert_eq!(exec.wait().await, ExitStatus::Code(0));
    assert_eq!(exec.stdout().await, b"hello world\0\xff");
    // The end again changes nothing, more bytes are refused.
    exec.write(13, b"", true).await.unwrap();
    assert_eq!(exec.stdin().await, (13, true));
    assert_eq!(
        code(exec.write(13, b"!", false).await),
        Code::FailedPrecondition
    );
    local.finish().await;
}

#[tokio::test]
async fn five_megabytes_go_both_ways() {
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create().await;
    let bytes: Vec<u8> = (0..=250).cycle().take(5_000_000).collect();
    let exec = sandbox.exec(&local, ["cat"]).start().await;
    let (sent, received) = futures::future::join(exec.upload(&bytes), exec.stdout()).await;
    sent.unwrap();
    assert!(received == bytes);
    assert_eq!(exec.wait().await, ExitStatus::Code(0));
    // And in single writes, as long as nobody reads the output too.
    let exec = sandbox.exec(&local, ["cat"]).start().await;
    for (number, part) in (0..).zip(bytes.chunks(1_000_000)) {
        exec.write(number * 1_000_000, part, false).await.unwrap();
    }
    exec.write(5_000_000, b"", true).await.unwrap();
    assert!(exec.stdout().await == bytes);
    local.finish().await;
}

#[tokio::test]
async fn a_broken_stream_is_taken_up_where_it_broke() {
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create().await;
    let exec = sandbox.exec(&local, ["wc", "-c"]).start().await;
    let chunk = vec![7; 262_144];
    let (messages, stream) = mpsc::channel(8);
    let mut router = exec.router.clone();
    let sending =
        tokio::spawn(async move { router.task_exec_stdin_write_stream(received(stream)).await });
    messages.send(exec.begin(0)).await.unwrap();
    messages.send(data(&chunk)).await.unwrap();
    messages.send(data(&chunk)).await.unwrap();
    sending.abort();
    drop(messages);
    // However far it came, that is where the next one starts.
    let (taken, closed) = exec.stdin().await;
    assert!(taken <= 524_288 && !closed, "{taken}");
    let rest = vec![7; usize::try_from(524_288 - taken).unwrap()];
    let messages = futures::stream::iter([exec.begin(taken), data(&rest), end()]);
    let mut router = exec.router.clone();
    router.task_exec_stdin_write_stream(messages).await.unwrap();
    assert_eq!(exec.stdout().await, b"524288\n");
    assert_eq!(exec.stdin().await, (524_288, true));
    local.finish().await;
}

#[tokio::test]
async fn asking_for_the_status_stops_an_older_stream() {
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create().await;
    // It reads nothing: what the pipe does not hold has to wait.
    let go = Fifo::new();
    let script = format!("read x < {}; wc -c", go.path());
    let exec = sandbox.shell(&local, &script).start().await;
    let (messages, stream) = mpsc::channel(8);
    let mut router = exec.router.clone();
    let old =
        tokio::spawn(async move { router.task_exec_stdin_write_stream(received(stream)).await });
    messages.send(exec.begin(0)).await.unwrap();
    messages.send(data(&vec![7; 1_000_000])).await.unwrap();
    let taken = in_time(async {
        loop {
            match exec.stdin().await {
                (0, _) => tokio::task::yield_now().await,
                (taken, _) => break taken,
            }
        }
    });
    // Whether it is stopped before or after its first bytes, it is stopped.
    let stopped = in_time(async {
        tokio::select! {
            old = old => old.unwrap().map(drop),
            _ = taken => Ok(()),
        }
    });
    if let Err(status) = stopped.await {
        assert_eq!(status.code(), Code::Aborted, "{status}");
    }
    let (taken, closed) = exec.stdin().await;
    assert!(taken < 1_000_000 && !closed, "{taken}");
    go.write();
    let rest = vec![7; usize::try_from(1_000_000 - taken).unwrap()];
    let messages = futures::stream::iter([exec.begin(taken), data(&rest), end()]);
    let mut router = exec.router.clone();
    router.task_exec_stdin_write_stream(messages).await.unwrap();
    assert_eq!(exec.stdout().await, b"1000000\n");
    local.finish().await;
}

#[tokio::test]
async fn a_command_that_does_not_read_is_not_written_to() {
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create().await;
    let ended = sandbox.exec(&local, ["true"]).start().await;
    assert_eq!(ended.wait().await, ExitStatus::Code(0));
    assert_eq!(
        code(ended.write(0, b"x", false).await),
        Code::FailedPrecondition
    );
    assert_eq!(
        code(ended.upload(&[0; 1_000_000]).await),
        Code::FailedPrecondition
    );
    let go = Fifo::new();
    let script = format!("exec <&-; echo closed; read x < {}", go.path());
    let exec = sandbox.shell(&local, &script).start().await;
    let mut stream = exec.stream(Stdout, 0).await;
    in_time(stream.message()).await.unwrap().unwrap();
    assert_eq!(
        code(exec.upload(&[0; 1_000_000]).await),
        Code::FailedPrecondition
    );
    assert_eq!(exec.poll().await, None);
    go.write();
    assert_eq!(exec.wait().await, ExitStatus::Code(0));
    local.finish().await;
}

#[tokio::test]
async fn a_stream_without_an_end_leaves_the_input_open() {
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create().await;
    let exec = sandbox.exec(&local, ["cat"]).start().await;
    let messages = futures::stream::iter([exec.begin(0), data(b"part")]);
    let mut router = exec.router.clone();
    let stopped = router.task_exec_stdin_write_stream(messages).await;
    assert_eq!(code(stopped), Code::Aborted);
    assert_eq!(exec.stdin().await, (4, false));
    for bad in [vec![], vec![data(b"x")], vec![exec.begin(4), exec.begin(4)]] {
        let mut router = exec.router.clone();
        let refused = router
            .task_exec_stdin_write_stream(futures::stream::iter(bad))
            .await;
        assert_eq!(code(refused), Code::InvalidArgument);
    }
    // An empty file: start, end.
    let messages = futures::stream::iter([exec.begin(4), end()]);
    let mut router = exec.router.clone();
    router.task_exec_stdin_write_stream(messages).await.unwrap();
    assert_eq!(exec.stdout().await, b"part");
    local.finish().await;
}

#[tokio::test]
async fn a_sandboxs_own_command_reads_too() {
    let local = Local::start().await;
    let sandbox = local.sandbox(["cat"]).create().await;
    let write = async |offset: u64, bytes: &[u8], eof: bool| {
        let request = SandboxStdinWriteV2Request {
            task_id: sandbox.task.clone(),
            offset,
            data: bytes.to_vec(),
            eof,
        };
        let mut router = local.router(&sandbox.jwt);
        let written = router.sandbox_stdin_write_v2(request).await;
        written.map(drop)
    };
    write(0, b"one ", false).await.unwrap();
    write(0, b"one ", false).await.unwrap();
    write(4, b"two", true).await.unwrap();
    sandbox.ends_with(GenericStatus::Success, 0).await;
    assert_eq!(sandbox.stdout(&local).await, b"one two");
    assert_eq!(code(write(7, b"!", false).await), Code::FailedPrecondition);
    local.finish().await;
}

#[tokio::test]
async fn v1_input_is_numbered_from_one() {
    let local = Local::start().await;
    let sandbox = local.sandbox(["cat"]).create_v1().await;
    let write = async |index: u32, input: &[u8], eof: bool| {
        let request = SandboxStdinWriteRequest {
            sandbox_id: sandbox.id.clone(),
            input: input.to_vec(),
            index,
            eof,
        };
        local.control().sandbox_stdin_write(request).await.map(drop)
    };
    write(1, b"one ", false).await.unwrap();
    write(1, b"one ", false).await.unwrap();
    assert_eq!(code(write(3, b"three", false).await), Code::OutOfRange);
    assert_eq!(code(write(0, b"zero", false).await), Code::InvalidArgument);
    write(2, b"two", false).await.unwrap();
    write(3, b"", true).await.unwrap();
    sandbox.ends_with(GenericStatus::Success, 0).await;
    assert_eq!(sandbox.stdout(&local).await, b"one two");
    assert_eq!(code(write(4, b"!", false).await), Code::FailedPrecondition);
    local.finish().await;
}

#[tokio::test]
async fn a_v1_write_that_broke_is_taken_up_where_it_did() {
    let local = Local::start().await;
    let go = Fifo::new();
    let script = format!("read line; echo started; read x < {}; wc -c", go.path());
    let sandbox = local.script(&script).create_v1().await;
    let mut input = b"line\n".to_vec();
    input.resize(1_000_000, b'x');
    let write = || {
        let request = SandboxStdinWriteRequest {
            sandbox_id: sandbox.id.clone(),
            input: input.clone(),
            index: 1,
            eof: true,
        };
        let mut control = local.control();
        tokio::spawn(async move { control.sandbox_stdin_write(request).await })
    };
    let broken = write();
    let request = SandboxStdioReadV2Request {
        task_id: sandbox.task.clone(),
        ..SandboxStdioReadV2Request::default()
    };
    let mut router = local.router(&sandbox.jwt);
    let stream = router.sandbox_stdio_read_v2(request).await;
    // Its first bytes were taken, and there is no room for all.
    let started = in_time(stream.unwrap().into_inner().message()).await;
    assert_eq!(started.unwrap().unwrap().data, b"started\n");
    broken.abort();
    let repeated = write();
    go.write();
    in_time(repeated).await.unwrap().unwrap();
    sandbox.ends_with(GenericStatus::Success, 0).await;
    assert_eq!(sandbox.stdout(&local).await, b"started\n999995\n");
    local.finish().await;
}
