//! Commands executed in a sandbox: what they get, their output, their end.

use std::time::Duration;

use modal_proto::{
    client::GenericStatus,
    task_command_router::{
        TaskExecStderrConfig, TaskExecStdioFileDescriptor::Stdout, TaskExecStdoutConfig,
        task_exec_poll_response::ExitStatus as Polled, task_exec_wait_response::ExitStatus,
    },
};
use tonic::Code;

use crate::harness::{Fifo, Local, code, in_time, is_running, items, marked, variables};

#[tokio::test]
async fn a_command_runs_with_its_arguments_and_its_exit_is_told() {
    let local = Local::start().await;
    for sandbox in [
        local.sandbox([]).create().await,
        local.sandbox([]).create_v1().await,
    ] {
        let odd = ["", "two words", "line\nbreak", "$HOME", "ünï 🦀", "*"];
        let mut command = vec![
            "sh",
            "-c",
            r#"printf '%s\0' "$@"; printf 'err\377' >&2; exit 3"#,
            "-",
        ];
        command.extend(odd);
        let exec = sandbox.exec(&local, []).define(|request| {
            request.command_args = command.iter().map(|text| (*text).to_owned()).collect();
        });
        let exec = exec.start().await;
        assert_eq!(exec.wait().await, ExitStatus::Code(3));
        assert_eq!(exec.poll().await, Some(Polled::Code(3)));
        // After the end, and again.
        for _ in 0..2 {
            assert_eq!(items(&exec.stdout().await), odd);
            assert_eq!(exec.stderr().await, b"err\xff");
        }
        assert_eq!(exec.try_read(Stdout, 1).await.unwrap()[..9], *b"two words");
        let zero = sandbox.exec(&local, ["true"]).start().await;
        assert_eq!(zero.wait().await, ExitStatus::Code(0));
        let killed = sandbox.shell(&local, "kill -9 $$").start().await;
        assert_eq!(killed.wait().await, ExitStatus::Signal(9));
    }
    local.finish().await;
}

