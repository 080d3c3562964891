//! `flavor reap`: what nobody looks after any more is ended, and nothing else.

use rustix::process::Signal;

use crate::harness::{Fifo, Home, Process, Server, all, assert_told, wait_until};

/// Starts run `r` on a server, with a step that runs until it is ended.
fn start(home: &Home, server: &Server) -> (crate::harness::Running, Process) {
    let mut here = Fifo::new(home, "here");
    home.write(
        "p.yaml",
        format!(
            "name: p\nsteps: {{a: {{command: [sh, -c, 'echo $$ >{}; exec sleep 1000']}}}}\n",
            here.path()
        ),
    );
    let words = ["run", "p.yaml", "--run-id", "r", "--on", server.url()];
    let run = home.flavor(words).with_token().start();
    let step = Process::find(here.line().trim().parse().unwrap()).unwrap();
    home.wait_until_running("r", "a");
    (run, step)
}

#[test]
fn what_a_killed_controller_left_is_ended() {
    let home = Home::new();
    let server = Server::start(&home);
    let (run, step) = start(&home, &server);
    let alive = home.flavor(["reap"]).with_token().run().expect(0);
    assert!(step.is_running());
    run.signal(Signal::KILL);
    run.finish();

    let look = home
        .flavor(["reap", "--dry-run"])
        .with_token()
        .run()
        .expect(0);
    assert!(step.is_running());
    let words = ["reap", "--json", "--on", server.url()];
    let reap = home.flavor(words).with_token().run().expect(0);
    assert!(step.is_gone());
    let object = &reap.objects()[0];
    assert_eq!(object["owner"], "orphan");
    assert_eq!(object["ended"], true);
    assert_eq!(object["step"], "a");
    let target = object["target"].as_str().unwrap();
    assert_eq!(target, server.url());
    // It is in the list until the server has seen its end.
    wait_until("nothing to be left", || {
        let again = home.flavor(words).with_token().run().expect(0);
        again.stdout().is_empty()
    });
    let nothing = home.flavor(["reap"]).with_token().run().expect(0);
    assert_eq!(home.status("r"), "interrupted");
    server.stop().expect(0);
    assert_told!(all(&[alive, look, nothing]));
}

#[test]
fn what_is_not_recorded_here_is_left_alone() {
    let home = Home::new();
    let server = Server::start(&home);
    let (run, step) = start(&home, &server);
    run.signal(Signal::KILL);
    run.finish();

    // Another machine, with a run of the same id that is over, and one without.
    let elsewhere = home.root().join("elsewhere");
    let reap = || {
        home.flavor(["reap", "--on", server.url()])
            .env("XDG_STATE_HOME", &elsewhere)
            .with_token()
            .run()
            .expect(0)
    };
    let unknown = reap();
    home.write("q.yaml", "name: q\nsteps: {a: {command: ['true']}}\n");
    home.flavor(["run", "q.yaml", "--run-id", "r"])
        .env("XDG_STATE_HOME", &elsewhere)
        .run()
        .expect(0);
    let of_another = reap();
    assert!(step.is_running());
    server.stop().expect(0);
    assert!(step.is_gone());
    assert_told!(all(&[unknown, of_another]));
}

#[test]
fn a_list_that_cannot_be_read_is_not_an_empty_one() {
    let home = Home::new();
    let server = Server::start(&home);
    let (run, step) = start(&home, &server);
    run.signal(Signal::KILL);
    run.finish();
    // What is left on this machine is not ended either.
    let mut here = Fifo::new(&home, "here-2");
    let script = format!("echo $$ >{}; exec sleep 1000", here.path());
    let local = home.start(
        "local",
        &format!("name: p\nsteps: {{a: {{command: [sh, -c, '{script}']}}}}\n"),
    );
    let here = Process::find(here.line().trim().parse().unwrap()).unwrap();
    local.signal(Signal::KILL);
    local.finish();

    let refused = [
        home.flavor(["reap"]).run().expect(4),
        home.flavor(["reap", "--on", server.url()])
            .with_token()
            .env("MODAL_TOKEN_SECRET", "as-wrong")
            .run()
            .expect(4),
        home.flavor(["reap", "--on", "nowhere"]).run().expect(2),
    ];
    assert!(step.is_running());
    assert!(here.is_running());
    server.stop().expect(0);
    let gone = home.flavor(["reap"]).with_token().run().expect(4);
    assert!(here.is_running());
    assert!(gone.took.as_secs() < 25, "{gone}");

    let look = home
        .flavor(["reap", "--on", "local", "--dry-run"])
        .run()
        .expect(0);
    assert!(here.is_running());
    let local = home.flavor(["reap", "--on", "local"]).run().expect(0);
    assert!(here.is_gone());
    assert_told!(all(&[&refused[..], &[gone, look, local]].concat()));
}
