//! Guests that tell what is not true, too much, or nothing.

use crate::harness::{NOWHERE, RUN, follow, hostile, limits, recorded_end, request, until, within};
use flavor_host::contract::{Change, Event, RunStatus};
use flavor_host::store::MemoryStore;
use flavor_host::{Error, Limits};

#[tokio::test]
async fn a_run_without_an_end_has_failed() {
    let plugin = hostile(Limits::default()).await;
    let (request, store) = request(NOWHERE, &[&["say", "something"], &["leave"]]);
    let run = plugin.run(request).await.unwrap();
    let (events, end) = follow(run).await;
    assert_eq!(events.len(), 2);
    assert!(matches!(end, Err(Error::NoResult)), "{end:?}");
    assert_eq!(recorded_end(&store).unwrap().0, RunStatus::Failed);
}

#[tokio::test]
async fn the_first_end_is_the_last_event() {
    let plugin = hostile(Limits::default()).await;
    for attacks in [
        &[&["end-and-go-on"][..]][..],
        &[&["end"], &["end"], &["say", "more"]],
        &[&["end"], &["run-is-running"]],
        &[&["end"], &["trap"]],
        // The stream stays open; a host app must not wait for its end.
        &[&["end"], &["never"]],
        &[&["end"], &["spin"]],
    ] {
        let (request, store) = request(NOWHERE, attacks);
        let run = plugin.run(request).await.unwrap();
        let (events, end) = follow(run).await;
        let last = events.last();
        assert!(matches!(last, Some(Event::RunFinished(_))), "{events:?}");
        let is_end = |event: &&Event| matches!(event, Event::RunFinished(_));
        assert_eq!(events.iter().filter(is_end).count(), 1, "{events:?}");
        assert_eq!(end.unwrap().status, RunStatus::Completed);
        // The plugin said it all, so the host has nothing to add.
        assert_eq!(recorded_end(&store), None);
    }
}

#[tokio::test]
async fn ends_that_are_none_break_the_contract() {
    let plugin = hostile(Limits::default()).await;
    for (attack, words) in [
        ("step-is-running", "step `step` ended as `running`"),
        ("steps-are-running", "step `0` ended as `running`"),
        ("run-is-running", "the run ended as `running`"),
        ("run-is-stopping", "the run ended as `stopping`"),
    ] {
        let (request, store) = request(NOWHERE, &[&[attack], &["never"]]);
        let run = plugin.run(request).await.unwrap();
        let (events, end) = follow(run).await;
        assert_eq!(events, []);
        match end {
            Err(Error::BrokenContract { what }) => assert_eq!(what, words),
            other => panic!("{other:?}"),
        }
        let (status, reason) = recorded_end(&store).unwrap();
        assert_eq!(status, RunStatus::Failed);
        assert!(reason.contains(words), "{reason}");
    }
}

/// How many events the guest got rid of, as it records again and again, and how
/// often it has.
fn taken(store: &MemoryStore) -> (usize, usize) {
    let records: Vec<usize> = store
        .changes(RUN)
        .iter()
        .filter_map(|change| match change {
            Change::Metadata(metadata) => {
                let values: serde_json::Value = serde_json::from_str(&metadata.values).unwrap();
                usize::try_from(values["taken"].as_u64().unwrap()).ok()
            }
            _ => None,
        })
        .collect();
    (records.last().copied().unwrap_or_default(), records.len())
}

/// Has a guest flood a host app that does not read, and says how much was taken
/// from it.
async fn flood_unread(limits: Limits, size: &str) -> usize {
    let plugin = hostile(limits).await;
    let (request, store) = request(NOWHERE, &[&["flood-and-count", size]]);
    let mut run = plugin.run(request).await.unwrap();
    // The guest had its turn that many times.
    until(|| taken(&store).1 >= 10).await;
    let (count, _) = taken(&store);
    // Once somebody reads, it goes on.
    for _ in 0..2 * count + 10 {
        assert!(within(run.next()).await.is_some());
    }
    count
}

#[tokio::test]
async fn events_that_nobody_reads_hold_the_guest_up() {
    let few = limits(|limits| limits.events_waiting = 256);
    let count = flood_unread(few, "10").await;
    assert!((1..=256).contains(&count), "{count} events");
}

#[tokio::test]
async fn large_events_that_nobody_reads_hold_the_guest_up_earlier() {
    let little = limits(|limits| {
        limits.events_waiting = 100_000;
        limits.event_bytes_waiting = 1_000_000;
    });
    let count = flood_unread(little, "100000").await;
    assert!((5..=12).contains(&count), "{count} events");
}

#[tokio::test]
async fn a_flood_that_is_read_arrives_in_full() {
    let plugin = hostile(Limits::default()).await;
    let (request, _) = request(NOWHERE, &[&["flood", "20000", "100"]]);
    let run = plugin.run(request).await.unwrap();
    let (events, end) = follow(run).await;
    // And one that says that it is done, and the end.
    assert_eq!(events.len(), 20_002);
    assert!(end.is_ok());
}
