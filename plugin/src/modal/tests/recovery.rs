//! Creates whose answers were lost.

use super::{client, with_auth};
use crate::modal::recovery::CreateError;
use crate::modal::sandbox::{SandboxHandle, SandboxSpec};
use crate::testing::{Fake, Reply, Sent};
use modal_proto::client::{SandboxInfo, SandboxListRequest, SandboxListResponse};
use tonic::Code;

fn spec() -> SandboxSpec {
    SandboxSpec {
        app_id: "ap-1".into(),
        tags: vec![("zenml_step".into(), "a".into())],
        ..SandboxSpec::default()
    }
}

/// A server on which creates fail in turn, the last failure for ever.
fn failing(
    failures: &'static [(Code, &'static str)],
    mut list: impl FnMut(&Sent) -> Reply + 'static,
) -> Fake {
    let mut creates = failures.iter();
    let mut last = None;
    with_auth(move |sent| match sent.method.as_str() {
        "SandboxCreateV2" => {
            last = creates.next().or(last);
            let (code, message) = last.expect("a failure");
            Reply::failure(*code, message)
        }
        _ => list(sent),
    })
}

fn listing(ids: &[&str]) -> Reply {
    let sandbox = |id: &&str| SandboxInfo {
        id: (*id).to_owned(),
        ..SandboxInfo::default()
    };
    Reply::ok(&SandboxListResponse {
        sandboxes: ids.iter().map(sandbox).collect(),
    })
}

fn create(fake: &Fake, spec: &SandboxSpec) -> Result<SandboxHandle, CreateError> {
    fake.block_on(client(fake).create_sandbox(spec, "k", None))
}

const LOST: (Code, &str) = (Code::Unavailable, "lost");

#[test]
fn a_sandbox_is_found_by_its_owners_tags() {
    for last in [Code::AlreadyExists, Code::ResourceExhausted] {
        let failures: &'static [_] = Box::leak(Box::new([LOST, (last, "no")]));
        let fake = failing(failures, |sent| {
            let request: SandboxListRequest = sent.decode();
            assert_eq!((&*request.app_id, request.include_finished), ("ap-1", true));
            assert_eq!(request.tags[0].tag_value, "a");
            listing(&["sb-new", "sb-old"])
        });
        assert_eq!(create(&fake, &spec()).unwrap().id, "sb-new", "{last:?}");
    }
}

#[test]
fn a_name_that_is_taken_at_once_is_looked_for_too() {
    let fake = failing(&[(Code::AlreadyExists, "taken")], |_| listing(&["sb-1"]));
    assert_eq!(create(&fake, &spec()).unwrap().id, "sb-1");
}

#[test]
fn a_listing_that_lags_is_asked_again() {
    let mut listings = 0;
    let fake = failing(&[LOST, (Code::InvalidArgument, "no")], move |_| {
        listings += 1;
        listing(if listings < 3 { &[] } else { &["sb-1"] })
    });
    assert_eq!(create(&fake, &spec()).unwrap().id, "sb-1");
}

#[test]
fn nothing_found_is_the_failure_itself() {
    let fake = failing(&[LOST, (Code::InvalidArgument, "no")], |_| listing(&[]));
    let error = create(&fake, &spec()).unwrap_err();
    assert_eq!(error.to_string(), "no");
    assert!(matches!(error, CreateError::Failed(_)));
    assert_eq!(fake.sent_to("SandboxListV2").len(), 3);
}

#[test]
fn what_cannot_be_found_out_is_said() {
    let fake = failing(&[LOST, (Code::InvalidArgument, "no")], |_| {
        Reply::failure(Code::PermissionDenied, "no lists")
    });
    let error = create(&fake, &spec()).unwrap_err();
    assert!(matches!(error, CreateError::InDoubt { .. }));
    let text = error.to_string();
    assert!(
        text.starts_with("no; ") && text.ends_with("no lists"),
        "{text}"
    );
}

#[test]
fn a_plain_refusal_leaves_nothing_to_look_for() {
    let fake = failing(&[(Code::InvalidArgument, "no")], |_| listing(&["sb-1"]));
    assert!(create(&fake, &spec()).is_err());
    assert!(fake.sent_to("SandboxListV2").is_empty());
    // Nor is there anything to look for it by.
    let untagged = SandboxSpec {
        tags: Vec::new(),
        ..spec()
    };
    let fake = failing(&[LOST, (Code::InvalidArgument, "no")], |_| {
        listing(&["sb-1"])
    });
    assert!(create(&fake, &untagged).is_err());
    assert!(fake.sent_to("SandboxListV2").is_empty());
}
