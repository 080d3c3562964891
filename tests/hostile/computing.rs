//! Guests that compute and never come back.

use crate::harness::raw::{END_HEADERS, HEADERS, Raw, STATUS_200, frame};
use crate::harness::{
    GRANTED, NOWHERE, PATIENCE, assert_well, check, follow, hostile, in_mode, limits, outcomes,
    pipeline, recorded_end, request, within,
};
use flavor_host::contract::RunStatus;
use flavor_host::{Error, Limits, StartError};
use futures::FutureExt as _;
use std::time::{Duration, Instant};

const CPU: Duration = Duration::from_millis(100);

fn little_cpu() -> Limits {
    limits(|limits| limits.cpu_between_returns = CPU)
}

/// So much that a test is over before.
fn much_cpu() -> Limits {
    limits(|limits| {
        limits.cpu_between_returns = PATIENCE;
        limits.call_time = PATIENCE;
    })
}

fn assert_spinning<T>(result: Result<T, Error>) {
    match result {
        Err(Error::Spinning { limit }) => assert_eq!(limit, CPU),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it came back"),
    }
}

const SPINS: [&str; 5] = [
    "spin",
    "spin-on-clock",
    "spin-on-random",
    "spin-on-store",
    "spin-in-allocator",
];

#[tokio::test]
async fn a_call_that_spins_is_ended() {
    let plugin = hostile(little_cpu()).await;
    for spin in SPINS {
        assert_spinning(within(check(&plugin, &[spin])).await);
        assert_well(&plugin).await;
    }
}

#[tokio::test]
async fn a_call_without_arguments_that_spins_is_ended() {
    let plugin = in_mode("spin", little_cpu()).await;
    assert_spinning(within(plugin.flavors()).await);
}

#[tokio::test]
async fn an_instance_that_spins_while_it_is_made_is_ended() {
    let plugin = in_mode("start-spin", little_cpu()).await;
    assert_spinning(within(plugin.flavors()).await);
    let (request, store) = request(NOWHERE, &[]);
    match within(plugin.run(request)).await {
        Err(StartError::Run(error)) => assert_spinning::<()>(Err(error)),
        other => panic!("{:?}", other.err()),
    }
    assert_eq!(recorded_end(&store).unwrap().0, RunStatus::Failed);
}

#[tokio::test]
async fn a_run_that_spins_before_it_is_accepted_is_ended() {
    let plugin = hostile(little_cpu()).await;
    let (mut request, store) = request(NOWHERE, &[]);
    request.pipeline = pipeline("before", &[&["spin"]]);
    match within(plugin.run(request)).await {
        Err(StartError::Run(error)) => assert_spinning::<()>(Err(error)),
        other => panic!("{:?}", other.err()),
    }
    assert_eq!(recorded_end(&store).unwrap().0, RunStatus::Failed);
}

#[tokio::test]
async fn a_run_that_spins_between_its_events_is_ended() {
    let plugin = hostile(little_cpu()).await;
    for spin in SPINS {
        let (request, store) = request(NOWHERE, &[&["say", "something"], &[spin]]);
        let run = within(plugin.run(request)).await.unwrap();
        let (events, end) = follow(run).await;
        // What it said before is not lost.
        assert_eq!(events.len(), 2, "{events:?}");
        assert_spinning(end);
        let (status, reason) = recorded_end(&store).unwrap();
        assert_eq!(status, RunStatus::Failed);
        assert!(reason.contains("without a pause"), "{reason}");
    }
}

/// The host asks the guest for memory when it hands over an answer, and does so
/// outside of any call of the guest's own.
#[tokio::test]
async fn a_guest_that_spins_while_it_is_answered_is_ended() {
    let plugin = hostile(little_cpu()).await;
    let garbage = frame(HEADERS, END_HEADERS, 2, STATUS_200);
    let server = Raw::sends(vec![garbage]).await;
    let authority = server.authority();
    // The answer holds a text.
    let ask: &[&str] = &["request", "POST", "http", &authority, GRANTED];
    let outcome = outcomes(&plugin, request(&server.url(), &[ask]).0)
        .await
        .concat();
    let text = outcome
        .split_once("InternalError(Some(\"")
        .and_then(|(_, text)| text.strip_suffix("\"))"))
        .unwrap_or_else(|| panic!("{outcome}"));

    let size = text.len().to_string();
    let attack: &[&str] = &["spin-at-answer", "http", &authority, GRANTED, &size];
    let run = plugin
        .run(request(&server.url(), &[attack]).0)
        .await
        .unwrap();
    assert_spinning(follow(run).await.1);
}

#[tokio::test]
async fn others_go_on_while_one_spins() {
    let plugin = hostile(much_cpu()).await;
    let other_host = hostile(much_cpu()).await;
    for spin in SPINS {
        let spinner = {
            let plugin = plugin.clone();
            tokio::spawn(async move { check(&plugin, &[spin]).await })
        };
        for _ in 0..3 {
            // Each lets the spinner in, on the one thread that there is.
            within(assert_well(&plugin)).await;
            within(assert_well(&other_host)).await;
        }
        let (request, _) = request(NOWHERE, &[&["random", "1"]]);
        let run = within(plugin.run(request)).await.unwrap();
        assert!(follow(run).await.1.is_ok());
        assert!(!spinner.is_finished(), "{spin} came to an end");
        spinner.abort();
        assert!(within(spinner).await.unwrap_err().is_cancelled());
    }
}

/// Coming back is enough; wall limits end calls that do nothing else.
#[tokio::test]
async fn a_guest_that_comes_back_in_time_may_go_on() {
    let plugin = hostile(limits(|limits| {
        limits.cpu_between_returns = CPU;
        limits.call_time = 5 * CPU;
    }))
    .await;
    for pausing in ["yield-for-ever", "nap-for-ever"] {
        let (request, _) = request(NOWHERE, &[&[pausing]]);
        let mut run = within(plugin.run(request)).await.unwrap();
        let started = Instant::now();
        while started.elapsed() < 5 * CPU {
            within(assert_well(&plugin)).await;
        }
        assert!(run.next().now_or_never().is_none(), "the run has ended");

        let call = within(check(&plugin, &[pausing])).await;
        assert!(matches!(call, Err(Error::TooSlow { .. })), "{call:?}");
    }
}

#[tokio::test]
async fn a_guest_that_never_answers_is_given_up() {
    let patience = Duration::from_millis(200);
    let limits = limits(|limits| {
        limits.call_time = patience;
        limits.start_time = patience;
    });
    let plugin = hostile(limits.clone()).await;
    let call = within(check(&plugin, &["never"])).await;
    assert!(matches!(call, Err(Error::TooSlow { limit }) if limit == patience));
    let stalled = in_mode("stall", limits).await;
    let call = within(stalled.flavors()).await;
    assert!(matches!(call, Err(Error::TooSlow { limit }) if limit == patience));

    let (mut request, store) = request(NOWHERE, &[]);
    request.pipeline = pipeline("before", &[&["never"]]);
    match within(plugin.run(request)).await {
        Err(StartError::Run(Error::TooSlow { limit })) => assert_eq!(limit, patience),
        other => panic!("{:?}", other.err()),
    }
    assert_eq!(recorded_end(&store).unwrap().0, RunStatus::Failed);
}
