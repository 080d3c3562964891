//! How sandboxes run and end.

use std::time::{Duration, Instant};

use modal_local::Limits;
use modal_proto::client::{self as pb, GenericStatus};
use tonic::Code;

use crate::harness::{Fifo, Local, code, in_time, is_running};

#[tokio::test]
async fn a_wait_is_held_and_answers_nothing_while_it_runs() {
    let local = Local::start().await;
    let go = Fifo::new();
    let sandbox = local
        .script(&format!("read x < {}; exit 3", go.path()))
        .create()
        .await;
    let asked = Instant::now();
    assert_eq!(sandbox.wait_for(0.0).await, None);
    assert!(asked.elapsed() < Duration::from_secs(5));
    let asked = Instant::now();
    assert_eq!(sandbox.wait_for(0.2).await, None);
    assert!(asked.elapsed() >= Duration::from_millis(200));
    // A held one is answered when the sandbox ends, not at its timeout.
    let held = sandbox.clone();
    let held = tokio::spawn(async move { held.wait_for(50.0).await });
    go.write();
    let result = in_time(held).await.unwrap().unwrap();
    assert_eq!(
        (result.status(), result.exitcode),
        (GenericStatus::Failure, 3)
    );
    assert_eq!(sandbox.wait_for(0.0).await.unwrap(), result);

    let mut control = local.control();
    let bad = pb::SandboxWaitRequest {
        sandbox_id: sandbox.id.clone(),
        timeout: -1.0,
    };
    assert_eq!(
        code(control.sandbox_wait_v2(bad).await),
        Code::InvalidArgument
    );
    local.finish().await;
}

#[tokio::test]
async fn both_backends_name_the_task_of_a_sandbox() {
    let local = Local::start().await;
    let mut control = local.control();
    for command in ["true", "no-such-command"] {
        let request = |id: &str| pb::SandboxGetTaskIdRequest {
            sandbox_id: id.to_owned(),
            ..pb::SandboxGetTaskIdRequest::default()
        };
        let v1 = local.sandbox([command]).create_v1().await;
        let result = v1.wait().await;
        let answer = control
            .sandbox_get_task_id(request(&v1.id))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.task_id.as_ref(), Some(&v1.task));
        assert_eq!(answer.task_result, Some(result));
        let v2 = local.sandbox([command]).create().await;
        v2.wait().await;
        let answer = control
            .sandbox_get_task_id_v2(request(&v2.id))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.task_id.as_ref(), Some(&v2.task));
        assert_eq!(
            code(control.sandbox_get_task_id(request(&v2.id)).await),
            Code::NotFound
        );
    }
    local.finish().await;
}

#[tokio::test]
async fn exit_codes_arrive_as_they_are() {
    let local = Local::start().await;
    for (script, status, exit_code) in [
        ("exit 0", GenericStatus::Success, 0),
        ("exit 1", GenericStatus::Failure, 1),
        ("exit 255", GenericStatus::Failure, 255),
        ("kill -TERM $$", GenericStatus::Failure, 143),
        ("kill -KILL $$", GenericStatus::Failure, 137),
        ("kill -SEGV $$", GenericStatus::Failure, 139),
    ] {
        local
            .script(script)
            .create()
            .await
            .ends_with(status, exit_code)
            .await;
        local
            .script(script)
            .create_v1()
            .await
            .ends_with(status, exit_code)
            .await;
    }
    local.finish().await;
}

#[tokio::test]
async fn a_command_that_cannot_start_says_why() {
    let local = Local::start().await;
    let cases = [
        (local.sandbox(["no-such-command"]), 127, "no-such-command"),
        (local.sandbox(["/no/such/file"]), 127, "not found"),
        (local.sandbox(["/etc/passwd"]), 126, "not executable"),
        (local.sandbox(["/etc"]), 126, "not executable"),
        (
            local
                .sandbox(["true"])
                .define(|s| s.workdir = Some("/no/such".into())),
            125,
            "/no/such",
        ),
    ];
    for (new, exit_code, text) in cases {
        let sandbox = new.create().await;
        let result = sandbox.wait().await;
        assert_eq!(result.status(), GenericStatus::InitFailure);
        assert_eq!(result.exitcode, exit_code, "{result:?}");
        assert!(result.exception.contains(text), "{result:?}");
        assert_eq!(sandbox.stdout(&local).await, b"");
        assert!(!local.files(&sandbox).exists());
    }
    local.finish().await;
}

