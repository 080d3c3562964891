//! Headers, retries, server-directed waits and warnings.

use super::{client, client_with};
use crate::modal::rpc::SANDBOX_WAIT;
use crate::modal::{CallError, CallOptions, ClientOptions};
use crate::platform::TransportFault;
use crate::testing::{Fake, Reply};
use modal_proto::client::{RpcRetryPolicy, RpcStatus, SandboxWaitRequest, SandboxWaitResponse};
use prost::Message as _;
use std::time::Duration;
use tonic::Code;

fn call(fake: &Fake) -> Result<SandboxWaitResponse, CallError> {
    call_with(fake, ClientOptions::default())
}

fn call_with(fake: &Fake, options: ClientOptions) -> Result<SandboxWaitResponse, CallError> {
    let client = client_with(fake, options);
    let request = SandboxWaitRequest::default();
    fake.block_on(client.call(&SANDBOX_WAIT, &request, &CallOptions::default()))
}

fn answer() -> Reply {
    Reply::ok(&SandboxWaitResponse::default())
}

pub(super) fn throttled(code: Code, seconds: f32) -> Reply {
    let details = RpcStatus {
        details: vec![prost_types::Any {
            type_url: "type.modal.com/modal.client.RPCRetryPolicy".into(),
            value: RpcRetryPolicy {
                retry_after_secs: seconds,
            }
            .encode_to_vec(),
        }],
        ..RpcStatus::default()
    };
    Reply::Status {
        code,
        message: "slow down",
        details: details.encode_to_vec(),
        warning: None,
    }
}

#[test]
fn every_call_says_who_asks() {
    let fake = Fake::replying([answer()]);
    call(&fake).unwrap();
    let sent = &fake.sent()[0];
    assert_eq!(
        sent.url,
        "https://api.example.com/modal.client.ModalClient/SandboxWait"
    );
    for (name, value) in [
        ("x-modal-client-version", "1.6.4"),
        ("x-modal-client-type", "1"),
        ("x-modal-host", "api.example.com"),
        ("x-retry-attempt", "0"),
        ("x-throttle-retry-attempt", "0"),
        ("x-modal-timestamp", "1000.0"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        assert_eq!(sent.header(name), Some(value), "{name}");
    }
    let key = sent.header("x-idempotency-key").unwrap();
    assert!(uuid::Uuid::parse_str(key).is_ok(), "{key}");
    for absent in [
        "x-modal-auth-token",
        "x-modal-token-id",
        "x-retry-delay",
        "grpc-timeout",
    ] {
        assert_eq!(sent.header(absent), None, "{absent}");
    }
}

#[test]
fn attempts_of_one_call_belong_together() {
    let unavailable = || Reply::failure(Code::Unavailable, "later");
    let fake = Fake::replying([unavailable(), unavailable(), unavailable(), answer()]);
    call(&fake).unwrap();
    assert_eq!(fake.sleeps(), [100, 200, 400]);
    let sent = fake.sent();
    let all = |name: &str| -> Vec<String> {
        let values = sent
            .iter()
            .map(|sent| sent.header(name).unwrap_or("-").to_owned());
        values.collect()
    };
    assert_eq!(all("x-retry-attempt"), ["0", "1", "2", "3"]);
    assert_eq!(all("x-retry-delay"), ["-", "0.1", "0.3", "0.7"]);
    let keys = all("x-idempotency-key");
    assert!(keys.iter().all(|key| *key == keys[0]));
    let timestamps = all("x-modal-timestamp");
    assert!(
        timestamps
            .iter()
            .all(|timestamp| *timestamp == timestamps[0])
    );
}

#[test]
fn four_passing_failures_in_a_row_are_one_too_many() {
    for code in [
        Code::Unavailable,
        Code::Cancelled,
        Code::Internal,
        Code::Unknown,
        Code::DeadlineExceeded,
    ] {
        let fake = Fake::new(move |_| Reply::failure(code, "no"));
        let error = call(&fake).unwrap_err();
        assert!(error.is(code) && fake.sent().len() == 4, "{code:?}");
    }
}

#[test]
fn permanent_failures_are_not_repeated_and_keep_their_words() {
    for code in [
        Code::InvalidArgument,
        Code::NotFound,
        Code::Unauthenticated,
        Code::PermissionDenied,
        Code::FailedPrecondition,
        Code::ResourceExhausted,
    ] {
        let fake = Fake::new(move |_| Reply::failure(code, "no such luck"));
        let error = call(&fake).unwrap_err();
        assert!(error.is(code) && fake.sent().len() == 1, "{code:?}");
        assert_eq!(error.to_string(), "no such luck");
    }
}

#[test]
fn a_broken_connection_is_tried_again_and_a_refusal_is_not() {
    let broken = || {
        Reply::Fault(TransportFault::Broken {
            reason: "reset".into(),
        })
    };
    let fake = Fake::replying([broken(), answer()]);
    call(&fake).unwrap();

    let fake = Fake::replying([Reply::Fault(TransportFault::Refused { url: "u".into() })]);
    assert!(call(&fake).unwrap_err().is_fatal());
}

#[test]
fn directed_waits_are_obeyed_on_any_status_and_use_no_retry() {
    let fake = Fake::replying([
        throttled(Code::ResourceExhausted, 0.5),
        throttled(Code::FailedPrecondition, 0.01),
        answer(),
    ]);
    call(&fake).unwrap();
    assert_eq!(fake.sleeps(), [500, 100]);
    let last = &fake.sent()[2];
    assert_eq!(last.header("x-retry-attempt"), Some("0"));
    assert_eq!(last.header("x-throttle-retry-attempt"), Some("2"));
    assert_eq!(last.header("x-throttle-retry-delay"), Some("0.6"));
}

#[test]
fn directed_waits_can_be_limited_and_switched_off() {
    let limited = ClientOptions {
        max_throttle_wait: Duration::from_secs(1),
        ..ClientOptions::default()
    };
    let fake = Fake::new(|_| throttled(Code::ResourceExhausted, 0.4));
    assert!(call_with(&fake, limited).is_err());
    assert_eq!(fake.sleeps(), [400, 400]);

    let off = ClientOptions {
        max_throttle_wait: Duration::ZERO,
        ..ClientOptions::default()
    };
    let fake = Fake::new(|_| throttled(Code::ResourceExhausted, 0.4));
    assert!(call_with(&fake, off).is_err());
    assert_eq!(fake.sent().len(), 1);
}

#[test]
fn warnings_are_decoded_and_come_once() {
    let fake = Fake::new(|_| Reply::Status {
        code: Code::NotFound,
        message: "gone",
        details: Vec::new(),
        warning: Some("old%20client%2C%20please%20update"),
    });
    let client = client(&fake);
    for _ in 0..2 {
        let request = SandboxWaitRequest::default();
        let options = CallOptions::default();
        assert!(
            fake.block_on(client.call(&SANDBOX_WAIT, &request, &options))
                .is_err()
        );
    }
    assert_eq!(client.drain_warnings(), ["old client, please update"]);
    assert!(client.drain_warnings().is_empty());
}

#[test]
fn the_first_contact_ends_within_its_time() {
    let fake = Fake::new(|_| Reply::Silence);
    let error = fake
        .block_on(client(&fake).lookup_app("zenml-x", None))
        .unwrap_err();
    assert!(matches!(error, CallError::Transport { .. }));
    assert_eq!(fake.sleeps(), [17_000]);
}
