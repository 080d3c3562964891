//! Requests that no grant covers: nothing is connected to, no name is looked up.

use crate::harness::names::Names;
use crate::harness::server::{Forbidden, Seen, Server, answer};
use crate::harness::{
    GRANTED, NOWHERE, TOKEN_ID, TOKEN_SECRET, check, host, hostile, outcomes, request,
};
use flavor_host::{Limits, Plugin};
use hostile_component::HOSTILE;
use std::process::Command;
use std::sync::Arc;

/// A plugin whose look-ups are counted.
async fn watched(names: &Arc<Names>) -> Plugin {
    let host = host(Limits::default()).resolver(Arc::clone(names) as _);
    host.build().unwrap().load(HOSTILE).await.unwrap()
}

/// Has a request made for each of these, and expects all of them to be refused.
async fn assert_refused(plugin: &Plugin, url: &str, requests: &[Vec<String>]) {
    let attacks: Vec<Vec<&str>> = requests
        .iter()
        .map(|words| {
            let words = words.iter().map(String::as_str);
            std::iter::once("request").chain(words).collect()
        })
        .collect();
    let attacks: Vec<&[&str]> = attacks.iter().map(Vec::as_slice).collect();
    let (request, _) = request(url, &attacks);
    let outcomes = outcomes(plugin, request).await;
    assert_eq!(outcomes.len(), requests.len());
    for (words, outcome) in requests.iter().zip(&outcomes) {
        let refused = outcome.contains("HttpRequestDenied")
            || outcome.contains("HttpRequestUriInvalid")
            || outcome.contains("HttpProtocolError")
            || outcome.ends_with(" refused");
        assert!(refused, "{words:?}: {outcome}");
    }
}

fn words(words: [&str; 4]) -> Vec<String> {
    words.map(ToOwned::to_owned).to_vec()
}

#[tokio::test]
async fn other_servers_are_not_connected_to() {
    let server = Server::yes().await;
    let forbidden = Forbidden::new();
    let names = Arc::new(Names::new("evil.example", &["127.0.0.1"]));
    let plugin = watched(&names).await;
    let (port, own) = (forbidden.port(), server.port());
    let hosts = [
        "127.0.0.1",
        "127.0.0.1.",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "app.localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "2130706433",
        "0x7f000001",
        "0X7F.1",
        "0177.0.0.1",
        "017700000001",
        "127.1",
        "127.0.1",
        "127.0.0.01",
        "127.000.000.001",
        "0.0.0.0",
        "0",
        "evil.example",
        "EVIL.example.",
        "xn--evil-example",
        "user@127.0.0.1",
        "user:password@127.0.0.1",
    ];
    let mut requests: Vec<Vec<String>> = hosts
        .iter()
        .map(|host| words(["POST", "http", &format!("{host}:{port}"), GRANTED]))
        .collect();
    let own_host = format!("127.0.0.1:{own}");
    for authority in [
        // Looks like the granted one.
        format!("{own_host}@127.0.0.1:{port}"),
        format!("{own_host}#@127.0.0.1:{port}"),
        format!("{own_host}\\@127.0.0.1:{port}"),
        format!("{own_host}%2f@127.0.0.1:{port}"),
        format!("{own_host}.evil.example:{port}"),
        format!("{own_host}, 127.0.0.1:{port}"),
        // Is the granted one by another name.
        format!("localhost:{own}"),
        format!("[::ffff:127.0.0.1]:{own}"),
        format!("2130706433:{own}"),
        format!("127.1:{own}"),
        // Other ports of it.
        "127.0.0.1".to_owned(),
        "127.0.0.1:".to_owned(),
        format!("127.0.0.1:0{own}"),
        format!("127.0.0.1:{}", u32::from(own) + 65_536),
        // What is always forbidden.
        "169.254.169.254".to_owned(),
        "[fd00:ec2::254]".to_owned(),
        "metadata.google.internal".to_owned(),
        String::new(),
    ] {
        requests.push(words(["POST", "http", &authority, GRANTED]));
    }
    for scheme in ["https", "", "ftp", "file", "unix", "HTTP+UNIX", "ws"] {
        requests.push(words(["POST", scheme, &own_host, GRANTED]));
        requests.push(words([
            "POST",
            scheme,
            &format!("127.0.0.1:{port}"),
            GRANTED,
        ]));
    }
    assert_refused(&plugin, &server.url(), &requests).await;
    forbidden.assert_untouched();
    assert!(server.seen().is_empty(), "{:?}", server.seen());
    assert_eq!(names.asked(), [""; 0]);
}

