//! Output over streams that break.

use super::{client, jwt, with_auth};
use crate::modal::channel::Endpoint;
use crate::modal::output::{OutputSink, OutputStream, follow};
use crate::modal::sandbox::{RouterAccess, SandboxHandle};
use crate::testing::{Fake, Reply, Sent};
use modal_proto::client::{
    SandboxGetCommandRouterAccessResponse, SandboxGetLogsRequest, TaskLogs, TaskLogsBatch,
};
use modal_proto::task_command_router::{SandboxStdioReadV2Request, SandboxStdioReadV2Response};
use prost::Message as _;
use std::cell::RefCell;
use std::time::Duration;
use tonic::Code;

const V1: &str = "sb-0123456789ABCDEFabcdef";

#[derive(Default)]
struct Sink {
    data: RefCell<Vec<u8>>,
    lost: RefCell<Vec<Option<u64>>>,
}

impl OutputSink for Sink {
    async fn piece(&self, data: Vec<u8>) {
        self.data.borrow_mut().extend(data);
    }

    async fn lost(&self, bytes: Option<u64>) {
        self.lost.borrow_mut().push(bytes);
    }
}

fn sandbox(expires_at: u64) -> SandboxHandle {
    SandboxHandle {
        id: "sb-01JABCDEFGHJKMNPQRSTVWXYZ0".into(),
        task_id: Some("ta-1V".into()),
        token: None,
        router: Some(std::rc::Rc::new(RouterAccess {
            endpoint: Endpoint::parse("https://worker.example.com").unwrap(),
            jwt: jwt(expires_at),
            expires_at: Some(Duration::from_secs(expires_at)),
        })),
    }
}

fn read(fake: &Fake, sandbox: &SandboxHandle) -> Sink {
    let sink = Sink::default();
    fake.block_on(follow(&client(fake), sandbox, OutputStream::Stdout, &sink));
    sink
}

fn data(data: &[u8], starting_offset: u64) -> bytes::Bytes {
    SandboxStdioReadV2Response {
        data: data.to_vec(),
        starting_offset,
    }
    .encode_to_vec()
    .into()
}

fn offset(sent: &Sent) -> u64 {
    sent.decode::<SandboxStdioReadV2Request>().offset
}

#[test]
fn a_broken_stream_goes_on_where_it_stopped() {
    let whole = b"0123456789";
    let fake = Fake::new(|sent| {
        let from = offset(sent);
        match usize::try_from(from).unwrap() {
            at @ 0..9 => {
                let piece = data(&whole[at..at + 3], from);
                Reply::Broken(vec![piece], Code::Unavailable, "reset")
            }
            at => Reply::Messages(vec![data(&whole[at..], from)]),
        }
    });
    let sink = read(&fake, &sandbox(1_000_000));
    assert_eq!(sink.data.into_inner(), whole);
    assert!(sink.lost.into_inner().is_empty());
    let sent = &fake.sent()[0];
    assert_eq!(
        sent.url,
        "https://worker.example.com/modal.task_command_router.TaskCommandRouter/SandboxStdioReadV2"
    );
    assert!(sent.header("authorization").unwrap().starts_with("Bearer "));
    for absent in [
        "x-modal-client-version",
        "x-idempotency-key",
        "x-modal-auth-token",
    ] {
        assert_eq!(sent.header(absent), None);
    }
}

#[test]
fn dropped_output_is_reported_and_skipped() {
    let fake = Fake::new(|_| Reply::Messages(vec![data(b"ab", 0), data(b"xyz", 100)]));
    let sink = read(&fake, &sandbox(1_000_000));
    assert_eq!(sink.data.into_inner(), b"abxyz");
    assert_eq!(sink.lost.into_inner(), [Some(98)]);
}

#[test]
fn a_token_that_lasts_is_tried_again_and_one_that_ends_is_replaced() {
    let script = |sent: &Sent| match sent.method.as_str() {
        "SandboxGetCommandRouterAccess" => Reply::ok(&SandboxGetCommandRouterAccessResponse {
            jwt: "fresh".into(),
            url: "https://worker.example.com".into(),
        }),
        _ if sent.header("authorization") == Some("Bearer fresh") => {
            Reply::Messages(vec![data(b"ok", 0)])
        }
        _ => Reply::failure(Code::Unauthenticated, "expired"),
    };
    // The clock stands at 1000: this one has 10 s left.
    let fake = with_auth(script);
    assert_eq!(read(&fake, &sandbox(1_010)).data.into_inner(), b"ok");
    assert_eq!(fake.sent_to("SandboxGetCommandRouterAccess").len(), 1);

    let fake = with_auth(script);
    let sink = read(&fake, &sandbox(1_000_000));
    assert_eq!(sink.lost.into_inner(), [None]);
    assert_eq!(fake.methods(), ["SandboxStdioReadV2", "SandboxStdioReadV2"]);
}

#[test]
fn failures_without_a_byte_end_it_after_ten_retries() {
    let fake = Fake::new(|_| Reply::failure(Code::Unavailable, "no"));
    let sink = read(&fake, &sandbox(1_000_000));
    assert_eq!(sink.lost.into_inner(), [None]);
    assert_eq!(fake.sent().len(), 11);
}

#[test]
fn a_quiet_output_is_no_broken_one() {
    for sandbox in [sandbox(1_000_000), SandboxHandle::attached(V1.into())] {
        let mut round = 0;
        let fake = Fake::new(move |sent| {
            round += 1;
            match (round, sent.method.as_str()) {
                (1..=30, _) => Reply::TimedOut,
                (_, "SandboxStdioReadV2") => Reply::Messages(vec![data(b"at last", 0)]),
                _ => {
                    let batch = TaskLogsBatch {
                        items: vec![TaskLogs {
                            data: "at last".into(),
                            ..TaskLogs::default()
                        }],
                        eof: true,
                        ..TaskLogsBatch::default()
                    };
                    Reply::Messages(vec![batch.encode_to_vec().into()])
                }
            }
        });
        let sink = read(&fake, &sandbox);
        assert_eq!(sink.data.into_inner(), b"at last");
        assert!(sink.lost.into_inner().is_empty());
    }
}

#[test]
fn the_older_backend_is_read_by_entry() {
    let mut round = 0;
    let fake = Fake::new(move |sent| {
        let request: SandboxGetLogsRequest = sent.decode();
        let batch = |id: &str, text: &str, eof| {
            let batch = TaskLogsBatch {
                items: vec![TaskLogs {
                    data: text.into(),
                    ..TaskLogs::default()
                }],
                entry_id: id.into(),
                eof,
                ..TaskLogsBatch::default()
            };
            batch.encode_to_vec().into()
        };
        round += 1;
        match round {
            1 => {
                assert_eq!(
                    (request.file_descriptor, request.last_entry_id.as_str()),
                    (1, "")
                );
                Reply::Messages(vec![batch("1-0", "one ", false)])
            }
            2 => Reply::Broken(vec![batch("2-0", "two ", false)], Code::Internal, "broken"),
            _ => {
                assert_eq!(request.last_entry_id, "2-0");
                Reply::Messages(vec![batch("3-0", "three", true)])
            }
        }
    });
    let sink = read(&fake, &SandboxHandle::attached(V1.into()));
    assert_eq!(sink.data.into_inner(), b"one two three");
}
