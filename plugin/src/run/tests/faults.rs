//! What fails in passing, and what ends a run.

use super::{Store, ended, pipeline, run, run_with, server, step, waited_for};
use crate::dag::machine::{ExecutionMode, FinalStatus, RunEnd};
use crate::run::events::{Event, RunError};
use crate::run::store::{Change, StoreError};
use crate::testing::Reply;
use tonic::Code;

fn is_intent(change: &Change) -> bool {
    matches!(change, Change::Intent { .. })
}

fn is_end(change: &Change) -> bool {
    matches!(change, Change::Run { .. })
}

fn is_created(change: &Change) -> bool {
    matches!(change, Change::Created { .. })
}

#[test]
fn a_status_question_that_fails_is_asked_again() {
    for code in [Code::Unavailable, Code::Internal, Code::ResourceExhausted] {
        let mut asked = 0;
        let fake = server(move |sent| {
            waited_for(sent)?;
            asked += 1;
            Some(match asked {
                0..8 => Reply::failure(code, "hiccup"),
                _ => ended(1, 0),
            })
        });
        let outcome = run(&fake, ExecutionMode::FailFast, vec![step("a", &[])]);
        assert_eq!(outcome.end, RunEnd::Completed, "{code:?}");
        assert!(fake.sent_to("SandboxTerminateV2").is_empty());
    }
}

#[test]
fn a_step_that_is_given_up_has_its_sandbox_ended() {
    let fake = server(|sent| {
        waited_for(sent).map(|_| Reply::failure(Code::NotFound, "no sandbox of that id"))
    });
    let outcome = run(&fake, ExecutionMode::FailFast, vec![step("a", &[])]);
    assert_eq!(outcome.status("a"), FinalStatus::Failed);
    assert!(outcome.reason("a").contains("no sandbox of that id"));
    assert_eq!(fake.sent_to("SandboxTerminateV2").len(), 1);
}

#[test]
fn ending_the_others_is_tried_through_an_outage() {
    let mut failures = 12;
    let fake = server(move |sent| match sent.method.as_str() {
        "SandboxTerminateV2" if failures > 0 => {
            failures -= 1;
            Some(Reply::failure(Code::Unavailable, "restarting"))
        }
        _ => match waited_for(sent)?.as_str() {
            "sb-bad.0" => Some(ended(2, 3)),
            _ => Some(Reply::Silence),
        },
    });
    let steps = vec![step("bad", &[]), step("long", &[])];
    let outcome = run(&fake, ExecutionMode::FailFast, steps);
    assert_eq!(outcome.status("long"), FinalStatus::Cancelled);
    assert_eq!(fake.sent_to("SandboxTerminateV2").len(), 13);
    let is_warning = |event: &Event| matches!(event, Event::Warning { .. });
    assert!(
        !outcome.events.iter().any(is_warning),
        "{:?}",
        outcome.events
    );
}

#[test]
fn silence_for_long_enough_gives_a_step_up() {
    let fake = server(|sent| waited_for(sent).map(|_| Reply::failure(Code::Unavailable, "gone")));
    let outcome = run(&fake, ExecutionMode::FailFast, vec![step("a", &[])]);
    assert_eq!(outcome.status("a"), FinalStatus::Failed);
    let waited: u128 = fake.sleeps().iter().sum();
    assert!(waited > 900_000, "given up after {waited} ms");
    assert_eq!(fake.sent_to("SandboxTerminateV2").len(), 1);
}

#[test]
fn a_sandbox_that_cannot_be_created_fails_its_step_with_modals_words() {
    let fake = server(|sent| {
        (sent.method == "SandboxCreateV2")
            .then(|| Reply::failure(Code::InvalidArgument, "unknown region 'mars'"))
    });
    let steps = vec![step("a", &[]), step("b", &["a"])];
    let outcome = run(&fake, ExecutionMode::ContinueOnFailure, steps);
    assert_eq!(outcome.end, RunEnd::Failed);
    assert_eq!(outcome.status("b"), FinalStatus::Skipped);
    assert!(
        outcome.reason("a").ends_with("unknown region 'mars'"),
        "{}",
        outcome.reason("a")
    );
    assert!(outcome.error.is_none());
    assert_eq!(fake.sent_to("SandboxCreateV2").len(), 1);
}

