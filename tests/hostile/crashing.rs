//! Guests that crash, leave or block.

use crate::harness::{
    NOWHERE, assert_well, check, follow, hostile, in_mode, pipeline, recorded_end, request, told,
    within,
};
use flavor_host::contract::RunStatus;
use flavor_host::{Error, Limits, StartError};

const CRASHES: [&str; 6] = ["trap", "panic", "abort", "exit", "recurse", "sleep"];

fn assert_trapped<T>(result: Result<T, Error>) {
    match result {
        Err(Error::Trapped { message }) => {
            assert!(!message.is_empty());
            assert!(!message.contains('\u{1b}'), "{message}");
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it came back"),
    }
}

#[tokio::test]
async fn a_crash_ends_the_call_and_nothing_else() {
    let plugin = hostile(Limits::default()).await;
    for crash in CRASHES {
        assert_trapped(within(check(&plugin, &[crash])).await);
        assert_well(&plugin).await;
    }
}

#[tokio::test]
async fn a_crash_in_a_call_without_arguments_or_at_the_start_is_no_different() {
    for mode in ["trap", "start-trap"] {
        let plugin = in_mode(mode, Limits::default()).await;
        assert_trapped(within(plugin.flavors()).await);
    }
    let plugin = in_mode("honest", Limits::default()).await;
    assert_eq!(plugin.flavors().await.unwrap()[0].name, "hostile");
}

#[tokio::test]
async fn a_run_that_crashes_before_it_is_accepted_is_recorded_as_failed() {
    let plugin = hostile(Limits::default()).await;
    for crash in CRASHES {
        let (mut request, store) = request(NOWHERE, &[]);
        request.pipeline = pipeline("before", &[&[crash]]);
        match within(plugin.run(request)).await {
            Err(StartError::Run(error)) => assert_trapped::<()>(Err(error)),
            other => panic!("{:?}", other.err()),
        }
        assert_eq!(recorded_end(&store).unwrap().0, RunStatus::Failed);
    }
}

#[tokio::test]
async fn a_run_that_crashes_midway_keeps_its_events_and_is_recorded_as_failed() {
    let plugin = hostile(Limits::default()).await;
    for crash in CRASHES {
        let (request, store) = request(NOWHERE, &[&["random", "7"], &[crash]]);
        let run = plugin.run(request).await.unwrap();
        let (events, end) = follow(run).await;
        assert_eq!(told(&events), ["7"]);
        assert_trapped(end);
        let (status, reason) = recorded_end(&store).unwrap();
        assert_eq!(status, RunStatus::Failed);
        assert!(reason.contains("crashed"), "{reason}");
    }
}
