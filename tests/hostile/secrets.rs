//! Secrets that come back from a server, or that a guest was given, and that it
//! says everywhere.

use crate::harness::log::Captured;
use crate::harness::server::{Seen, Server, answer};
use crate::harness::{
    GRANTED, NOWHERE, RUN, TOKEN_ID, TOKEN_SECRET, follow, hostile, pipeline, recorded_end, request,
};
use flavor_host::contract::{RegistryCredentials, RunStatus};
use flavor_host::{Limits, StartError};
use tracing::Level;

const PASSWORD: &str = "the-registry-password";

fn assert_clean(text: &str) {
    for secret in [TOKEN_ID, TOKEN_SECRET, PASSWORD] {
        assert!(!text.contains(secret), "{text}");
    }
}

/// A server that tells everybody what it was told.
async fn telltale() -> Server {
    Server::start(|seen: Seen| {
        let field = |name: &str| seen.headers[name].to_str().unwrap().to_owned();
        let (id, secret) = (field("x-modal-token-id"), field("x-modal-token-secret"));
        answer(200, &[("echo", &format!("{id} and {secret}"))], b"")
    })
    .await
}

#[tokio::test]
async fn events_errors_records_and_logs_hold_no_secret() {
    let log = Captured::start(Level::TRACE);
    let server = telltale().await;
    let plugin = hostile(Limits::default()).await;
    let authority = server.authority();
    let both = format!("{TOKEN_ID}, {TOKEN_SECRET}, {PASSWORD}");
    let values = format!(r#"{{"{TOKEN_SECRET}":["{PASSWORD}",{{"a":"{TOKEN_ID}"}}]}}"#);
    let attacks: [&[&str]; 9] = [
        &["request", "POST", "http", &authority, GRANTED],
        &["say", &both],
        &["reason", &both],
        &["log", &both],
        &["open", RUN],
        &["commit", RUN, "1", "metadata", &values],
        &["commit", RUN, "1", "step", "0", &both],
        &["commit", RUN, "1", "created", "0", &both],
        &["fail", &both],
    ];
    let (mut request, store) = request(&server.url(), &attacks);
    request.registry = Some(RegistryCredentials {
        registry: "registry.example".into(),
        username: "user".into(),
        password: PASSWORD.into(),
    });
    let run = plugin.run(request).await.unwrap();
    let (events, end) = follow(run).await;
    let end = end.unwrap();
    assert_eq!(end.status, RunStatus::Failed);

    let events = format!("{events:?} {end:?}");
    assert!(events.contains("echo=*** and ***"), "{events}");
    assert_clean(&events);
    let records = format!("{:?}", store.changes(RUN));
    assert!(records.contains("***"), "{records}");
    assert_clean(&records);
    let log = log.text();
    assert!(log.contains("***, ***, ***"), "nothing was logged");
    assert_clean(&log);
}

#[tokio::test]
async fn the_error_of_a_run_that_did_not_begin_holds_no_secret() {
    let plugin = hostile(Limits::default()).await;
    let (mut request, store) = request(NOWHERE, &[]);
    request.pipeline = pipeline("before", &[&["fail", TOKEN_SECRET]]);
    let Err(error @ StartError::Run(_)) = plugin.run(request).await else {
        panic!("it began");
    };
    assert_clean(&format!("{error} {error:?}"));
    let (status, reason) = recorded_end(&store).unwrap();
    assert_eq!((status, &reason[..]), (RunStatus::Failed, "***"));
}
