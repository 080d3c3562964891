//! Command routers: what is asked again, when, and where the way is asked for.

use super::{client, jwt, with_auth};
use crate::limits;
use crate::modal::channel::Endpoint;
use crate::modal::error::CallError;
use crate::modal::output::OutputStream;
use crate::modal::router::{Command, CommandSpec, Input, Router};
use crate::modal::sandbox::{RouterAccess, SandboxHandle};
use crate::platform::TransportFault;
use crate::testing::{Fake, Reply, Sent};
use bytes::Bytes;
use futures::StreamExt as _;
use modal_proto::client::{
    SandboxGetCommandRouterAccessResponse, SandboxGetTaskIdResponse,
    TaskGetCommandRouterAccessRequest, TaskGetCommandRouterAccessResponse,
};
use modal_proto::task_command_router::{
    TaskExecPollResponse, TaskExecStartRequest, TaskExecStartResponse, TaskExecStdinStatusResponse,
    TaskExecStdinWriteRequest, TaskExecStdinWriteResponse, TaskExecStdioReadRequest,
    TaskExecStdioReadResponse, TaskExecWaitResponse, TaskSnapshotFilesystemRequest,
    TaskSnapshotFilesystemResponse, task_exec_poll_response, task_exec_wait_response,
};
use prost::Message as _;
use std::time::Duration;
use tonic::Code;

/// The clock of tests stands at 1000 s at the beginning.
const LASTING: u64 = 1_000_000;
/// Ends within the time in which a refused token is replaced.
const ENDING: u64 = 1_010;

fn router(fake: &Fake, expires_at: u64) -> Router<Fake> {
    let sandbox = SandboxHandle {
        id: "sb-01JABCDEFGHJKMNPQRSTVWXYZ0".into(),
        task_id: Some("ta-1V".into()),
        token: None,
        router: Some(std::rc::Rc::new(RouterAccess {
            endpoint: Endpoint::parse("https://worker.example.com").unwrap(),
            jwt: jwt(expires_at),
            expires_at: Some(Duration::from_secs(expires_at)),
        })),
    };
    Router::new(client(fake), sandbox)
}

fn echo() -> CommandSpec {
    CommandSpec {
        arguments: vec!["echo".into()],
        ..CommandSpec::default()
    }
}

/// A command that was started, on a server that does as the script says from then on.
fn started(script: impl FnMut(&Sent) -> Reply + 'static) -> (Fake, Command<Fake>) {
    let mut script = script;
    let fake = with_auth(move |sent| match sent.method.as_str() {
        "TaskExecStart" => Reply::ok(&TaskExecStartResponse {}),
        _ => script(sent),
    });
    let router = router(&fake, LASTING);
    let command = fake.block_on(router.start(echo())).unwrap();
    (fake, command)
}

fn access(jwt: &str, url: &str) -> Reply {
    Reply::ok(&SandboxGetCommandRouterAccessResponse {
        jwt: jwt.into(),
        url: url.into(),
    })
}

fn broken() -> Reply {
    Reply::Fault(TransportFault::Broken {
        reason: "reset".into(),
    })
}

fn waited(code: i32) -> Reply {
    Reply::ok(&TaskExecWaitResponse {
        exit_status: Some(task_exec_wait_response::ExitStatus::Code(code)),
    })
}

#[test]
fn a_start_is_asked_for_ten_times_more_as_the_same() {
    let fake = with_auth(|_| Reply::failure(Code::Unavailable, "no"));
    let router = router(&fake, LASTING);
    let error = fake.block_on(router.start(echo())).unwrap_err();
    assert!(error.is(Code::Unavailable));
    let pauses = [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120];
    assert_eq!(fake.sleeps(), pauses);
    let sent = fake.sent();
    assert_eq!(sent.len(), pauses.len() + 1);
    let first: TaskExecStartRequest = sent[0].decode();
    assert_eq!(first.exec_id.len(), 36);
    assert_eq!((first.stdout_config, first.stderr_config), (1, 1));
    for sent in &sent {
        assert_eq!(sent.decode::<TaskExecStartRequest>(), first);
        assert!(sent.header("authorization").unwrap().starts_with("Bearer "));
        assert_eq!(sent.header("x-idempotency-key"), None);
    }
}

#[test]
fn each_command_has_an_id_of_its_own() {
    let fake = with_auth(|_| Reply::ok(&TaskExecStartResponse {}));
    let router = router(&fake, LASTING);
    for _ in 0..2 {
        fake.block_on(router.start(echo())).unwrap();
    }
    let id = |sent: &Sent| sent.decode::<TaskExecStartRequest>().exec_id;
    let sent = fake.sent();
    assert_ne!(id(&sent[0]), id(&sent[1]));
}

