//! Guests that want the host's credentials, or somebody else's in their place.

use crate::harness::server::Server;
use crate::harness::{
    GRANTED, NOWHERE, TOKEN_ID, TOKEN_SECRET, check, hostile, outcomes, recorded_end, request,
};
use flavor_host::contract::RegistryCredentials;
use flavor_host::{Limits, StartError};
use serde_json::json;

#[tokio::test]
async fn headers_of_the_host_are_refused_in_any_way_and_case() {
    let plugin = hostile(Limits::default()).await;
    for name in [
        "x-modal-token-id",
        "x-modal-token-secret",
        "X-Modal-Token-Id",
        "X-MODAL-TOKEN-SECRET",
        "x-modal-refresh-token",
        "x-modal-oauth-client-id",
        "x-modal-oauth-client-secret",
        "x-modal-oauth-client-assertion",
        "host",
        "Host",
        "connection",
        "keep-alive",
        "proxy-authorization",
        "proxy-authenticate",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
        "alt-used",
        "forwarded",
        "x-forwarded-host",
        "x-original-url",
        "x-http-method-override",
    ] {
        let outcome = check(&plugin, &["header", name]).await.unwrap();
        let expected = ["HeaderError::Forbidden"; 4].join(" ");
        assert_eq!(outcome, format!("{name}: {expected}"));
        let trailer = [
            "trailer",
            "http",
            "127.0.0.1:9",
            GRANTED,
            &format!("{name}=x"),
        ];
        let outcome = check(&plugin, &trailer).await.unwrap();
        assert_eq!(outcome, "trailer HeaderError::Forbidden", "{name}");
    }
    for name in [
        ":authority",
        ":path",
        "x-modal-token-id ",
        "x-modal-token-id\0",
        "x\r\nhost",
        "",
    ] {
        let outcome = check(&plugin, &["header", name]).await.unwrap();
        let expected = ["HeaderError::InvalidSyntax"; 4].join(" ");
        assert_eq!(outcome, format!("{name}: {expected}"));
    }
}

#[tokio::test]
async fn what_arrives_is_the_host_s_pair_and_the_guest_s_look_alikes_are_its_own() {
    let server = Server::yes().await;
    let plugin = hostile(Limits::default()).await;
    let authority = server.authority();
    let mut attack = vec!["request", "POST", "http", &authority, GRANTED];
    let look_alikes = [
        "x_modal_token_id=mine",
        "x-modal-token-id2=mine",
        "x-modal-token=mine",
        "x-modal-tokenid=mine",
        "authorization=Bearer mine",
        "cookie=x-modal-token-id=mine",
        "te=trailers",
    ];
    attack.extend(look_alikes);
    let outcomes = outcomes(&plugin, request(&server.url(), &[&attack]).0).await;
    assert!(outcomes[0].starts_with("status 200"), "{outcomes:?}");
    let [seen] = &server.seen()[..] else {
        panic!("{:?}", server.seen());
    };
    for (name, value) in [
        ("x-modal-token-id", TOKEN_ID),
        ("x-modal-token-secret", TOKEN_SECRET),
    ] {
        let values: Vec<_> = seen.headers.get_all(name).iter().collect();
        assert_eq!(values, [value], "{name}");
    }
    for look_alike in look_alikes {
        let (name, value) = look_alike.split_once('=').unwrap();
        assert_eq!(seen.headers[name], value, "{name}");
    }
}

/// `te` is about the connection, but gRPC needs one value of it.
#[tokio::test]
async fn te_says_trailers_or_nothing() {
    let server = Server::yes().await;
    let plugin = hostile(Limits::default()).await;
    let authority = server.authority();
    let ask = ["request", "POST", "http", &authority, GRANTED, "te=gzip"];
    let outcomes = outcomes(&plugin, request(&server.url(), &[&ask]).0).await;
    assert!(outcomes[0].contains("HttpRequestDenied"), "{outcomes:?}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn the_pair_itself_is_not_handed_out() {
    let plugin = hostile(Limits::default()).await;
    let in_run = outcomes(&plugin, request(NOWHERE, &[&["credentials"]]).0).await;
    let in_call = check(&plugin, &["credentials"]).await.unwrap();
    for outcome in [&in_run[0], &in_call] {
        assert!(outcome.starts_with("Err(Refusal"), "{outcome}");
        assert!(outcome.contains("forward-credentials"), "{outcome}");
    }
}

#[tokio::test]
async fn nothing_that_a_guest_can_read_holds_the_pair() {
    let server = Server::yes().await;
    let plugin = hostile(Limits::default()).await;
    let authority = server.authority();
    let masked = |text: &str| {
        let masked = text.bytes().map(|byte| char::from(byte ^ 0x15));
        masked.collect::<String>()
    };
    let (id, secret) = (masked("ak-Configured"), masked("as-Configured"));
    let (other_id, other_secret) = (masked(TOKEN_ID), masked(TOKEN_SECRET));
    let marker = masked("there is this in it");
    let attacks: [&[&str]; 9] = [
        &["look"],
        &["request", "POST", "http", &authority, GRANTED],
        &["request", "POST", "http", "evil.example", GRANTED],
        &["open", "another"],
        &["credentials"],
        &["scan", &id],
        &["scan", &secret],
        &["scan", &other_id],
        &["scan", &other_secret],
    ];
    let (mut request, _) = request(&server.url(), &attacks);
    request.config = json!({
        "token_id": "ak-Configured",
        "token_secret": "as-Configured",
        "note": "there is this in it",
    });
    request.registry = Some(RegistryCredentials {
        registry: "registry.example".into(),
        username: "user".into(),
        password: "the-registry-password".into(),
    });
    request
        .pipeline
        .steps
        .extend(crate::harness::pipeline("", &[&["scan", &marker]]).steps);
    let outcomes = outcomes(&plugin, request).await;

    let looked = &outcomes[0];
    assert!(
        looked.contains("credential:0") && looked.contains("credential:1"),
        "{looked}"
    );
    assert!(looked.contains("variables=[] arguments=[]"), "{looked}");
    assert!(looked.contains("input=Ok(0) output=Ok(())"), "{looked}");
    for outcome in &outcomes {
        for half in ["Configured", TOKEN_ID, TOKEN_SECRET] {
            assert!(!outcome.contains(half), "{outcome}");
        }
    }
    for scan in &outcomes[5..9] {
        assert!(scan.starts_with("found 0 times"), "{scan}");
    }
    // The scan does find what is there.
    assert!(!outcomes[9].starts_with("found 0 times"), "{}", outcomes[9]);

    // The pair of the configuration is the one that was used.
    let headers = &server.seen()[0].headers;
    assert_eq!(headers["x-modal-token-id"], "ak-Configured");
    assert_eq!(headers["x-modal-token-secret"], "as-Configured");
}

/// Anything else would be sent in the name of another account than was meant.
#[tokio::test]
async fn a_pair_that_cannot_travel_is_not_replaced_by_another_one() {
    let plugin = hostile(Limits::default()).await;
    let (mut request, store) = request(NOWHERE, &[]);
    request.config = json!({"token_id": "ak-Configured", "token_secret": "as\r\nhost: evil"});
    match plugin.run(request).await {
        Err(StartError::Credentials(error)) => assert!(!error.to_string().contains("evil")),
        other => panic!("{:?}", other.err()),
    }
    assert_eq!(recorded_end(&store), None);
}
