//! How steps and runs end, and what is recorded and said about it.

use super::{Store, ended, pipeline, run, run_with, server, step, waited_for};
use crate::dag::machine::{ExecutionMode, FinalStatus, RunEnd, StopMode};
use crate::run::events::Event;
use crate::run::store::{Change, StepStatus};
use crate::testing::{Fake, Reply};
use modal_proto::client::SandboxCreateV2Request;

fn nothing_special() -> Fake {
    server(|_| None)
}

#[test]
fn an_attempt_is_recorded_before_it_is_made() {
    let outcome = run(
        &nothing_special(),
        ExecutionMode::FailFast,
        vec![step("a", &[])],
    );
    assert_eq!(outcome.end, RunEnd::Completed);
    let kinds: Vec<&str> = outcome
        .changes
        .iter()
        .map(|change| match change {
            Change::Intent { .. } => "intent",
            Change::Created { .. } => "created",
            Change::Step {
                status: StepStatus::Running,
                ..
            } => "running",
            Change::Step { .. } => "step",
            Change::Run { .. } => "run",
            Change::Metadata { .. } => "metadata",
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "metadata", "intent", "created", "running", "metadata", "metadata", "step", "run"
        ]
    );
}

#[test]
fn the_recorded_key_is_the_one_that_is_sent() {
    let fake = nothing_special();
    let outcome = run(&fake, ExecutionMode::FailFast, vec![step("a", &[])]);
    let recorded = outcome.changes.iter().find_map(|change| match change {
        Change::Intent {
            idempotency_key, ..
        } => Some(idempotency_key.clone()),
        _ => None,
    });
    let sent = fake.sent_to("SandboxCreateV2");
    assert_eq!(sent[0].header("x-idempotency-key"), recorded.as_deref());
}

#[test]
fn a_sandbox_carries_its_owner_in_the_create_request() {
    let fake = nothing_special();
    run(&fake, ExecutionMode::FailFast, vec![step("a", &[])]);
    let request: SandboxCreateV2Request = fake.sent_to("SandboxCreateV2")[0].decode();
    let tags: Vec<_> = request
        .tags
        .iter()
        .map(|tag| (tag.tag_name.as_str(), tag.tag_value.as_str()))
        .collect();
    assert_eq!(
        tags,
        [
            ("zenml_run_id", "r1"),
            ("zenml_step", "a"),
            ("zenml_attempt", "0"),
            ("zenml_epoch", "7"),
        ]
    );
}

#[test]
fn metadata_is_published_under_zenmls_keys() {
    let outcome = run(
        &nothing_special(),
        ExecutionMode::FailFast,
        vec![step("a", &[])],
    );
    let mut published: Vec<(String, String)> = outcome
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Metadata { step, values } => Some((step, values)),
            _ => None,
        })
        .flat_map(|(step, values)| {
            let about = step.clone().unwrap_or_default();
            values
                .iter()
                .map(move |(key, value)| (format!("{about}/{key}"), value.to_string()))
        })
        .collect();
    published.sort();
    let keys: Vec<_> = published
        .iter()
        .map(|(key, value)| (key.as_str(), value.trim_matches('"')))
        .collect();
    assert_eq!(
        keys,
        [
            ("/modal_app_name", "zenml-r1"),
            ("/modal_step_sandbox_id_a", "sb-a.0"),
            ("/orchestrator_run_id", "r1"),
            ("a/sandbox_id", "sb-a.0"),
        ]
    );
}

#[test]
fn a_sandbox_that_was_ended_from_outside_is_a_failure_whatever_its_exit_code() {
    for (status, words) in [
        (5, "could not be started"),
        (6, "Modal failed"),
        (7, "idle"),
        (8, "evicted"),
        (9, "evicted"),
        (10, "out of memory"),
        (3, "terminated"),
        (4, "out of time"),
        (2, "reports a failure"),
        (99, "unknown status"),
    ] {
        let fake = server(move |sent| waited_for(sent).map(|_| ended(status, 0)));
        let outcome = run(&fake, ExecutionMode::FailFast, vec![step("a", &[])]);
        assert_eq!(
            (outcome.end, outcome.status("a")),
            (RunEnd::Failed, FinalStatus::Failed)
        );
        assert!(
            outcome.reason("a").contains(words),
            "{}",
            outcome.reason("a")
        );
    }
}