#[tokio::test]
async fn variables_and_directory_are_the_sandboxs_with_the_requests_over_them() {
    let local = Local::start().await;
    let sandbox = local
        .sandbox([])
        .env([("A", "sandbox"), ("B", "sandbox"), ("C", "sandbox")])
        .create()
        .await;
    let exec = sandbox
        .exec(&local, ["env", "-0"])
        .define(|request| {
            request.env = [("B", "old field"), ("C", "old field")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into();
        })
        .env([("C", "source"), ("D", "source")])
        .env([("D", "last")])
        .start()
        .await;
    let found = variables(&exec.stdout().await);
    let files = local.files(&sandbox);
    for (key, value) in [
        ("A", "sandbox"),
        ("B", "old field"),
        ("C", "source"),
        ("D", "last"),
        ("HOME", files.to_str().unwrap()),
    ] {
        assert_eq!(found[key], value, "{key}");
    }
    let pwd = sandbox.exec(&local, ["pwd"]).start().await;
    assert_eq!(
        pwd.stdout().await,
        format!("{}\n", files.display()).as_bytes()
    );
    let pwd = sandbox.exec(&local, ["pwd"]);
    let pwd = pwd.define(|request| request.workdir = Some("/".to_owned()));
    assert_eq!(pwd.start().await.stdout().await, b"/\n");
    let relative = sandbox.exec(&local, ["pwd"]);
    let relative = relative.define(|request| request.workdir = Some("tmp".to_owned()));
    assert_eq!(
        code(relative.try_start().await.map(drop)),
        Code::InvalidArgument
    );
    // A sandbox's own working directory is that of its commands.
    let elsewhere = local.sandbox([]).define(|s| s.workdir = Some("/".into()));
    let elsewhere = elsewhere.create().await;
    let pwd = elsewhere.exec(&local, ["pwd"]).start().await;
    assert_eq!(pwd.stdout().await, b"/\n");
    local.finish().await;
}

#[tokio::test]
async fn a_repeated_start_finds_the_command() {
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create().await;
    let start = sandbox.shell(&local, "echo once >> count; cat count");
    let starts = (0..10).map(|_| start.clone().start());
    let execs = futures::future::join_all(starts).await;
    for exec in &execs {
        assert_eq!(exec.wait().await, ExitStatus::Code(0));
    }
    assert_eq!(start.clone().start().await.stdout().await, b"once\n");
    let other = start.define(|request| request.command_args = vec!["true".to_owned()]);
    assert_eq!(code(other.try_start().await.map(drop)), Code::AlreadyExists);
    local.finish().await;
}

#[tokio::test]
async fn a_command_that_cannot_start_ends_as_in_a_shell() {
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create().await;
    let made = sandbox
        .shell(&local, "echo no program > plain")
        .start()
        .await;
    assert_eq!(made.wait().await, ExitStatus::Code(0));
    let plain = local.files(&sandbox).join("plain");
    for (command, expected, reason) in [
        ("no-such-command", 127, "command not found"),
        (plain.to_str().unwrap(), 126, "not executable"),
    ] {
        let exec = sandbox.exec(&local, [command]).start().await;
        assert_eq!(exec.wait().await, ExitStatus::Code(expected));
        let said = String::from_utf8(exec.stderr().await).unwrap();
        assert!(said.contains(reason), "{said}");
        assert_eq!(exec.stdout().await, b"");
    }
    let exec = sandbox.exec(&local, ["true"]);
    let exec = exec.define(|request| request.workdir = Some("/no/such/place".to_owned()));
    let exec = exec.start().await;
    assert_eq!(exec.wait().await, ExitStatus::Code(125));
    let said = String::from_utf8(exec.stderr().await).unwrap();
    assert!(said.contains("/no/such/place"), "{said}");
    for bad in [vec![], vec![String::new()], vec!["a\0b".to_owned()]] {
        let exec = sandbox.exec(&local, []);
        let exec = exec.define(|request| request.command_args = bad);
        assert_eq!(
            code(exec.try_start().await.map(drop)),
            Code::InvalidArgument
        );
    }
    local.finish().await;
}

#[tokio::test]
async fn output_goes_where_the_request_says() {
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create().await;
    let run = async |stdout: TaskExecStdoutConfig, stderr: TaskExecStderrConfig| {
        let exec = sandbox.shell(&local, "echo out; echo err >&2");
        let exec = exec.define(|request| {
            request.stdout_config = stdout.into();
            request.stderr_config = stderr.into();
        });
        let exec = exec.start().await;
        assert_eq!(exec.wait().await, ExitStatus::Code(0));
        (exec.stdout().await, exec.stderr().await)
    };
    let text = |text: &str| text.as_bytes().to_vec();
    let merged = run(TaskExecStdoutConfig::Pipe, TaskExecStderrConfig::Stdout).await;
    assert_eq!(merged, (text("out\nerr\n"), text("")));
    let nothing = run(TaskExecStdoutConfig::Devnull, TaskExecStderrConfig::Devnull).await;
    assert_eq!(nothing, (text(""), text("")));
    let only = run(TaskExecStdoutConfig::Devnull, TaskExecStderrConfig::Pipe).await;
    assert_eq!(only, (text(""), text("err\n")));
    local.finish().await;
}

#[tokio::test]
async fn output_is_followed_as_it_comes_and_read_again_from_anywhere() {
    let local = Local::start().await;
    let go = Fifo::new();
    let sandbox = local.sandbox([]).create().await;
    let script = format!("echo one; read x < {}; seq 1000000 1699999", go.path());
    let exec = sandbox.shell(&local, &script).start().await;
    let mut stream = exec.stream(Stdout, 0).await;
    let first = in_time(stream.message()).await.unwrap().unwrap();
    assert_eq!(first.data, b"one\n");
    assert_eq!(exec.poll().await, None);
    let mut next = Box::pin(stream.message());
    assert!(futures::poll!(&mut next).is_pending());
    drop(next);
    go.write();
    // A broken stream is taken up where it broke; no byte is lost or repeated.
    let second = in_time(stream.message()).await.unwrap().unwrap();
    let mut bytes = [first.data, second.data].concat();
    drop(stream);
    bytes.extend(
        in_time(exec.try_read(Stdout, bytes.len() as u64))
            .await
            .unwrap(),
    );
    let numbers = (1_000_000..1_700_000).map(|number| format!("{number}\n"));
    let expected: String = ["one\n".to_owned()].into_iter().chain(numbers).collect();
    assert!(bytes == expected.as_bytes(), "{} bytes", bytes.len());
    assert_eq!(exec.wait().await, ExitStatus::Code(0));
    assert!(exec.stdout().await == expected.as_bytes());
    let tail = exec.try_read(Stdout, expected.len() as u64 - 8).await;
    assert_eq!(tail.unwrap(), b"1699999\n");
    local.finish().await;
}

#[tokio::test]
async fn a_slow_reader_misses_nothing_and_the_command_waits_for_it() {
    let cap = 256 * 1024;
    let local = Local::with(|options| options.limits.exec_output_per_stream = cap).await;
    let sandbox = local.sandbox([]).create().await;
    let go = Fifo::new();
    let script = format!("read x < {}; seq 1000000 2999999; echo > done", go.path());
    let exec = sandbox.shell(&local, &script).start().await;
    let mut stream = exec.stream(Stdout, 0).await;
    go.write();
    let mut bytes = in_time(stream.message()).await.unwrap().unwrap().data;
    // 16 MB do not fit anywhere on the way: it cannot have ended.
    assert_eq!(exec.poll().await, None);
    assert!(!local.files(&sandbox).join("done").exists());
    while let Some(chunk) = in_time(stream.message()).await.unwrap() {
        bytes.extend(chunk.data);
    }
    let expected: String = (1_000_000..3_000_000)
        .map(|number| format!("{number}\n"))
        .collect();
    assert!(bytes == expected.as_bytes(), "{} bytes", bytes.len());
    assert_eq!(exec.wait().await, ExitStatus::Code(0));
    // The beginning is gone for whoever comes now, and that is said.
    let late = exec.try_read(Stdout, 0).await.unwrap_err();
    assert_eq!(late.code(), Code::DataLoss, "{late}");
    let tail = exec.try_read(Stdout, expected.len() as u64 - 8).await;
    assert_eq!(tail.unwrap(), b"2999999\n");
    local.finish().await;
}

#[tokio::test]
async fn a_timeout_kills_a_command_and_its_group() {
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create().await;
    let fifo = Fifo::new();
    let script = format!(
        "trap '' TERM; sleep 100 & echo $! > {}; wait; sleep 100",
        fifo.path()
    );
    let exec = sandbox.shell(&local, &script);
    let exec = exec.define(|request| request.timeout_secs = Some(1));
    let exec = exec.start().await;
    let child = fifo.read().await;
    assert_eq!(exec.wait().await, ExitStatus::Signal(9));
    assert_eq!(exec.stdout().await, b"");
    in_time(async {
        while is_running(&child) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // The sandbox goes on.
    let exec = sandbox.exec(&local, ["true"]).start().await;
    assert_eq!(exec.wait().await, ExitStatus::Code(0));
    local.finish().await;
}

#[tokio::test]
async fn commands_end_with_their_sandbox() {
    let local = Local::start().await;
    let fifo = Fifo::new();
    let deaf = "trap '' TERM; echo ready; while :; do sleep 1; done";
    for (own, ends) in [
        (format!("read x < {}", fifo.path()), false),
        ("sleep 100".to_owned(), true),
    ] {
        let sandbox = local.script(&own).create().await;
        let exec = sandbox.shell(&local, deaf).start().await;
        // One that outlives the command that started it, in a session of its own.
        let daemon = sandbox.shell(&local, "setsid sleep 100 & echo started");
        let daemon = daemon.start().await;
        assert_eq!(daemon.wait().await, ExitStatus::Code(0));
        let mut stream = daemon.stream(Stdout, 0).await;
        let started = in_time(stream.message()).await.unwrap().unwrap();
        assert_eq!(started.data, b"started\n");
        let mut ready = exec.stream(Stdout, 0).await;
        let said = in_time(ready.message()).await.unwrap().unwrap();
        assert_eq!(said.data, b"ready\n");
        let marker = format!("{}{}", local.marker(), sandbox.id);
        assert!(marked(&marker).len() >= 3);
        if ends {
            sandbox.terminate().await;
            assert_eq!(sandbox.wait().await.status(), GenericStatus::Terminated);
        } else {
            fifo.write();
            sandbox.ends_with(GenericStatus::Success, 0).await;
        }
        assert_eq!(marked(&marker), Vec::<i32>::new());
        assert_eq!(exec.wait().await, ExitStatus::Signal(9));
        // Streams end, and what was written stays readable.
        assert!(in_time(stream.message()).await.unwrap().is_none());
        assert!(in_time(ready.message()).await.unwrap().is_none());
        assert_eq!(exec.stdout().await, b"ready\n");
        let late = sandbox.exec(&local, ["true"]).try_start().await;
        assert_eq!(code(late.map(drop)), Code::NotFound);
    }
    local.finish().await;
}

#[tokio::test]
async fn what_hides_from_the_search_ends_with_its_sandbox_too() {
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create().await;
    let fifo = Fifo::new();
    // Without the marker, and without the command that started it.
    let hidden = format!("echo $$ > {}; exec sleep 100", fifo.path());
    let script = format!("env -i PATH=\"$PATH\" sh -c '{hidden}' > /dev/null 2>&1 &");
    let mut pids = Vec::new();
    for _ in 0..3 {
        let exec = sandbox.shell(&local, &script).start().await;
        assert_eq!(exec.wait().await, ExitStatus::Code(0));
        pids.push(fifo.read().await);
    }
    assert!(pids.iter().all(|pid| is_running(pid)));
    sandbox.terminate().await;
    assert!(!pids.iter().any(|pid| is_running(pid)));
    local.finish().await;
}

#[tokio::test]
async fn commands_that_start_while_their_sandbox_ends_leave_nothing() {
    let local = Local::start().await;
    for _ in 0..10 {
        let sandbox = local.sandbox([]).create().await;
        let starts = (0..8).map(|_| sandbox.shell(&local, "sleep 100 & sleep 100").try_start());
        let all = futures::future::join_all(starts);
        let (started, _) = futures::future::join(all, sandbox.terminate()).await;
        let marker = format!("{}{}", local.marker(), sandbox.id);
        assert_eq!(marked(&marker), Vec::<i32>::new());
        for exec in started {
            match exec {
                // Asked to end, or killed.
                Ok(exec) => assert!(matches!(exec.wait().await, ExitStatus::Signal(9 | 15))),
                Err(status) => assert_eq!(status.code(), Code::NotFound),
            }
        }
    }
    local.finish().await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create().await;
    let mut exec = sandbox.exec(&local, ["true"]).start().await;
    exec.id = "another".to_owned();
    assert_eq!(code(exec.try_wait().await), Code::NotFound);
    assert_eq!(code(exec.write(0, b"x", false).await), Code::NotFound);
    assert_eq!(code(exec.upload(b"x").await), Code::NotFound);
    // A token is good for its own task only.
    let other = local.sandbox([]).create().await;
    exec.task = other.task;
    assert_eq!(code(exec.try_wait().await), Code::PermissionDenied);
    assert_eq!(code(exec.upload(b"x").await), Code::PermissionDenied);
    local.finish().await;
}

#[tokio::test]
async fn only_so_many_run_at_once() {
    let local = Local::with(|options| options.limits.running_execs = 2).await;
    let sandbox = local.sandbox([]).create().await;
    let one = sandbox.exec(&local, ["cat"]).start().await;
    let _two = sandbox.exec(&local, ["cat"]).start().await;
    let third = sandbox.exec(&local, ["true"]);
    let refused = third.clone().try_start().await.map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("at most 2"), "{refused}");
    one.write(0, b"", true).await.unwrap();
    assert_eq!(one.wait().await, ExitStatus::Code(0));
    assert_eq!(third.start().await.wait().await, ExitStatus::Code(0));
    local.finish().await;
}

#[tokio::test]
async fn a_thousand_one_after_another() {
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create().await;
    let first = sandbox.exec(&local, ["echo", "first"]).start().await;
    assert_eq!(first.wait().await, ExitStatus::Code(0));
    for _ in 0..1_000 {
        let exec = sandbox.exec(&local, ["true"]).start().await;
        assert_eq!(exec.wait().await, ExitStatus::Code(0));
    }
    // The longest ended is forgotten, and nothing but the sandbox is left.
    assert_eq!(code(first.try_wait().await), Code::NotFound);
    let marker = format!("{}{}", local.marker(), sandbox.id);
    assert_eq!(marked(&marker).len(), 1);
    local.finish().await;
}

#[tokio::test]
async fn the_output_of_ended_commands_is_bounded() {
    let local = Local::with(|options| options.limits.ended_exec_output = 1_000_000).await;
    let sandbox = local.sandbox([]).create().await;
    let mut execs = Vec::new();
    for _ in 0..4 {
        let exec = sandbox.exec(&local, ["head", "-c", "400000", "/dev/zero"]);
        let exec = exec.start().await;
        assert_eq!(exec.stdout().await.len(), 400_000);
        assert_eq!(exec.wait().await, ExitStatus::Code(0));
        execs.push(exec);
    }
    let last = execs.pop().unwrap();
    assert_eq!(last.stdout().await.len(), 400_000);
    // Noticed once the last one has ended altogether.
    in_time(async {
        while execs[0].try_wait().await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(code(execs[0].try_wait().await), Code::NotFound);
    local.finish().await;
}

#[tokio::test]
async fn a_sandbox_in_which_nothing_happens_ends_after_its_idle_timeout() {
    let local = Local::start().await;
    let idle = local.sandbox([]).define(|s| s.idle_timeout_secs = Some(1));
    let busy = idle.create().await;
    let exec = busy.exec(&local, ["cat"]).start().await;
    let idle = local.sandbox([]).define(|s| s.idle_timeout_secs = Some(1));
    let idle = idle.create().await;
    idle.ends_with(GenericStatus::IdleTimeout, 124).await;
    // The other one was created before, and is in use.
    assert!(busy.wait_for(0.0).await.is_none());
    exec.write(0, b"", true).await.unwrap();
    busy.ends_with(GenericStatus::IdleTimeout, 124).await;
    local.finish().await;
}