#[test]
fn a_directed_wait_is_told_and_uses_no_retry() {
    let mut round = 0;
    let fake = with_auth(move |_| {
        round += 1;
        match round {
            1 => super::calls::throttled(Code::ResourceExhausted, 0.5),
            _ => Reply::ok(&TaskExecStartResponse {}),
        }
    });
    let router = router(&fake, LASTING);
    fake.block_on(router.start(echo())).unwrap();
    assert_eq!(fake.sleeps(), [500]);
    let told: Vec<_> = fake
        .sent()
        .iter()
        .map(|sent| sent.header("x-throttle-retry-attempt").map(str::to_owned))
        .collect();
    assert_eq!(told, [Some("0".into()), Some("1".into())]);
}

#[test]
fn too_much_without_a_wait_is_final() {
    let fake = with_auth(|_| Reply::failure(Code::ResourceExhausted, "full"));
    let router = router(&fake, LASTING);
    let error = fake.block_on(router.start(echo())).unwrap_err();
    assert!(error.is(Code::ResourceExhausted));
    assert_eq!(fake.sent().len(), 1);
}

#[test]
fn a_refused_token_is_tried_once_more_or_replaced() {
    let script = |sent: &Sent| match sent.method.as_str() {
        "SandboxGetCommandRouterAccess" => access("fresh", "https://worker.example.com"),
        _ if sent.header("authorization") == Some("Bearer fresh") => {
            Reply::ok(&TaskExecStartResponse {})
        }
        _ => Reply::failure(Code::Unauthenticated, "expired"),
    };
    let fake = with_auth(script);
    let soon = router(&fake, ENDING);
    fake.block_on(soon.start(echo())).unwrap();
    let asked = "SandboxGetCommandRouterAccess";
    assert_eq!(
        fake.methods(),
        ["TaskExecStart", "AuthTokenGet", asked, "TaskExecStart"]
    );

    let fake = with_auth(script);
    let lasting = router(&fake, LASTING);
    let error = fake.block_on(lasting.start(echo())).unwrap_err();
    assert!(error.is(Code::Unauthenticated));
    assert_eq!(fake.methods(), ["TaskExecStart", "TaskExecStart"]);
}

#[test]
fn one_question_for_the_way_serves_all() {
    let fake = with_auth(|sent| match sent.method.as_str() {
        "SandboxGetTaskIdV2" => Reply::ok(&SandboxGetTaskIdResponse {
            task_id: Some("ta-1V".into()),
            task_result: None,
        }),
        "SandboxGetCommandRouterAccess" => access(&jwt(LASTING), "https://worker.example.com"),
        _ => Reply::ok(&TaskExecStartResponse {}),
    });
    let attached = SandboxHandle::attached("sb-01JABCDEFGHJKMNPQRSTVWXYZ0".into());
    let router = Router::new(client(&fake), attached);
    let starts = (0..5).map(|_| router.start(echo()));
    for started in fake.block_on(futures::future::join_all(starts)) {
        started.unwrap();
    }
    assert_eq!(fake.sent_to("SandboxGetTaskIdV2").len(), 1);
    assert_eq!(fake.sent_to("SandboxGetCommandRouterAccess").len(), 1);
    assert_eq!(fake.sent_to("TaskExecStart").len(), 5);
}

#[test]
fn the_older_backend_is_asked_by_task() {
    let fake = Fake::new(|sent| match sent.method.as_str() {
        "SandboxGetTaskId" => Reply::ok(&SandboxGetTaskIdResponse {
            task_id: Some("ta-1".into()),
            task_result: None,
        }),
        "TaskGetCommandRouterAccess" => {
            let request: TaskGetCommandRouterAccessRequest = sent.decode();
            assert_eq!(request.task_id, "ta-1");
            Reply::ok(&TaskGetCommandRouterAccessResponse {
                jwt: jwt(LASTING),
                url: "https://worker.example.com".into(),
            })
        }
        _ => Reply::ok(&TaskExecStartResponse {}),
    });
    let attached = SandboxHandle::attached("sb-0123456789ABCDEFabcdef".into());
    let router = Router::new(client(&fake), attached);
    fake.block_on(router.start(echo())).unwrap();
    assert_eq!(
        fake.methods(),
        [
            "SandboxGetTaskId",
            "TaskGetCommandRouterAccess",
            "TaskExecStart"
        ]
    );
}

#[test]
fn a_sandbox_that_has_ended_is_not_there() {
    let fake = with_auth(|sent| match sent.method.as_str() {
        "SandboxGetTaskIdV2" => Reply::ok(&SandboxGetTaskIdResponse {
            task_id: Some("ta-1V".into()),
            task_result: None,
        }),
        _ => Reply::failure(Code::FailedPrecondition, "it has ended"),
    });
    let attached = SandboxHandle::attached("sb-01JABCDEFGHJKMNPQRSTVWXYZ0".into());
    let router = Router::new(client(&fake), attached);
    let error = fake.block_on(router.start(echo())).unwrap_err();
    assert!(error.is(Code::NotFound));
    assert_eq!(error.to_string(), "it has ended");
}