#[tokio::test]
async fn other_methods_and_paths_of_the_server_are_not_asked_for() {
    let server = Server::yes().await;
    let plugin = hostile(Limits::default()).await;
    let authority = server.authority();
    let mut requests = Vec::new();
    for path in [
        "/modal.client.ModalClient/ContainerExec",
        "/modal.client.ModalClient/SandboxSnapshot",
        "/modal.client.ModalClient/appgetorcreate",
        "/modal.client.modalclient/AppGetOrCreate",
        "/modal.client.ModalClient/AppGetOrCreate/",
        "/modal.client.ModalClient/AppGetOrCreate?",
        "/modal.client.ModalClient/AppGetOrCreate?a=b",
        "/modal.client.ModalClient/AppGetOrCreate;a=b",
        "/modal.client.ModalClient/AppGetOrCreate%00",
        "/modal.client.ModalClient/AppGetOrCreate%20",
        "/modal.client.ModalClient/AppGetOrCreat%65",
        "/modal.client.ModalClient%2fAppGetOrCreate",
        "//modal.client.ModalClient/AppGetOrCreate",
        "/modal.client.ModalClient//AppGetOrCreate",
        "/modal.client.ModalClient/AppGetOrCreate/../ContainerExec",
        "/x/../modal.client.ModalClient/AppGetOrCreate",
        "/./modal.client.ModalClient/AppGetOrCreate",
        "/%2e%2e/modal.client.ModalClient/AppGetOrCreate",
        "/modal.client.ModalClient\\AppGetOrCreate",
        "/modal.task_command_router.TaskCommandRouter/SandboxStdioReadV2",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/",
        "*",
        "",
    ] {
        requests.push(words(["POST", "http", &authority, path]));
    }
    for method in ["GET", "PUT", "post", "CONNECT", "TRACE", "OPTIONS", "PRI"] {
        requests.push(words([method, "http", &authority, GRANTED]));
    }
    assert_refused(&plugin, &server.url(), &requests).await;
    assert!(server.seen().is_empty(), "{:?}", server.seen());
}

#[tokio::test]
async fn what_is_granted_is_sent_in_its_normal_form() {
    let server = Server::yes().await;
    let plugin = hostile(Limits::default()).await;
    let dotted = format!("127.0.0.1.:{}", server.port());
    let (request, _) = request(
        &server.url(),
        &[&["request", "POST", "http", &dotted, GRANTED]],
    );
    let outcomes = outcomes(&plugin, request).await;
    assert!(outcomes[0].starts_with("status 200"), "{outcomes:?}");
    let [
        Seen {
            method,
            uri,
            headers,
            ..
        },
    ] = &server.seen()[..]
    else {
        panic!("{:?}", server.seen());
    };
    assert_eq!(
        (method.as_str(), uri),
        ("POST", &format!("{}{GRANTED}", server.url()))
    );
    assert!(!headers.contains_key("host"));
}

