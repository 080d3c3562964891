//! Many at once.

use futures::future::join_all;
use modal_proto::{
    client::{self as pb, GenericStatus},
    task_command_router::task_exec_wait_response::ExitStatus,
};

use crate::harness::{Exec, Local, in_time};

const MANY: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_sandboxes_at_once() {
    let local = Local::start().await;
    let creates = (0..MANY).map(|number| {
        let script = format!("echo {number}; exec sleep 100");
        local.script(&script).create()
    });
    let sandboxes = in_time(join_all(creates)).await;
    // Each has printed its number: they all run.
    let read = sandboxes.iter().map(|sandbox| async {
        let request = modal_proto::task_command_router::SandboxStdioReadV2Request {
            task_id: sandbox.task.clone(),
            ..Default::default()
        };
        let mut router = local.router(&sandbox.jwt);
        let mut stream = router
            .sandbox_stdio_read_v2(request)
            .await
            .unwrap()
            .into_inner();
        String::from_utf8(stream.message().await.unwrap().unwrap().data).unwrap()
    });
    let printed = in_time(join_all(read)).await;
    let expected: Vec<String> = (0..MANY).map(|number| format!("{number}\n")).collect();
    assert_eq!(printed, expected);
    let list = pb::SandboxListRequest {
        app_id: local.app().to_owned(),
        ..pb::SandboxListRequest::default()
    };
    let page = local.control().sandbox_list_v2(list).await.unwrap();
    assert_eq!(page.into_inner().sandboxes.len(), 100, "a full page");

    in_time(join_all(
        sandboxes.iter().map(|sandbox| sandbox.terminate()),
    ))
    .await;
    for sandbox in &sandboxes {
        sandbox.ends_with(GenericStatus::Terminated, 137).await;
    }
    local.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_sandboxes_with_a_command_each_that_is_followed() {
    let local = Local::start().await;
    let creates = (0..MANY).map(|_| local.sandbox([]).create());
    let sandboxes = in_time(join_all(creates)).await;
    let starts = (0..).zip(&sandboxes).map(|(number, sandbox)| {
        let script = format!("seq {number} 9999; read line; echo $line");
        sandbox.shell(&local, &script).start()
    });
    let execs = in_time(join_all(starts)).await;
    // All of them run when the first is told to go on.
    for exec in &execs {
        assert_eq!(exec.poll().await, None);
    }
    let runs = (0..)
        .zip(&execs)
        .map(async |(number, exec): (usize, &Exec)| {
            let (read, written) =
                futures::future::join(exec.stdout(), exec.write(0, b"go on\n", true)).await;
            written.unwrap();
            let numbers = (number..=9_999).map(|number| format!("{number}\n"));
            let expected: String = numbers.chain(["go on\n".to_owned()]).collect();
            assert!(read == expected.as_bytes(), "{number}");
            assert_eq!(exec.wait().await, ExitStatus::Code(0));
        });
    in_time(join_all(runs)).await;
    in_time(join_all(
        sandboxes.iter().map(|sandbox| sandbox.terminate()),
    ))
    .await;
    local.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_short_commands_at_once() {
    let local = Local::start().await;
    let runs = (0..MANY).map(|_| async {
        let sandbox = local.sandbox(["true"]).create().await;
        sandbox.ends_with(GenericStatus::Success, 0).await;
    });
    in_time(join_all(runs)).await;
    local.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_commands_that_print_a_lot() {
    let local = Local::start().await;
    let runs = (0..50).map(|number| {
        let local = &local;
        async move {
            let script = format!("yes {number} | head -n 200000");
            let sandbox = local.script(&script).create().await;
            let bytes = sandbox.stdout(local).await;
            assert_eq!(bytes, format!("{number}\n").repeat(200_000).as_bytes());
            sandbox.ends_with(GenericStatus::Success, 0).await;
        }
    });
    in_time(join_all(runs)).await;
    local.finish().await;
}