#[test]
fn a_router_that_is_out_of_reach_is_looked_for() {
    let fake = with_auth(|sent| match sent.method.as_str() {
        "SandboxGetCommandRouterAccess" => access(&jwt(LASTING), "https://other.example.com"),
        _ if sent.url.starts_with("https://other.example.com/") => {
            Reply::ok(&TaskExecStartResponse {})
        }
        _ => broken(),
    });
    let router = router(&fake, LASTING);
    fake.block_on(router.start(echo())).unwrap();
    assert_eq!(fake.sleeps(), [10, 20, 40]);
    assert_eq!(fake.sent_to("SandboxGetCommandRouterAccess").len(), 1);
}

#[test]
fn an_end_is_waited_for_through_failures() {
    let mut round = 0;
    let (fake, command) = started(move |sent| {
        if sent.method == "SandboxGetCommandRouterAccess" {
            return access(&jwt(LASTING), "https://worker.example.com");
        }
        assert!(sent.header("grpc-timeout").is_some());
        round += 1;
        match round {
            1 => Reply::failure(Code::DeadlineExceeded, "still running"),
            2 | 3 => Reply::failure(Code::Unavailable, "no"),
            4 => broken(),
            _ => waited(3),
        }
    });
    assert_eq!(fake.block_on(command.wait()), Ok(3));
    assert_eq!(fake.sleeps(), [1000; 4]);
    // What is known is not asked again.
    assert_eq!(fake.block_on(command.wait()), Ok(3));
    assert_eq!(fake.block_on(command.poll()), Ok(Some(3)));
    assert_eq!(fake.sent_to("TaskExecWait").len(), 5);
    assert!(fake.sent_to("TaskExecPoll").is_empty());
}

#[test]
fn only_total_silence_ends_a_wait() {
    let (fake, command) = started(|_| broken());
    let error = fake.block_on(command.wait()).unwrap_err();
    assert!(matches!(error, CallError::Transport { .. }));
    let waited: u128 = fake.sleeps().iter().sum();
    assert!(waited >= limits::STATUS_PATIENCE.as_millis());

    let (fake, command) = started(|_| Reply::failure(Code::NotFound, "no such exec"));
    let error = fake.block_on(command.wait()).unwrap_err();
    assert!(error.is(Code::NotFound));
    assert_eq!(fake.sent_to("TaskExecWait").len(), 1);
}

#[test]
fn signals_are_exit_codes_and_nothing_is_no_end() {
    let (fake, command) = started(|_| {
        Reply::ok(&TaskExecWaitResponse {
            exit_status: Some(task_exec_wait_response::ExitStatus::Signal(9)),
        })
    });
    assert_eq!(fake.block_on(command.wait()), Ok(137));

    let (fake, command) = started(|_| Reply::ok(&TaskExecWaitResponse { exit_status: None }));
    assert!(fake.block_on(command.wait()).is_err());

    let mut round = 0;
    let (fake, command) = started(move |_| {
        round += 1;
        let status = task_exec_poll_response::ExitStatus::Code(0);
        Reply::ok(&TaskExecPollResponse {
            exit_status: (round > 1).then_some(status),
        })
    });
    assert_eq!(fake.block_on(command.poll()), Ok(None));
    assert_eq!(fake.block_on(command.poll()), Ok(Some(0)));
    assert_eq!(fake.block_on(command.poll()), Ok(Some(0)));
    assert_eq!(fake.sent_to("TaskExecPoll").len(), 2);
}

fn read(fake: &Fake, command: &Command<Fake>) -> Result<Vec<u8>, CallError> {
    fake.block_on(async {
        let mut pieces = std::pin::pin!(command.output(OutputStream::Stdout));
        let mut read = Vec::new();
        while let Some(piece) = pieces.next().await {
            read.extend_from_slice(&piece?);
        }
        Ok(read)
    })
}

fn data(data: &[u8]) -> Bytes {
    TaskExecStdioReadResponse {
        data: data.to_vec(),
    }
    .encode_to_vec()
    .into()
}

#[test]
fn an_output_goes_on_where_it_broke() {
    let whole = b"0123456789";
    let (fake, command) = started(move |sent| {
        let request: TaskExecStdioReadRequest = sent.decode();
        match usize::try_from(request.offset).unwrap() {
            // Pieces without data are not sent, and do no harm.
            at @ 0..9 => {
                let pieces = vec![data(b""), data(&whole[at..at + 3])];
                Reply::Broken(pieces, Code::Internal, "reset")
            }
            at => Reply::Messages(vec![data(&whole[at..])]),
        }
    });
    assert_eq!(read(&fake, &command).unwrap(), whole);
    // Each byte starts the count of failures anew.
    assert_eq!(fake.sleeps(), [10; 3]);
}