#[tokio::test]
async fn a_sandbox_that_outlives_its_timeout_is_timed_out() {
    let local = Local::start().await;
    let started = Instant::now();
    let sandbox = local
        .script("echo before; sleep 100")
        .timeout(1)
        .create()
        .await;
    let v1 = local.script("sleep 100").timeout(1).create_v1().await;
    sandbox.ends_with(GenericStatus::Timeout, 124).await;
    v1.ends_with(GenericStatus::Timeout, 124).await;
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(sandbox.stdout(&local).await, b"before\n");
    // Terminating it now changes nothing.
    let existing = sandbox.terminate().await.unwrap();
    assert_eq!(existing.status(), GenericStatus::Timeout);
    local.finish().await;
}

#[tokio::test]
async fn termination_is_idempotent_and_complete() {
    let local = Local::start().await;
    for new in [local.sandbox(["sleep", "100"]), local.sandbox([])] {
        let v1 = new.clone().create_v1().await;
        for sandbox in [new.create().await, v1] {
            assert_eq!(sandbox.terminate().await, None);
            // No waiting: the answer came when it was over.
            let result = sandbox.wait_for(0.0).await.unwrap();
            assert_eq!(result.status(), GenericStatus::Terminated);
            assert_eq!(result.exitcode, 137);
            assert_eq!(sandbox.terminate().await, Some(result));
        }
    }
    let unknown = pb::SandboxTerminateRequest {
        sandbox_id: "sb-unknown".into(),
    };
    let mut control = local.control();
    assert_eq!(
        code(control.sandbox_terminate_v2(unknown).await),
        Code::NotFound
    );
    local.finish().await;
}

#[tokio::test]
async fn the_end_is_asked_for_before_it_is_forced() {
    let local = Local::with(|options| {
        options.limits.ending_grace = Duration::from_secs(30);
    })
    .await;
    let ready = Fifo::new();
    let polite = local
        .script(&format!(
            "trap 'echo leaving; exit 0' TERM; echo > {}; while :; do sleep 0.01; done",
            ready.path()
        ))
        .create()
        .await;
    ready.read().await;
    let asked = Instant::now();
    polite.terminate().await;
    assert!(
        asked.elapsed() < Duration::from_secs(20),
        "the grace was waited out"
    );
    // What it returned is not what ended it.
    polite.ends_with(GenericStatus::Terminated, 137).await;
    assert_eq!(polite.stdout(&local).await, b"leaving\n");
    local.finish().await;

    let local = Local::with(|options| {
        options.limits.ending_grace = Duration::from_millis(200);
    })
    .await;
    let stubborn = local
        .script(&format!(
            "trap '' TERM; echo $$ > {}; while :; do sleep 0.01; done",
            ready.path()
        ))
        .create()
        .await;
    let pid = ready.read().await;
    let asked = Instant::now();
    stubborn.terminate().await;
    assert!(asked.elapsed() >= Duration::from_millis(200));
    stubborn.ends_with(GenericStatus::Terminated, 137).await;
    assert!(!is_running(&pid));
    local.finish().await;
}

#[tokio::test]
async fn a_terminated_start_is_over_too() {
    let local = Local::start().await;
    // Terminated at every moment of its start that the machine happens to hit.
    for _ in 0..50 {
        let sandbox = local.sandbox(["sleep", "100"]).create().await;
        sandbox.terminate().await;
        sandbox.ends_with(GenericStatus::Terminated, 137).await;
    }
    local.finish().await;
}

#[tokio::test]
async fn whoever_hangs_up_has_created_and_terminated_all_the_same() {
    let local = Local::start().await;
    for _ in 0..20 {
        let new = local.sandbox(["sleep", "100"]).key("k").name("n");
        let mut create = Box::pin(new.clone().try_create());
        assert!(futures::poll!(&mut create).is_pending());
        drop(create);
        let sandbox = new.create().await;
        let mut terminate = Box::pin(sandbox.terminate());
        assert!(futures::poll!(&mut terminate).is_pending());
        tokio::task::yield_now().await;
        drop(terminate);
        sandbox.terminate().await;
        sandbox.ends_with(GenericStatus::Terminated, 137).await;
    }
    local.finish().await;
}

