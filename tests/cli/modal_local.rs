//! `flavor modal-local`: the local Modal as a server.

use std::net::TcpListener;

use rustix::process::Signal;

use crate::harness::{
    Fifo, Home, Running, Server, Stream, all, assert_each_told, assert_told, names,
};

#[test]
fn a_token_is_made_up_and_printed_to_stderr() {
    let home = Home::new();
    let server = Server::of(home.flavor(["modal-local"]).start());
    let secret = server
        .running()
        .line(Stream::Stderr, "export MODAL_TOKEN_SECRET=");
    let id = server
        .running()
        .line(Stream::Stderr, "export MODAL_TOKEN_ID=");
    let value = |line: &str| line.split_once('=').unwrap().1.to_owned();
    home.write("p.yaml", "name: p\nsteps: {a: {command: [echo, hello]}}\n");
    let run = home.flavor(["run", "p.yaml", "--on", server.url(), "--run-id", "r"]);
    let run = run.env("MODAL_TOKEN_ID", value(&id));
    let run = run.env("MODAL_TOKEN_SECRET", value(&secret)).run();
    assert_eq!(run.expect(0).stdout(), "r\na | hello\n");
    assert_told!(server.stop().expect(0));

    let one = Server::of(home.flavor(["modal-local"]).start());
    let other = one
        .running()
        .line(Stream::Stderr, "export MODAL_TOKEN_SECRET=");
    assert_ne!(secret, other);
    one.stop().expect(0);
}

#[test]
fn a_token_of_the_environment_is_not_printed() {
    let home = Home::new();
    assert_told!(Server::start(&home).stop().expect(0));
}

#[test]
fn half_a_token_is_2() {
    let home = Home::new();
    let server = || home.flavor(["modal-local"]).with_token();
    assert_told!(all(&[
        server().without("MODAL_TOKEN_ID").run().expect(2),
        server().env("MODAL_TOKEN_SECRET", "").run().expect(2),
    ]));
    home.assert_untouched();
}

#[test]
fn it_listens_where_it_is_told_to() {
    let home = Home::new();
    let server = |address: &str| {
        home.flavor(["modal-local", "--listen", address])
            .with_token()
    };
    // An address where nobody else looks for a free port.
    let free = TcpListener::bind("127.0.0.2:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    let taken = server(&address).run().expect(1);
    drop(free);
    let listening = Server::of(server(&address).start());
    assert_eq!(listening.url(), format!("http://{address}"));
    listening.stop().expect(0);
    assert_told!(taken);
}

#[test]
fn other_machines_are_kept_out_unless_allowed() {
    let home = Home::new();
    let server = |more: &[&str]| {
        let words = [&["modal-local", "--listen"], more].concat();
        home.flavor(words).with_token()
    };
    let refused = ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"].map(|address| {
        let server = server(&[address]).run().expect(2);
        assert_eq!(server.stdout(), "");
        server
    });
    assert_told!(all(&refused));
    home.assert_untouched();

    let allowed = Server::of(server(&["0.0.0.0:0", "--allow-remote"]).start());
    home.write("p.yaml", "name: p\nsteps: {a: {command: ['true']}}\n");
    let run = home.flavor(["run", "p.yaml", "--on", allowed.url()]);
    run.with_token().run().expect(0);
    allowed.stop().expect(0);
}

/// Starts a run on a server, of a step that has a child and a daemon.
fn endless(home: &Home, server: &Server) -> Running {
    let mut here = Fifo::new(home, "here");
    let script = format!(
        "setsid sleep 1000 & sleep 1000 & echo >{}; wait",
        here.path()
    );
    let steps = format!("steps: {{a: {{command: [sh, -c, '{script}']}}}}");
    home.write("p.yaml", format!("name: p\n{steps}\n"));
    let words = ["run", "p.yaml", "--on", server.url(), "--run-id", "r"];
    let run = home.flavor(words).with_token().start();
    here.line();
    run
}

#[test]
fn its_end_ends_its_sandboxes() {
    let ended = [Signal::TERM, Signal::INT].map(|signal| {
        let home = Home::new();
        let server = Server::start(&home);
        let run = endless(&home, &server);
        // Server, controller, and three processes of the sandbox.
        assert_eq!(home.processes().len(), 5);
        server.running().signal(signal);
        server.into_running().finish().expect(0);
        let run = run.finish().expect(1);
        home.assert_clean();
        let status = home.flavor(["status", "r"]).run().expect(0);
        all(&[run, status])
    });
    assert_each_told!(ended);
}

#[test]
fn a_state_directory_is_kept() {
    let home = Home::new();
    let directory = home.root().join("server");
    let server = Server::in_directory(&home, &directory);
    let run = endless(&home, &server);
    run.signal(Signal::INT);
    run.finish().expect(130);
    server.stop().expect(0);
    assert_eq!(names(&directory), ["instance", "lock", "state.db"]);
    let file = home.root().join("work/p.yaml");
    let words = ["modal-local", "--state", file.to_str().unwrap()];
    assert_told!(home.flavor(words).run().expect(1));
}

#[test]
fn its_token_is_nowhere_to_be_seen() {
    let home = Home::new();
    let server = Server::start(&home);
    let run = endless(&home, &server);
    for process in home.processes() {
        let line = process.command_line();
        assert!(!line.contains("of-the-tests"), "{line}");
    }
    let mut sandbox = home.processes();
    sandbox.retain(|process| !process.is_flavor());
    assert_eq!(sandbox.len(), 3);
    for process in sandbox {
        assert!(
            !process.environment().contains("of-the-tests"),
            "{process:?}"
        );
    }
    run.signal(Signal::INT);
    let run = run.finish().expect(130);
    let server = server.stop().expect(0);
    for outcome in [run, server] {
        assert!(!outcome.to_string().contains("of-the-tests"), "{outcome}");
    }
    let mut directories = vec![home.root().to_owned()];
    while let Some(directory) = directories.pop() {
        for name in names(&directory) {
            let path = directory.join(name);
            if path.is_dir() {
                directories.push(path);
            } else if path.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                let text = String::from_utf8_lossy(&bytes);
                assert!(!text.contains("secret-of-the-tests"), "{path:?}");
            }
        }
    }
}