#[test]
fn a_quiet_output_is_no_broken_one() {
    let mut round = 0;
    let (fake, command) = started(move |_| {
        round += 1;
        match round {
            1..=30 => Reply::TimedOut,
            _ => Reply::Messages(vec![data(b"at last")]),
        }
    });
    assert_eq!(read(&fake, &command).unwrap(), b"at last");
}

#[test]
fn an_output_that_brings_nothing_is_given_up() {
    let (fake, command) = started(|_| Reply::failure(Code::Unavailable, "no"));
    assert!(read(&fake, &command).is_err());
    assert_eq!(fake.sent_to("TaskExecStdioRead").len(), 11);

    let (fake, command) = started(|_| Reply::failure(Code::NotFound, "gone"));
    assert!(read(&fake, &command).unwrap_err().is(Code::NotFound));
    assert_eq!(fake.sent_to("TaskExecStdioRead").len(), 1);
}

/// A server that has taken `taken` bytes of input when the answer to the first
/// write is lost.
fn losing(taken: u64, closed: bool) -> (Fake, Command<Fake>) {
    let mut round = 0;
    started(move |sent| match sent.method.as_str() {
        "TaskExecStdinStatus" => Reply::ok(&TaskExecStdinStatusResponse {
            num_bytes_written: taken,
            closed,
        }),
        _ => {
            round += 1;
            match round {
                1 => Reply::failure(Code::Unavailable, "lost"),
                _ => Reply::ok(&TaskExecStdinWriteResponse {}),
            }
        }
    })
}

#[test]
fn no_byte_of_input_is_written_twice() {
    let piece = Bytes::from_static(b"abcdef");
    for (taken, is_last, again) in [
        (10, false, Some((10, &b"abcdef"[..]))),
        (14, false, Some((14, b"ef"))),
        (16, false, None),
        // All of it, but not its end.
        (16, true, Some((16, b""))),
    ] {
        let (fake, command) = losing(taken, false);
        let written = fake.block_on(command.write(10, piece.clone(), is_last));
        assert_eq!(written, Ok(Input::Taken));
        let writes = fake.sent_to("TaskExecStdinWrite");
        let again = again.map(|(offset, data)| TaskExecStdinWriteRequest {
            offset,
            data: data.to_vec(),
            ..writes[0].decode()
        });
        let sent = writes.get(1).map(Sent::decode);
        assert_eq!(sent, again, "{taken} {is_last}");
    }
}

#[test]
fn input_that_is_closed_or_lost() {
    let piece = Bytes::from_static(b"abcdef");
    for (is_last, input) in [(true, Input::Taken), (false, Input::Closed)] {
        let (fake, command) = losing(16, true);
        let written = fake.block_on(command.write(10, piece.clone(), is_last));
        assert_eq!(written, Ok(input));
    }
    // A router that was started anew and has forgotten what it took.
    let (fake, command) = losing(0, false);
    let error = fake.block_on(command.write(10, piece.clone(), false));
    assert!(error.unwrap_err().is(Code::DataLoss));

    for code in [Code::FailedPrecondition, Code::Aborted] {
        let (fake, command) = started(move |_| Reply::failure(code, "no reader"));
        let written = fake.block_on(command.write(0, piece.clone(), false));
        assert_eq!(written, Ok(Input::Closed));
    }
}

#[test]
fn a_snapshot_is_one_whatever_happens() {
    let mut round = 0;
    let fake = with_auth(move |sent| {
        assert!(sent.header("grpc-timeout").is_some());
        round += 1;
        match round {
            1 => Reply::failure(Code::Unavailable, "no"),
            _ => Reply::ok(&TaskSnapshotFilesystemResponse {
                image_id: "im-1".into(),
            }),
        }
    });
    let image = fake.block_on(router(&fake, LASTING).snapshot());
    assert_eq!(image.as_deref(), Ok("im-1"));
    let sent = fake.sent();
    let first: TaskSnapshotFilesystemRequest = sent[0].decode();
    assert_eq!(first.ttl_seconds, Some(2_592_000));
    assert_eq!(sent[1].decode::<TaskSnapshotFilesystemRequest>(), first);

    for code in [Code::DeadlineExceeded, Code::Cancelled] {
        let fake = with_auth(move |_| Reply::failure(code, "too slow"));
        let error = fake.block_on(router(&fake, LASTING).snapshot());
        assert!(error.unwrap_err().is(code));
        assert_eq!(fake.sent().len(), 1);
    }
    let fake = with_auth(|_| Reply::Silence);
    let error = fake.block_on(router(&fake, LASTING).snapshot());
    assert!(matches!(error, Err(CallError::Transport { .. })));
}