#[tokio::test]
async fn the_end_of_the_server_ends_its_sandboxes() {
    let local = Local::start().await;
    let ready = Fifo::new();
    let script = format!("echo $$ > {}; sleep 100", ready.path());
    let sandbox = local.script(&script).create().await;
    let pid = ready.read().await;
    assert!(is_running(&pid));
    let held = sandbox.clone();
    let held = tokio::spawn(async move { held.wait().await });
    // Let the wait reach the server.
    local.control().client_hello(()).await.unwrap();
    local.finish().await;
    assert!(!is_running(&pid));
    let result = in_time(held).await.unwrap();
    assert_eq!(result.status(), GenericStatus::Terminated);
}

#[tokio::test]
async fn a_dropped_server_asks_its_sandboxes_to_end() {
    let local = Local::start().await;
    let (ready, left) = (Fifo::new(), Fifo::new());
    let script = format!(
        "trap 'echo left > {}; exit' TERM; echo > {}; while :; do sleep 0.01; done",
        left.path(),
        ready.path()
    );
    local.script(&script).create().await;
    ready.read().await;
    drop(local);
    assert_eq!(left.read().await, "left");
}

#[test]
fn a_dropped_runtime_kills_its_sandboxes() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (local, pid) = runtime.block_on(async {
        let local = Local::start().await;
        let ready = Fifo::new();
        let script = format!("echo $$ > {}; exec sleep 100", ready.path());
        local.script(&script).create().await;
        (local, ready.read().await)
    });
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    drop(runtime);
    let mut exited = [rustix::event::PollFd::new(
        &pidfd,
        rustix::event::PollFlags::IN,
    )];
    let minute = rustix::event::Timespec {
        tv_sec: 60,
        tv_nsec: 0,
    };
    assert_eq!(rustix::event::poll(&mut exited, Some(&minute)).unwrap(), 1);
    drop(local);
}

#[tokio::test]
async fn old_ends_are_forgotten() {
    let local = Local::with(|options| {
        options.limits = Limits {
            finished_sandboxes: 3,
            ..options.limits.clone()
        };
    })
    .await;
    let mut sandboxes = Vec::new();
    for number in 0..5 {
        let sandbox = local
            .script(&format!("echo {number}"))
            .key("k")
            .define(|_| {});
        let sandbox = sandbox.key(&number.to_string()).create().await;
        sandbox.ends_with(GenericStatus::Success, 0).await;
        sandboxes.push(sandbox);
    }
    let mut control = local.control();
    for (number, sandbox) in sandboxes.iter().enumerate() {
        let wait = pb::SandboxWaitRequest {
            sandbox_id: sandbox.id.clone(),
            timeout: 0.0,
        };
        let answer = control.sandbox_wait_v2(wait).await;
        let again = local
            .script("echo again")
            .key(&number.to_string())
            .create()
            .await;
        if number < 2 {
            assert_eq!(code(answer), Code::NotFound);
            assert_ne!(again.id, sandbox.id, "a forgotten key counts again");
            again.ends_with(GenericStatus::Success, 0).await;
            break;
        }
        answer.unwrap();
        assert_eq!(again.id, sandbox.id);
    }
    let newest = sandboxes.last().unwrap();
    assert_eq!(newest.stdout(&local).await, b"4\n");
    assert!(local.files(newest).exists());
    local.finish().await;
}

#[tokio::test]
async fn what_finished_sandboxes_keep_is_bounded() {
    let local = Local::with(|options| {
        options.limits.finished_output = 100_000;
    })
    .await;
    let script = "head -c 60000 /dev/zero";
    let first = local.script(script).create().await;
    first.ends_with(GenericStatus::Success, 0).await;
    assert_eq!(first.stdout(&local).await.len(), 60_000);
    let second = local.script(script).create().await;
    second.ends_with(GenericStatus::Success, 0).await;
    let wait = pb::SandboxWaitRequest {
        sandbox_id: first.id.clone(),
        timeout: 0.0,
    };
    assert_eq!(
        code(local.control().sandbox_wait_v2(wait).await),
        Code::NotFound
    );
    assert_eq!(second.stdout(&local).await.len(), 60_000);
    local.finish().await;
}
