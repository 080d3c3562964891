//! Host apps that lose interest in a run, whatever its guest thinks of that.

use crate::harness::{
    NOWHERE, RUN, assert_well, follow, hostile, limits, pipeline, recorded_end, request, until,
};
use flavor_host::Limits;
use flavor_host::contract::{Change, RunStatus};
use flavor_host::store::MemoryStore;
use futures::FutureExt as _;
use std::time::{Duration, Instant};

/// As long as a dropped run may take, and some time for a slow machine.
const BOUND: Duration = Duration::from_secs(30);

fn has_begun(store: &MemoryStore) -> bool {
    let begun = |change: &Change| matches!(change, Change::Metadata(_));
    store.changes(RUN).iter().any(begun)
}

const BEGIN: [&[&str]; 2] = [&["open", RUN], &["commit", RUN, "1", "metadata", "{}"]];

async fn ends(store: &MemoryStore) -> (RunStatus, String) {
    let started = Instant::now();
    until(|| recorded_end(store).is_some()).await;
    let elapsed = started.elapsed();
    assert!(elapsed < BOUND, "{elapsed:?}");
    recorded_end(store).unwrap()
}

#[tokio::test]
async fn a_dropped_run_is_asked_to_stop_and_may_end_itself() {
    let plugin = hostile(Limits::default()).await;
    let attacks = [
        BEGIN[0],
        BEGIN[1],
        &["wait-for-stop", RUN],
        &["commit", RUN, "1", "run", "heard"],
    ];
    let (request, store) = request(NOWHERE, &attacks);
    let run = plugin.run(request).await.unwrap();
    until(|| has_begun(&store)).await;
    drop(run);
    assert_eq!(ends(&store).await, (RunStatus::Completed, "heard".into()));
}

#[tokio::test]
async fn a_dropped_run_that_does_not_stop_is_cut_off_and_others_go_on() {
    let plugin = hostile(limits(|limits| {
        // Far above the bound: it is not this limit that ends it.
        limits.cpu_between_returns = 10 * BOUND;
    }))
    .await;
    let stubborn = ["never", "spin", "yield-for-ever", "flood-and-count"];
    let mut stores = Vec::new();
    for attack in stubborn {
        let (request, store) = request(NOWHERE, &[BEGIN[0], BEGIN[1], &[attack, "1000"]]);
        let run = plugin.run(request).await.unwrap();
        until(|| has_begun(&store)).await;
        drop(run);
        stores.push(store);
    }
    assert_well(&plugin).await;
    let (other, _) = request(NOWHERE, &[&["random", "1"]]);
    let (_, end) = follow(plugin.run(other).await.unwrap()).await;
    assert!(end.is_ok());
    for (store, attack) in stores.iter().zip(stubborn) {
        assert_eq!(ends(store).await.0, RunStatus::Failed, "{attack}");
    }
}

#[tokio::test]
async fn giving_up_a_run_that_is_starting_ends_it_too() {
    let plugin = hostile(Limits::default()).await;
    let (mut request, store) = request(NOWHERE, &[]);
    request.pipeline = pipeline("before", &[BEGIN[0], BEGIN[1], &["never"]]);
    {
        let mut starting = Box::pin(plugin.run(request));
        until(|| {
            assert!((&mut starting).now_or_never().is_none(), "it has begun");
            has_begun(&store)
        })
        .await;
    }
    assert_eq!(ends(&store).await.0, RunStatus::Failed);
}

#[tokio::test]
async fn a_run_that_crashed_before_it_was_dropped_needs_no_more() {
    let plugin = hostile(Limits::default()).await;
    let (request, store) = request(NOWHERE, &[BEGIN[0], BEGIN[1], &["trap"]]);
    let run = plugin.run(request).await.unwrap();
    until(|| has_begun(&store)).await;
    drop(run);
    // Whether the guest was quicker or not, it is known how the run ended.
    assert_eq!(ends(&store).await.0, RunStatus::Failed);
}
