//! Plays with the run store.

use super::bindings::zenml::flavor::run_store::{
    self, Change, Created, Intent, Metadata, RunChange, StepChange,
};
use super::bindings::zenml::flavor::types::{RunStatus, StepStatus, StoreError};
use super::{number, rest, text};
use futures::FutureExt as _;
use futures::future::join_all;
use std::collections::BTreeMap;

pub(super) async fn attack(name: &str, arguments: &[&str]) -> Option<String> {
    let run = text(arguments, 0).to_owned();
    match name {
        "open" => Some(format!("{:?}", run_store::open(run).await)),
        "commit" => {
            let changes = vec![change(rest(arguments, 2))];
            let done = run_store::commit(run, number(arguments, 1), changes).await;
            Some(format!("{done:?}"))
        }
        "commit-at-once" => {
            let (count, size) = (number(arguments, 2), number(arguments, 3));
            Some(at_once(&run, number(arguments, 1), count, size).await)
        }
        "wait-for-stop" => Some(format!("{:?}", run_store::wait_for_stop(run, None).await)),
        "ask-for-stop" => Some(ask(&run, number(arguments, 1))),
        _ => None,
    }
}

fn change(words: &[&str]) -> Change {
    let step = || text(words, 1).to_owned();
    match text(words, 0) {
        "metadata" => Change::Metadata(Metadata {
            step: None,
            values: text(words, 1).to_owned(),
        }),
        "big-metadata" => Change::Metadata(Metadata {
            step: None,
            values: format!("{{\"key\":\"{}\"}}", "x".repeat(number(words, 1))),
        }),
        "intent" => Change::Intent(Intent {
            step: step(),
            attempt: u32::MAX,
            idempotency_key: text(words, 2).to_owned(),
            place: text(words, 2).to_owned(),
        }),
        "created" => Change::Created(Created {
            step: step(),
            attempt: u32::MAX,
            sandbox: text(words, 2).to_owned(),
        }),
        "step" => Change::Step(StepChange {
            step: step(),
            attempt: u32::MAX,
            status: StepStatus::Failed,
            exit_code: Some(i32::MIN),
            reason: Some(text(words, 2).to_owned()),
        }),
        _ => Change::Run(RunChange {
            status: RunStatus::Completed,
            reason: Some(text(words, 1).to_owned()),
        }),
    }
}

/// Makes many large commits and waits for none of them before all are made.
async fn at_once(run: &str, epoch: u64, count: usize, size: usize) -> String {
    let size = size.to_string();
    let commits = (0..count).map(|_| {
        let changes = vec![change(&["big-metadata", &size])];
        run_store::commit(run.to_owned(), epoch, changes)
    });
    let mut outcomes = BTreeMap::<&str, u32>::new();
    for done in join_all(commits).await {
        let outcome = match done {
            Ok(()) => "ok",
            Err(StoreError::Unavailable(_)) => "unavailable",
            Err(StoreError::Fenced) => "fenced",
            Err(StoreError::UnknownRun) => "unknown-run",
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    format!("{outcomes:?}")
}

/// Asks many times whether the run is to stop, and waits for no answer.
#[allow(clippy::mem_forget, reason = "dropped, the questions would be over")]
fn ask(run: &str, count: usize) -> String {
    for _ in 0..count {
        let mut question = Box::pin(run_store::wait_for_stop(run.to_owned(), None));
        if let Some(answer) = (&mut question).now_or_never() {
            return format!("{answer:?}");
        }
        std::mem::forget(question);
    }
    "asked".to_owned()
}