#[test]
fn a_failing_step_is_tried_again_as_often_as_it_may() {
    let fake = server(|sent| {
        let sandbox = waited_for(sent)?;
        Some(ended(1, if sandbox == "sb-a.2" { 0 } else { 3 }))
    });
    let retried = crate::run::plan::Step {
        max_retries: 2,
        delay: 5.0,
        backoff: 2.0,
        ..step("a", &[])
    };
    let outcome = run(&fake, ExecutionMode::FailFast, vec![retried]);
    assert_eq!(outcome.end, RunEnd::Completed);
    let retries: Vec<_> = outcome
        .events
        .iter()
        .filter_map(|event| match event {
            Event::StepFinished(finished) => Some((finished.attempt, finished.retry_in)),
            _ => None,
        })
        .collect();
    assert_eq!(retries, [(0, Some(5.0)), (1, Some(10.0)), (2, None)]);
    let keys: Vec<_> = fake
        .sent_to("SandboxCreateV2")
        .iter()
        .map(|sent| sent.header("x-idempotency-key").map(ToOwned::to_owned))
        .collect();
    assert!(keys[0] != keys[1] && keys[1] != keys[2]);
}

/// A server that asks for a stop when it is first asked about a sandbox, and
/// then answers as the script says.
fn stopping(store: &Store, mode: StopMode, answer: impl Fn() -> Reply + 'static) -> Fake {
    let store = store.clone();
    server(move |sent| {
        waited_for(sent)?;
        store.stop(mode);
        Some(answer())
    })
}

fn chain() -> Vec<crate::run::plan::Step> {
    vec![step("a", &[]), step("b", &["a"])]
}

#[test]
fn a_forced_stop_ends_what_runs() {
    let store = Store::default();
    let fake = stopping(&store, StopMode::Force, || Reply::Silence);
    let outcome = run_with(&fake, store, pipeline(ExecutionMode::FailFast, chain()));
    assert_eq!(outcome.end, RunEnd::Stopped);
    assert_eq!(outcome.status("a"), FinalStatus::Cancelled);
    assert_eq!(outcome.status("b"), FinalStatus::Skipped);
    assert_eq!(fake.sent_to("SandboxTerminateV2").len(), 1);
}

#[test]
fn a_graceful_stop_lets_running_steps_finish() {
    let store = Store::default();
    let fake = stopping(&store, StopMode::Graceful, || ended(1, 0));
    let outcome = run_with(&fake, store, pipeline(ExecutionMode::FailFast, chain()));
    assert_eq!(outcome.end, RunEnd::Stopped);
    assert_eq!(outcome.status("a"), FinalStatus::Completed);
    assert_eq!(outcome.status("b"), FinalStatus::Skipped);
    assert!(fake.sent_to("SandboxTerminateV2").is_empty());
}

#[test]
fn a_stop_before_the_first_sandbox_creates_none() {
    let store = Store::default();
    store.stop(StopMode::Force);
    let fake = nothing_special();
    let outcome = run_with(&fake, store, pipeline(ExecutionMode::FailFast, chain()));
    assert_eq!(outcome.end, RunEnd::Stopped);
    assert!(fake.sent_to("SandboxCreateV2").is_empty());
}

#[test]
fn a_stop_while_a_sandbox_is_created_ends_that_sandbox() {
    let store = Store::default();
    let asked = store.clone();
    let fake = server(move |sent| {
        if sent.method == "SandboxCreateV2" {
            asked.stop(StopMode::Force);
        }
        waited_for(sent).map(|_| Reply::Silence)
    });
    let outcome = run_with(&fake, store, pipeline(ExecutionMode::FailFast, chain()));
    assert_eq!(outcome.status("a"), FinalStatus::Cancelled);
    assert_eq!(fake.sent_to("SandboxTerminateV2").len(), 1);
}

#[test]
fn fail_fast_ends_the_other_steps_and_says_why() {
    let fake = server(|sent| match waited_for(sent)?.as_str() {
        "sb-bad.0" => Some(ended(1, 7)),
        _ => Some(Reply::Silence),
    });
    let steps = vec![step("bad", &[]), step("other", &[])];
    let outcome = run(&fake, ExecutionMode::FailFast, steps);
    assert_eq!(outcome.status("other"), FinalStatus::Cancelled);
    assert_eq!(outcome.reason("bad"), "exit code 7");
    assert_eq!(fake.sent_to("SandboxTerminateV2").len(), 1);
}

#[test]
fn a_sandbox_that_cannot_be_ended_is_named() {
    let store = Store::default();
    let asked = store.clone();
    let fake = server(move |sent| {
        if waited_for(sent).is_some() {
            asked.stop(StopMode::Force);
        }
        let silent = sent.method == "SandboxTerminateV2" || waited_for(sent).is_some();
        silent.then_some(Reply::Silence)
    });
    let outcome = run_with(
        &fake,
        store,
        pipeline(ExecutionMode::FailFast, vec![step("a", &[])]),
    );
    let warnings: Vec<_> = outcome
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Warning { message, .. } => Some(message.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(
        warnings,
        ["sandbox sb-a.0 could not be ended and may still run: no answer within 8s"]
    );
}
