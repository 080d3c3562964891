//! `flavor run --on URL` and `--on modal`: servers, credentials, and neither.

use std::{io::Write as _, net::TcpListener, thread, time::Duration};

use crate::harness::{Home, Outcome, Server, all, assert_told};

const PIPELINE: &str = "name: p\nsteps: {a: {command: [sh, -c, 'echo out; echo err >&2']}}\n";

/// The promise is 20 s; on top of them comes what a busy machine takes.
const UNREACHABLE: Duration = Duration::from_secs(20 + 5);

#[test]
fn a_server_runs_a_pipeline() {
    let home = Home::new();
    let server = Server::start(&home);
    home.write("p.yaml", PIPELINE);
    let words = ["run", "p.yaml", "--on", server.url(), "--run-id", "r"];
    let run = home.flavor(words).with_token().run().expect(0);
    let status = home.flavor(["status", "r"]).run().expect(0);
    server.stop().expect(0);
    assert_told!(all(&[run.sorted(), status]));
}

#[test]
fn a_wrong_token_is_4_in_the_servers_words() {
    let home = Home::new();
    let server = Server::start(&home);
    home.write("p.yaml", PIPELINE);
    let run = |id: &str| {
        let words = ["run", "p.yaml", "--on", server.url(), "--run-id", id];
        home.flavor(words).with_token()
    };
    let told = [
        run("secret")
            .env("MODAL_TOKEN_SECRET", "as-wrong")
            .run()
            .expect(4),
        run("id").env("MODAL_TOKEN_ID", "ak-wrong").run().expect(4),
        home.flavor(["status", "secret"]).run().expect(0),
    ];
    server.stop().expect(0);
    assert_told!(all(&told));
}

#[test]
fn a_server_that_does_not_answer_is_4() {
    let home = Home::new();
    home.write("p.yaml", PIPELINE);
    let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
    let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
    // Nobody else looks for a free port at this address.
    let closed = url(&TcpListener::bind("127.0.0.2:0").unwrap());
    let silent = listen();
    let other = listen();
    let no_such_name = "https://no-such-host.invalid".to_owned();
    let targets = [&closed, &url(&silent), &url(&other), &no_such_name];
    thread::spawn(move || {
        for connection in other.incoming() {
            let _ = connection
                .unwrap()
                .write_all(b"HTTP/1.1 200 OK\r\n\r\nhello");
        }
    });
    // All at once, because each waits for most of the twenty seconds.
    let start = |target: &String, more: &[&str]| {
        let words = [&["run", "p.yaml", "--on", target], more].concat();
        home.flavor(words).with_token().start()
    };
    let json = start(&closed, &["--run-id", "json", "--json"]);
    let runs = ["closed", "silent", "other", "no-such-name"];
    let runs: Vec<_> = runs
        .iter()
        .zip(targets)
        .map(|(id, target)| start(target, &["--run-id", id]))
        .collect();
    let outcomes: Vec<Outcome> = runs
        .into_iter()
        .chain([json])
        .map(|run| run.finish().expect(4))
        .collect();
    for (outcome, target) in outcomes.iter().zip(targets) {
        assert!(outcome.took < UNREACHABLE, "{:?}: {outcome}", outcome.took);
        assert!(outcome.stderr().contains(target.as_str()), "{outcome}");
    }
    let status = home.flavor(["status", "closed"]).run().expect(0);
    let [closed, silent, .., json] = &outcomes[..] else {
        panic!("too few");
    };
    assert_told!(all(&[closed, silent, json, &status].map(Clone::clone)));
}

#[test]
fn without_credentials_it_is_4_before_anything_happens() {
    let home = Home::new();
    home.write("p.yaml", PIPELINE);
    let run = |target| home.flavor(["run", "p.yaml", "--on", target]);
    assert_told!(all(&[
        run("modal").run().expect(4),
        run("http://127.0.0.1:9").run().expect(4),
        run("modal").env("MODAL_TOKEN_ID", "ak-1").run().expect(4),
        run("modal")
            .env("MODAL_TOKEN_SECRET", "as-1")
            .run()
            .expect(4),
    ]));
    home.assert_untouched();
}

#[test]
fn half_a_registry_login_is_2() {
    let home = Home::new();
    home.write("p.yaml", format!("registry: reg.example/team\n{PIPELINE}"));
    let run = || home.flavor(["run", "p.yaml"]);
    assert_told!(all(&[
        run().env("FLAVOR_REGISTRY_USERNAME", "me").run().expect(2),
        run()
            .env("FLAVOR_REGISTRY_PASSWORD", "s3cret")
            .run()
            .expect(2),
    ]));
    home.assert_untouched();
}

#[test]
fn a_registry_login_is_taken_and_never_shown() {
    let home = Home::new();
    home.write("p.yaml", format!("registry: reg.example/team\n{PIPELINE}"));
    let run = home.flavor(["run", "p.yaml", "--run-id", "r"]);
    let run = run.env("FLAVOR_REGISTRY_USERNAME", "me");
    let run = run.env("FLAVOR_REGISTRY_PASSWORD", "s3cret");
    let run = run.env("FLAVOR_LOG", "trace").run().expect(0);
    assert!(!run.to_string().contains("s3cret"), "{run}");
}

#[test]
fn dockers_configuration_is_read_when_it_makes_sense() {
    let home = Home::new();
    home.write("p.yaml", format!("registry: reg.example\n{PIPELINE}"));
    let run = || {
        let run = home.flavor(["run", "p.yaml"]);
        run.env("DOCKER_CONFIG", home.work().join("docker"))
    };
    let mut told = Vec::new();
    for config in [
        "{",
        r#"{"auths": {"reg.example": {"auth": "?"}}}"#,
        r#"{"auths": {"reg.example": {"auth": "bm8gY29sb24="}}}"#,
        r#"{"auths": {"reg.example": "s3cret"}}"#,
    ] {
        home.write("docker/config.json", config);
        told.push(run().run().expect(2));
    }
    let told = all(&told);
    assert!(!told.contains("s3cret"), "{told}");
    assert_told!(told);
    home.assert_untouched();
    for config in ["{}", r#"{"auths": {"reg.example.org": {"auth": "?"}}}"#] {
        home.write("docker/config.json", config);
        run().run().expect(0);
    }
}