#[test]
fn an_image_that_cannot_be_built_fails_every_step_that_needs_it() {
    let fake = server(|sent| {
        (sent.method == "ImageGetOrCreate").then(|| Reply::failure(Code::NotFound, "no such image"))
    });
    let steps = vec![step("a", &[]), step("b", &[])];
    let outcome = run(&fake, ExecutionMode::ContinueOnFailure, steps);
    assert!(outcome.reason("a").contains("no such image"));
    assert!(outcome.reason("b").contains("no such image"));
    assert_eq!(fake.sent_to("ImageGetOrCreate").len(), 1);
}

#[test]
fn refused_credentials_end_the_run() {
    let fake = server(|sent| match sent.method.as_str() {
        "SandboxCreateV2" if sent.message.windows(3).any(|bytes| bytes == b"b.0") => {
            Some(Reply::failure(Code::Unauthenticated, "token revoked"))
        }
        _ => waited_for(sent)
            .filter(|id| id == "sb-a.0")
            .map(|_| Reply::Silence),
    });
    let steps = vec![step("a", &[]), step("b", &[]), step("c", &["a"])];
    let outcome = run(&fake, ExecutionMode::ContinueOnFailure, steps);
    assert_eq!(outcome.end, RunEnd::Failed);
    assert!(
        matches!(&outcome.error, Some(RunError::Call(error)) if error.is(Code::Unauthenticated))
    );
    assert_eq!(outcome.status("c"), FinalStatus::Skipped);
    assert_eq!(
        fake.sent_to("SandboxTerminateV2").len(),
        1,
        "the other sandbox is ended"
    );
}

#[test]
fn a_store_that_fails_ends_the_run_and_its_sandboxes() {
    let error = StoreError::Unavailable("disk full".into());
    let fake = server(|sent| waited_for(sent).map(|_| Reply::Silence));
    let steps = vec![step("a", &[])];
    let store = Store::failing(is_created, error.clone());
    let outcome = run_with(&fake, store, pipeline(ExecutionMode::FailFast, steps));
    assert_eq!(outcome.error, Some(RunError::Store(error)));
    assert_eq!(fake.sent_to("SandboxTerminateV2").len(), 1);
}

#[test]
fn nothing_is_created_that_is_not_recorded() {
    let fake = server(|_| None);
    let store = Store::failing(is_intent, StoreError::Unavailable("disk full".into()));
    let outcome = run_with(
        &fake,
        store,
        pipeline(ExecutionMode::FailFast, vec![step("a", &[])]),
    );
    assert_eq!(outcome.end, RunEnd::Failed);
    assert!(fake.sent_to("SandboxCreateV2").is_empty());
}

#[test]
fn a_success_that_cannot_be_recorded_is_none() {
    let store = Store::failing(is_end, StoreError::Fenced);
    let fake = server(|_| None);
    let steps = vec![step("a", &[])];
    let outcome = run_with(&fake, store, pipeline(ExecutionMode::FailFast, steps));
    assert_eq!(outcome.end, RunEnd::Failed);
    assert_eq!(outcome.error, Some(RunError::Store(StoreError::Fenced)));
    assert_eq!(outcome.status("a"), FinalStatus::Completed);
}

#[test]
fn whoever_lost_the_run_touches_nothing_any_more() {
    let fake = server(|sent| waited_for(sent).map(|_| Reply::Silence));
    let store = Store::failing(is_created, StoreError::Fenced);
    let outcome = run_with(
        &fake,
        store,
        pipeline(ExecutionMode::FailFast, vec![step("a", &[])]),
    );
    assert_eq!(outcome.error, Some(RunError::Store(StoreError::Fenced)));
    assert!(fake.sent_to("SandboxTerminateV2").is_empty());
}
