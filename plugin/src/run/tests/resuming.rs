//! Runs that an earlier controller has begun.

use super::{Outcome, Store, ended, pipeline, run_with, server, step, waited_for};
use crate::dag::machine::{ExecutionMode, FinalStatus, RunEnd, StopMode};
use crate::run::events::{Event, RunError};
use crate::run::plan::Step;
use crate::run::store::{Change, Claim, Recorded, RecordedAttempt, StepStatus, StoreError, Trace};
use crate::testing::{Fake, Reply, Sent};
use modal_proto::client::{
    SandboxCreateV2Request, SandboxInfo, SandboxListRequest, SandboxListResponse,
    SandboxTerminateRequest,
};
use tonic::Code;

/// A step of which this attempt was begun: its sandbox, if that was recorded.
fn begun(step: &str, number: u32, sandbox: Option<&str>) -> Claim {
    Claim {
        steps: vec![Recorded {
            step: step.into(),
            attempt: number,
            status: StepStatus::Running,
        }],
        attempts: vec![RecordedAttempt {
            step: step.into(),
            number,
            trace: Trace {
                idempotency_key: "recorded-key".into(),
                app_id: "ap-then".into(),
                sandbox: sandbox.map(ToOwned::to_owned),
            },
        }],
        ..Claim::default()
    }
}

fn resume(fake: &Fake, left: Claim, steps: Vec<Step>) -> Outcome {
    let store = Store::default();
    store.0.borrow_mut().left = left;
    run_with(fake, store, pipeline(ExecutionMode::FailFast, steps))
}

fn retried(name: &str, max_retries: u32) -> Step {
    Step {
        max_retries,
        ..step(name, &[])
    }
}

/// Which sandboxes a listing shows.
fn listing(ids: &[&str]) -> Reply {
    let sandbox = |id: &&str| SandboxInfo {
        id: (*id).to_owned(),
        ..SandboxInfo::default()
    };
    Reply::ok(&SandboxListResponse {
        sandboxes: ids.iter().map(sandbox).collect(),
    })
}

/// Answers the search for the sandbox of an attempt; other listings are not
/// offered.
fn search(sent: &Sent, reply: impl FnOnce() -> Reply) -> Option<Reply> {
    (sent.method == "SandboxListV2").then(|| {
        let request: SandboxListRequest = sent.decode();
        match request.tags.len() {
            3 => reply(),
            _ => Reply::failure(Code::Unimplemented, "no listings"),
        }
    })
}

fn created(fake: &Fake) -> Vec<String> {
    let name = |sent: &Sent| {
        let request: SandboxCreateV2Request = sent.decode();
        request.definition.unwrap().name.unwrap()
    };
    fake.sent_to("SandboxCreateV2").iter().map(name).collect()
}

fn terminated(fake: &Fake) -> Vec<String> {
    let id = |sent: &Sent| sent.decode::<SandboxTerminateRequest>().sandbox_id;
    fake.sent_to("SandboxTerminateV2").iter().map(id).collect()
}

fn is_about(change: &Change, name: &str) -> bool {
    match change {
        Change::Intent { step, .. } | Change::Created { step, .. } => step == name,
        _ => false,
    }
}

#[test]
fn what_runs_is_watched_and_not_created() {
    let fake = server(|_| None);
    let steps = vec![step("a", &[]), step("b", &["a"])];
    let outcome = resume(&fake, begun("a", 0, Some("sb-then")), steps);
    assert_eq!(outcome.end, RunEnd::Completed);
    assert_eq!(created(&fake), ["b.0"]);
    let waits = fake.sent();
    assert!(
        waits
            .iter()
            .filter_map(waited_for)
            .any(|id| id == "sb-then")
    );
    let again = outcome.changes.iter().any(|change| is_about(change, "a"));
    assert!(!again, "{:?}", outcome.changes);
    assert!(matches!(
        &outcome.events[0],
        Event::StepStarted { step, attempt: 0, sandbox } if &**step == "a" && sandbox == "sb-then"
    ));
}

