//! The short-lived token of the newer backend.

use super::{client, jwt, with_auth};
use crate::modal::retry::Policy;
use crate::modal::sandbox::SandboxHandle;
use crate::testing::{Fake, Reply};
use modal_proto::client::{AuthTokenGetResponse, SandboxWaitResponse};
use std::time::Duration;
use tonic::Code;

const V1: &str = "sb-0123456789ABCDEFabcdef";
const V2: &str = "sb-01JABCDEFGHJKMNPQRSTVWXYZ0";

fn wait(client: &crate::modal::Client<Fake>, sandbox: &str) -> Result<(), crate::modal::CallError> {
    let sandbox = SandboxHandle::attached(sandbox.to_owned());
    let fake = client.platform();
    fake.block_on(client.wait_sandbox(&sandbox, 0.0, Policy::SDK))
        .map(|_| ())
}

#[test]
fn it_is_fetched_once_before_the_first_call_that_needs_it() {
    let fake = with_auth(|_| Reply::ok(&SandboxWaitResponse::default()));
    let client = client(&fake);
    wait(&client, V1).unwrap();
    wait(&client, V2).unwrap();
    wait(&client, V2).unwrap();
    assert_eq!(
        fake.methods(),
        [
            "SandboxWait",
            "AuthTokenGet",
            "SandboxWaitV2",
            "SandboxWaitV2"
        ]
    );
    let sent = fake.sent();
    assert_eq!(sent[0].header("x-modal-auth-token"), None);
    assert_eq!(sent[1].header("grpc-timeout"), Some("5000000u"));
    assert_eq!(
        sent[2].header("x-modal-auth-token"),
        Some(jwt(1_000_000).as_str())
    );
}

#[test]
fn it_is_refreshed_between_half_and_six_tenths_of_its_life() {
    let fake = Fake::new(|sent| match sent.method.as_str() {
        "AuthTokenGet" => Reply::ok(&AuthTokenGetResponse { token: jwt(1_100) }),
        _ => Reply::ok(&SandboxWaitResponse::default()),
    });
    let client = client(&fake);
    wait(&client, V2).unwrap();
    fake.advance(Duration::from_secs(49));
    wait(&client, V2).unwrap();
    assert_eq!(fake.sent_to("AuthTokenGet").len(), 1);
    fake.advance(Duration::from_secs(12));
    wait(&client, V2).unwrap();
    assert_eq!(fake.sent_to("AuthTokenGet").len(), 2);
}

#[test]
fn a_failed_refresh_leaves_the_old_token_in_use() {
    let mut fetched = false;
    let fake = Fake::new(move |sent| match sent.method.as_str() {
        "AuthTokenGet" if std::mem::replace(&mut fetched, true) => {
            Reply::failure(Code::Unavailable, "later")
        }
        "AuthTokenGet" => Reply::ok(&AuthTokenGetResponse { token: jwt(1_100) }),
        _ => Reply::ok(&SandboxWaitResponse::default()),
    });
    let client = client(&fake);
    wait(&client, V2).unwrap();
    fake.advance(Duration::from_secs(70));
    for _ in 0..3 {
        wait(&client, V2).unwrap();
    }
    // One attempt, then a pause in which the old token serves.
    assert_eq!(fake.sent_to("AuthTokenGet").len(), 2);
    fake.advance(Duration::from_millis(600));
    wait(&client, V2).unwrap();
    assert_eq!(fake.sent_to("AuthTokenGet").len(), 3);
}

#[test]
fn refused_credentials_are_refused_at_once() {
    let fake = Fake::new(|_| Reply::failure(Code::Unauthenticated, "bad token"));
    let error = wait(&client(&fake), V2).unwrap_err();
    assert!(error.is(Code::Unauthenticated));
    assert_eq!(fake.methods(), ["AuthTokenGet"]);
}
