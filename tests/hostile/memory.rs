//! Guests that want more than there is.

use crate::harness::{NOWHERE, check, follow, hostile, in_mode, limits, request, within};
use flavor_host::{Error, Limits, Plugin};

const MIB: usize = 1024 * 1024;

fn assert_too_much(result: Result<impl Sized, Error>) {
    match result {
        Err(Error::Trapped { message }) => {
            assert!(message.contains("too much data"), "{message}");
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was taken"),
    }
}

#[tokio::test]
async fn memory_is_bounded() {
    let plugin = hostile(limits(|limits| limits.memory_bytes = 32 * MIB)).await;
    let mebibytes: usize = check(&plugin, &["grow"]).await.unwrap().parse().unwrap();
    assert!((16..=32).contains(&mebibytes), "{mebibytes} MiB");
}

fn small_calls() -> Limits {
    limits(|limits| limits.call_bytes = MIB)
}

#[tokio::test]
async fn what_a_guest_hands_over_at_once_is_bounded() {
    let plugin = hostile(small_calls()).await;
    let size = (2 * MIB).to_string();
    // As a result, in the arguments of a call, in a header.
    assert_too_much(check(&plugin, &["big-text", &size]).await);
    assert_too_much(check(&plugin, &["log-flood", "1", &size]).await);
    assert_too_much(check(&plugin, &["big-header", &size]).await);
    assert_too_much(in_mode("flood", small_calls()).await.flavors().await);
    let half = (MIB / 2).to_string();
    let text = check(&plugin, &["big-text", &half]).await.unwrap();
    assert_eq!(text.len(), MIB / 2);
}

#[tokio::test]
async fn events_that_are_too_large_end_the_run() {
    let plugin = hostile(small_calls()).await;
    let size = (2 * MIB).to_string();
    for attack in [
        ["big-text", &size, ""],
        ["output", &size, ""],
        ["flood", "100", "20000"],
    ] {
        let (request, _) = request(NOWHERE, &[&attack]);
        let run = plugin.run(request).await.unwrap();
        assert_too_much(follow(run).await.1);
    }
}

#[tokio::test]
async fn header_fields_are_bounded() {
    let plugin = hostile(limits(|limits| limits.header_bytes = 10_000)).await;
    let outcome = check(&plugin, &["big-header", "20000"]).await.unwrap();
    assert!(outcome.contains("SizeExceeded"), "{outcome}");
    let count: usize = check(&plugin, &["many-headers"])
        .await
        .unwrap()
        .parse()
        .unwrap();
    // They take memory without any value too.
    assert!((50..200).contains(&count), "{count} header fields");
}

#[tokio::test]
async fn chance_is_handed_out_in_small_pieces() {
    let plugin = hostile(limits(|limits| limits.random_bytes = 1000)).await;
    let most = u64::MAX.to_string();
    assert_eq!(check(&plugin, &["random", &most]).await.unwrap(), "1000");
}

/// Some may be kept, more may not.
async fn assert_run_out(plugin: &Plugin, leaks: &[&str]) {
    for leak in leaks {
        assert_eq!(check(plugin, &[leak, "400"]).await.unwrap(), "400");
        let result = within(check(plugin, &[leak, "4000"])).await;
        assert!(
            matches!(&result, Err(Error::Trapped { .. })),
            "{leak}: {result:?}"
        );
    }
}

#[tokio::test]
async fn handles_that_are_never_given_back_run_out() {
    let plugin = hostile(limits(|limits| limits.handles = 2000)).await;
    let leaks = ["leak-fields", "leak-streams", "leak-futures", "leak-timers"];
    assert_run_out(&plugin, &leaks).await;
}

#[tokio::test]
async fn what_handles_stand_for_runs_out_too() {
    let plugin = hostile(limits(|limits| limits.resources = 500)).await;
    assert_run_out(&plugin, &["leak-fields", "leak-options"]).await;
}