#[test]
fn finished_steps_stay_finished_and_are_not_told_again() {
    let fake = server(|_| None);
    let left = Claim {
        steps: vec![
            Recorded {
                step: "a".into(),
                attempt: 0,
                status: StepStatus::Final(FinalStatus::Completed),
            },
            Recorded {
                step: "b".into(),
                attempt: 1,
                status: StepStatus::Pending,
            },
        ],
        ..Claim::default()
    };
    let steps = vec![step("a", &[]), retried("b", 2)];
    let outcome = resume(&fake, left, steps);
    assert_eq!(outcome.end, RunEnd::Completed);
    assert_eq!(outcome.status("a"), FinalStatus::Completed);
    assert_eq!(created(&fake), ["b.2"], "the attempts before it count");
    let told = outcome.events.iter().filter_map(|event| match event {
        Event::StepFinished(finished) => Some(&*finished.step),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), ["b"]);
}

#[test]
fn a_create_that_was_not_answered_is_looked_for_among_all_that_ever_ran() {
    let fake = server(|sent| {
        search(sent, || {
            let request: SandboxListRequest = sent.decode();
            assert_eq!(request.app_id, "ap-then");
            assert!(request.include_finished);
            let tags = request.tags.iter();
            let tags: Vec<_> = tags.map(|tag| (&*tag.tag_name, &*tag.tag_value)).collect();
            let expected = [
                ("zenml_run_id", "r1"),
                ("zenml_step", "a"),
                ("zenml_attempt", "1"),
            ];
            assert_eq!(tags, expected);
            listing(&["sb-found"])
        })
    });
    let outcome = resume(&fake, begun("a", 1, None), vec![step("a", &[])]);
    assert_eq!(outcome.end, RunEnd::Completed);
    assert_eq!(created(&fake), [""; 0]);
    assert!(outcome.changes.contains(&Change::Created {
        step: "a".into(),
        attempt: 1,
        sandbox: "sb-found".into(),
    }));
}

#[test]
fn only_what_is_not_there_is_created_and_with_its_own_key() {
    let fake = server(|sent| search(sent, || listing(&[])));
    let outcome = resume(&fake, begun("a", 1, None), vec![step("a", &[])]);
    assert_eq!(outcome.end, RunEnd::Completed);
    let creates = fake.sent_to("SandboxCreateV2");
    assert_eq!(creates.len(), 1);
    let request: SandboxCreateV2Request = creates[0].decode();
    assert_eq!(request.app_id, "ap-then");
    assert_eq!(created(&fake), ["a.1"]);
    assert_eq!(creates[0].header("x-idempotency-key"), Some("recorded-key"));
    let methods = fake.methods();
    let at = methods
        .iter()
        .position(|method| method == "SandboxCreateV2");
    let looks = methods[..at.unwrap()].iter();
    let looks = looks.filter(|method| *method == "SandboxListV2").count();
    assert_eq!(looks, 3, "one listing may lag");
    assert_eq!(
        outcome.changes.iter().find(|change| is_about(change, "a")),
        Some(&Change::Intent {
            step: "a".into(),
            attempt: 1,
            idempotency_key: "recorded-key".into(),
            app_id: "ap-then".into(),
        })
    );
}