#[tokio::test]
async fn a_call_that_only_computes_reaches_nothing() {
    let server = Server::yes().await;
    let plugin = hostile(Limits::default()).await;
    let authority = server.authority();
    let ask = ["request", "POST", "http", &authority, GRANTED];
    let outcome = check(&plugin, &ask).await.unwrap();
    assert!(outcome.contains("HttpRequestDenied"), "{outcome}");
    let outcome = check(&plugin, &["open", "run"]).await.unwrap();
    assert!(outcome.contains("Unavailable"), "{outcome}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn names_are_looked_up_only_for_requests_that_are_granted() {
    let server = Server::yes().await;
    let names = Arc::new(Names::new("modal.example", &["127.0.0.1"]));
    let plugin = watched(&names).await;
    let url = format!("http://modal.example:{}", server.port());
    let granted = format!("modal.example:{}", server.port());
    let other_port = format!("modal.example:{}", server.port() ^ 1);
    let requests = [
        words(["POST", "http", "other.example", GRANTED]),
        words(["POST", "http", "secret-data.modal.example", GRANTED]),
        words(["POST", "http", &other_port, GRANTED]),
        words(["POST", "https", &granted, GRANTED]),
        words(["POST", "http", &granted, "/modal.client.ModalClient/Other"]),
        words(["GET", "http", &granted, GRANTED]),
    ];
    assert_refused(&plugin, &url, &requests).await;
    assert_eq!(names.asked(), [""; 0]);

    let (request, _) = request(&url, &[&["request", "POST", "http", &granted, GRANTED]]);
    let outcomes = outcomes(&plugin, request).await;
    assert!(outcomes[0].starts_with("status 200"), "{outcomes:?}");
    assert_eq!(names.asked(), ["modal.example"]);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn names_that_lead_to_forbidden_addresses_are_not_connected_to() {
    let forbidden = Forbidden::new();
    let authority = format!("modal.example:{}", forbidden.port());
    for addresses in [
        &["127.0.0.1"][..],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["0.0.0.0"],
        &["10.0.0.1", "192.168.0.1", "172.16.0.1", "100.64.0.1"],
        &["169.254.169.254", "fe80::1", "fd00:ec2::254"],
        &["64:ff9b::7f00:1", "2002:7f00:1::", "fc00::1"],
    ] {
        let names = Arc::new(Names::new("modal.example", addresses));
        let plugin = watched(&names).await;
        let url = format!("https://{authority}");
        let attack = [words(["POST", "https", &authority, GRANTED])];
        assert_refused(&plugin, &url, &attack).await;
        assert_eq!(names.asked(), ["modal.example"]);
    }
    forbidden.assert_untouched();

    // A name in plain text may be private, and never link-local.
    let names = Arc::new(Names::new("modal.example", &["169.254.1.1", "0.0.0.0"]));
    let url = format!("http://{authority}");
    let attack = [words(["POST", "http", &authority, GRANTED])];
    assert_refused(&watched(&names).await, &url, &attack).await;
    forbidden.assert_untouched();
}

#[tokio::test]
async fn redirects_and_alternatives_are_not_followed() {
    let forbidden = Forbidden::new();
    let elsewhere = format!("http://127.0.0.1:{}{GRANTED}", forbidden.port());
    let alternative = format!("h2=\"127.0.0.1:{}\"; ma=3600", forbidden.port());
    for status in [200, 301, 302, 303, 307, 308, 421] {
        let headers = (elsewhere.clone(), alternative.clone());
        let server = Server::start(move |_| {
            let (location, alternative) = &headers;
            answer(
                status,
                &[
                    ("location", location),
                    ("alt-svc", alternative),
                    ("refresh", location),
                ],
                b"",
            )
        })
        .await;
        let plugin = hostile(Limits::default()).await;
        let authority = server.authority();
        let ask: &[&str] = &["request", "POST", "http", &authority, GRANTED];
        let (request, _) = request(&server.url(), &[ask, ask]);
        for outcome in outcomes(&plugin, request).await {
            assert!(
                outcome.starts_with(&format!("status {status}")),
                "{outcome}"
            );
        }
        assert_eq!(server.seen().len(), 2);
    }
    forbidden.assert_untouched();
}

/// The environment cannot be changed while other tests run, so this runs another
/// test in a process of its own.
#[test]
fn proxies_of_the_environment_are_not_used() {
    let forbidden = Forbidden::new();
    let proxy = format!("http://127.0.0.1:{}", forbidden.port());
    let mut other = Command::new(std::env::current_exe().unwrap());
    other.args([
        "--exact",
        "network::what_is_granted_is_sent_in_its_normal_form",
    ]);
    for name in [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ] {
        other.env(name, &proxy);
    }
    let output = other
        .env_remove("no_proxy")
        .env_remove("NO_PROXY")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
    forbidden.assert_untouched();
}

/// An answer of the control plane that names a command router.
fn router_answer(url: &str) -> http::Response<crate::harness::server::AnswerBody> {
    use modal_proto::client::{CommandRouterAccess, SandboxCreateV2Response};
    use prost::Message as _;

    let message = SandboxCreateV2Response {
        sandbox_id: "sb-1".into(),
        command_router_access: Some(CommandRouterAccess {
            url: url.to_owned(),
            ..CommandRouterAccess::default()
        }),
        ..SandboxCreateV2Response::default()
    }
    .encode_to_vec();
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend_from_slice(&message);
    answer(200, &[], &framed)
}

const CREATE: &str = "/modal.client.ModalClient/SandboxCreateV2";
const READ: &str = "/modal.task_command_router.TaskCommandRouter/SandboxStdioReadV2";

#[tokio::test]
async fn a_server_that_an_answer_names_is_open_for_one_service_and_without_credentials() {
    let router = Server::yes().await;
    let url = router.url();
    let server = Server::start(move |_| router_answer(&url)).await;
    let plugin = hostile(Limits::default()).await;
    let (own, other) = (server.authority(), router.authority());
    let read: &[&str] = &["request", "POST", "http", &other, READ];
    let routed = |method: &str| format!("/modal.task_command_router.TaskCommandRouter/{method}");
    let mount = routed("TaskMountDirectory");
    let create = ["call", "http", &own, CREATE];
    let elsewhere = ["request", "POST", "http", &other, GRANTED];
    let unknown = ["request", "POST", "http", &other, &mount];
    let get = ["request", "GET", "http", &other, READ];
    let mut attacks = vec![read, &create, read, &elsewhere, &unknown, &get];
    let granted = [
        "TaskExecPoll",
        "TaskExecStart",
        "TaskExecStdinStatus",
        "TaskExecStdinWrite",
        "TaskExecStdinWriteStream",
        "TaskExecStdioRead",
        "TaskExecWait",
        "TaskSnapshotFilesystem",
    ];
    let granted = granted.map(routed);
    let granted: Vec<[&str; 5]> = granted
        .iter()
        .map(|path| ["request", "POST", "http", &other, path])
        .collect();
    attacks.extend(granted.iter().map(|attack| &attack[..]));
    let (request, _) = request(&server.url(), &attacks);
    let outcomes = outcomes(&plugin, request).await;
    for (position, outcome) in outcomes.iter().enumerate() {
        match position {
            1 | 2 | 6.. => assert!(outcome.starts_with("status 200"), "{position}: {outcome}"),
            _ => assert!(
                outcome.contains("HttpRequestDenied"),
                "{position}: {outcome}"
            ),
        }
    }
    assert_eq!(router.seen().len(), 1 + granted.len());
    for seen in router.seen() {
        let headers = format!("{:?}", seen.headers);
        assert!(!headers.contains("x-modal-token"), "{seen:?}");
        assert!(!headers.contains(TOKEN_ID) && !headers.contains(TOKEN_SECRET));
    }
    assert!(
        server.seen()[0]
            .headers
            .contains_key("x-modal-token-secret")
    );
}

#[tokio::test]
async fn an_answer_cannot_open_what_a_grant_could_not() {
    let forbidden = Forbidden::new();
    let port = forbidden.port();
    let names = Arc::new(Names::new("localhost", &["169.254.169.254", "10.0.0.1"]));
    let plugin = watched(&names).await;
    for authority in [
        "169.254.169.254".to_owned(),
        format!("0.0.0.0:{port}"),
        format!("10.0.0.1:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("router.example:{port}"),
        format!("user@127.0.0.1:{port}"),
        // Loopback by name, and then not.
        format!("localhost:{port}"),
    ] {
        let url = format!("http://{authority}");
        let server = Server::start(move |_| router_answer(&url)).await;
        let own = server.authority();
        let attacks: [&[&str]; 2] = [
            &["call", "http", &own, CREATE],
            &["request", "POST", "http", &authority, READ],
        ];
        let (request, _) = request(&server.url(), &attacks);
        let outcomes = outcomes(&plugin, request).await;
        assert!(outcomes[0].starts_with("status 200"), "{outcomes:?}");
        assert!(
            outcomes[1].contains("HttpRequestDenied") || outcomes[1].ends_with(" refused"),
            "{authority}: {outcomes:?}"
        );
    }
    forbidden.assert_untouched();
    assert_eq!(names.asked(), ["localhost"]);
}

#[tokio::test]
async fn a_refusal_tells_the_host_app_what_was_asked_for_but_no_secret() {
    let plugin = hostile(Limits::default()).await;
    let ask = ["request", "POST", "https", "evil.example", "/x?token=y"];
    let (request, _) = request(NOWHERE, &[&ask]);
    let mut run = plugin.run(request).await.unwrap();
    while run.next().await.is_some() {}
    let refusal = run.last_refusal().unwrap().to_string();
    assert!(refusal.contains("evil.example/x"), "{refusal}");
    assert!(!refusal.contains("token=y"), "{refusal}");
}