#[test]
fn what_cannot_be_found_out_is_said_and_not_tried_again() {
    let fake = server(|sent| {
        search(sent, || {
            Reply::failure(Code::PermissionDenied, "no lists for you")
        })
    });
    let outcome = resume(&fake, begun("a", 0, None), vec![retried("a", 3)]);
    assert_eq!(outcome.end, RunEnd::Failed);
    assert_eq!(outcome.status("a"), FinalStatus::Failed);
    let reason = outcome.reason("a");
    for part in ["a.0", "ap-then", "may still run", "no lists for you"] {
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!(created(&fake), [""; 0]);
}

#[test]
fn an_app_that_is_gone_took_its_sandboxes_along() {
    let gone = |sent: &Sent| search(sent, || Reply::failure(Code::NotFound, "no such app"));
    let fake = server(gone);
    let outcome = resume(&fake, begun("a", 0, None), vec![step("a", &[])]);
    assert_eq!(outcome.status("a"), FinalStatus::Failed);
    assert!(outcome.reason("a").contains("no such app"));
    assert_eq!(created(&fake), [""; 0]);

    let fake = server(gone);
    let outcome = resume(&fake, begun("a", 0, None), vec![retried("a", 1)]);
    assert_eq!(outcome.end, RunEnd::Completed);
    assert_eq!(created(&fake), ["a.1"]);
    let request: SandboxCreateV2Request = fake.sent_to("SandboxCreateV2")[0].decode();
    assert_eq!(request.app_id, "ap-1", "the app that is there now");
}

#[test]
fn a_sandbox_that_nobody_knows_any_more_is_a_failed_attempt() {
    let script = |sent: &Sent| match sent.method.as_str() {
        "SandboxTerminateV2" => Some(Reply::failure(Code::NotFound, "no such sandbox")),
        _ => (waited_for(sent)? == "sb-then")
            .then(|| Reply::failure(Code::NotFound, "no such sandbox")),
    };
    let fake = server(script);
    let outcome = resume(&fake, begun("a", 0, Some("sb-then")), vec![retried("a", 1)]);
    assert_eq!(outcome.end, RunEnd::Completed);
    assert_eq!(created(&fake), ["a.1"]);
    let is_warning = |event: &Event| matches!(event, Event::Warning { .. });
    assert!(!outcome.events.iter().any(is_warning), "nothing runs on");

    let fake = server(script);
    let outcome = resume(&fake, begun("a", 0, Some("sb-then")), vec![step("a", &[])]);
    assert_eq!(outcome.status("a"), FinalStatus::Failed);
    assert!(outcome.reason("a").contains("sb-then"));
}

#[test]
fn two_sandboxes_of_one_attempt_are_ended_and_named() {
    let fake = server(|sent| search(sent, || listing(&["sb-1", "sb-2"])));
    let outcome = resume(&fake, begun("a", 0, None), vec![retried("a", 3)]);
    assert_eq!(outcome.status("a"), FinalStatus::Failed);
    assert!(outcome.reason("a").contains("sb-1, sb-2"));
    assert_eq!(terminated(&fake), ["sb-1", "sb-2"]);
    assert_eq!(created(&fake), [""; 0]);
}

#[test]
fn a_stop_that_was_asked_for_is_carried_out() {
    let fake = server(|sent| match waited_for(sent) {
        Some(_) => Some(Reply::Silence),
        None => search(sent, || listing(&[])),
    });
    let mut left = begun("a", 0, Some("sb-then"));
    let unknown = begun("b", 0, None);
    left.steps.extend(unknown.steps);
    left.attempts.extend(unknown.attempts);
    left.stop = Some(StopMode::Force);
    let steps = vec![step("a", &[]), step("b", &[]), step("c", &[])];
    let outcome = resume(&fake, left, steps);
    assert_eq!(outcome.end, RunEnd::Stopped);
    assert_eq!(terminated(&fake), ["sb-then"]);
    assert_eq!(created(&fake), [""; 0]);
    let statuses = ["a", "b", "c"].map(|step| outcome.status(step));
    let expected = [
        FinalStatus::Cancelled,
        FinalStatus::Cancelled,
        FinalStatus::Skipped,
    ];
    assert_eq!(statuses, expected);
}

/// The other controller took the run over while this one was about to end what
/// runs: its next step failed.
#[test]
fn whoever_lost_the_run_ends_nothing() {
    let store = Store::default();
    let taken = store.clone();
    let fake = server(move |sent| match waited_for(sent)?.as_str() {
        "sb-bad.0" => {
            taken.0.borrow_mut().is_fenced = true;
            Some(ended(2, 3))
        }
        _ => Some(Reply::Silence),
    });
    let steps = vec![step("bad", &[]), step("long", &[])];
    let outcome = run_with(&fake, store, pipeline(ExecutionMode::FailFast, steps));
    assert_eq!(outcome.error, Some(RunError::Store(StoreError::Fenced)));
    assert_eq!(terminated(&fake), [""; 0]);
}
