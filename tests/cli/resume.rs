//! Runs that outlive their controllers and their servers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::harness::{Fifo, Home, Process, Running, Server, Stream, all, assert_told};

/// The end of a run that completed.
const COMPLETED: i32 = 0;

/// Numbers that look like chance and are the same every time (splitmix64).
struct Chance(u64);

impl Chance {
    /// A part of a duration.
    fn part_of(&mut self, whole: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        whole.mul_f64((z >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// Ten steps. Each says in a file of its own making that it begins, in which
/// directory, and that it ends: no two sandboxes have the same directory.
const STEPS: [(&str, &[&str]); 10] = [
    ("a", &[]),
    ("b", &["a"]),
    ("c", &["a"]),
    ("d", &["a"]),
    ("e", &["b"]),
    ("f", &["c", "e"]),
    ("g", &["f"]),
    ("h", &["g"]),
    ("i", &["g"]),
    ("j", &["h", "i", "d"]),
];

fn pipeline(witness: &Path, retry: impl Fn(&str) -> u32) -> String {
    let witness = witness.display();
    let script = format!(
        "echo begin $0 $PWD >>{witness}; sleep 0.1; echo end $0 $PWD >>{witness}; echo done"
    );
    let steps = STEPS.map(|(name, after)| {
        let retries = retry(name);
        format!(
            "  {name}: {{command: [sh, -c, '{script}', {name}], after: {after:?}, \
             retry: {{max_retries: {retries}}}}}\n"
        )
    });
    format!("name: witnessed\nsteps:\n{}", steps.concat())
}

/// What the steps have said: by step, the directories in which it began and ended.
#[derive(Debug, Default)]
struct Witness {
    begun: BTreeMap<String, Vec<String>>,
    ended: BTreeMap<String, Vec<String>>,
}

impl Witness {
    fn read(file: &Path) -> Self {
        let mut witness = Self::default();
        for line in fs::read_to_string(file).unwrap_or_default().lines() {
            let [what, step, directory] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            let said = match what {
                "begin" => &mut witness.begun,
                _ => &mut witness.ended,
            };
            let directories = said.entry(step.to_owned()).or_default();
            directories.push(directory.to_owned());
        }
        witness
    }

    fn assert_each_once(&self) {
        for said in [&self.begun, &self.ended] {
            let steps: Vec<&str> = said.keys().map(String::as_str).collect();
            assert_eq!(steps, STEPS.map(|(name, _)| name), "{self:?}");
            assert!(said.values().all(|times| times.len() == 1), "{self:?}");
        }
    }
}

/// Nothing runs but the server itself.
fn assert_only_server_runs(home: &Home) {
    let mut others = home.processes();
    others.retain(|process| !process.is_flavor());
    assert_eq!(others, [], "sandboxes run on");
}

fn start(home: &Home, server: &Server, run: &str) -> Running {
    let arguments = ["run", "p.yaml", "--run-id", run, "--on", server.url()];
    home.flavor(arguments).with_token().start()
}

/// Kills a controller at some moments of a run, each time of another one; it is
/// taken up again, and each second time that one is killed as well.
fn kill_controllers(moments: u32) {
    let home = Home::new();
    let server = Server::start(&home);
    let witness = home.root().join("witness");
    home.write("p.yaml", pipeline(&witness, |_| 0));
    let whole = start(&home, &server, "whole").finish().expect(COMPLETED);
    Witness::read(&witness).assert_each_once();
    let mut chance = Chance(0);
    for moment in 0..moments {
        let run = format!("killed-{moment}");
        let _ = fs::remove_file(&witness);
        let first = start(&home, &server, &run);
        thread::sleep(chance.part_of(whole.took));
        first.signal(Signal::KILL);
        first.finish();
        let resume = || home.flavor(["resume", &run]).with_token();
        if moment % 2 == 1 {
            let second = resume().start();
            thread::sleep(chance.part_of(whole.took));
            second.signal(Signal::KILL);
            second.finish();
        }
        let mut outcome = resume().run();
        if outcome.status.code() == Some(2) {
            assert!(outcome.stderr().contains("there is no run"), "{outcome}");
            outcome = start(&home, &server, &run).finish();
        }
        let outcome = outcome.expect(COMPLETED);
        Witness::read(&witness).assert_each_once();
        assert_eq!(home.status(&run), "completed", "{outcome}");
        assert_only_server_runs(&home);
        // What was written before the death and after it, once.
        for (step, _) in STEPS {
            let logs = home.flavor(["logs", &run, step]).run().expect(0);
            assert!(["", "done\n"].contains(&logs.stdout()), "{logs}");
        }
    }
    server.stop().expect(0);
}

#[test]
fn killed_at_any_moment_a_run_goes_on_and_no_step_runs_twice() {
    kill_controllers(10);
}

#[test]
#[ignore = "takes some minutes"]
fn killed_at_a_hundred_moments_a_run_goes_on_and_no_step_runs_twice() {
    kill_controllers(100);
}

/// Kills the server at some moments of a run, whose controller waits for the next
/// one. Gives how many steps that cost.
fn kill_servers(moments: u32) -> u32 {
    let home = Home::new();
    let directory = home.root().join("server");
    let witness = home.root().join("witness");
    // Every second step may be tried again.
    let retries = |step: &str| u32::from("bdfhj".contains(step));
    home.write("p.yaml", pipeline(&witness, retries));
    // Nobody else takes its port there while it is away.
    let mut server = Server::at(&home, &directory, "127.0.0.3:0");
    let whole = start(&home, &server, "whole").finish().expect(COMPLETED);
    let mut chance = Chance(1);
    let mut failures = 0;
    for moment in 0..moments {
        let run = format!("killed-{moment}");
        let _ = fs::remove_file(&witness);
        let arguments = [
            "run",
            "p.yaml",
            "--run-id",
            &run,
            "--json",
            "--on",
            server.url(),
        ];
        let running = home.flavor(arguments).with_token().start();
        running.line(Stream::Stdout, "run-started");
        thread::sleep(chance.part_of(whole.took));
        let address = server.url().trim_start_matches("http://").to_owned();
        server.kill();
        server = Server::at(&home, &directory, &address);
        let outcome = running.finish();
        let objects = outcome.objects();
        let last = objects.last().unwrap();
        let witness = Witness::read(&witness);
        for (step, _) in STEPS {
            let count = |said: &BTreeMap<String, Vec<String>>| said.get(step).map_or(0, Vec::len);
            let (begun, ended) = (count(&witness.begun), count(&witness.ended));
            let attempts = 1 + retries(step) as usize;
            let places: BTreeSet<&String> = witness.begun.get(step).into_iter().flatten().collect();
            assert_eq!(places.len(), begun, "an attempt began twice: {witness:?}");
            assert!(begun <= attempts && ended <= begun, "{step}: {witness:?}");
            match last["steps"][step].as_str().unwrap() {
                // An end that the server had no time to note counts for nothing.
                "completed" => assert!(ended > 0, "{step}: {witness:?}\n{outcome}"),
                "skipped" => assert_eq!(begun, 0, "{step}: {witness:?}\n{outcome}"),
                "failed" => {
                    failures += 1;
                    assert_eq!(retries(step), 0, "{step}: {outcome}");
                    let told = objects.iter().find(|object| {
                        object["event"] == "step-finished" && object["step"] == step
                    });
                    let reason = told.unwrap()["reason"].as_str().unwrap();
                    assert!(reason.contains("terminated"), "{reason}");
                }
                other => panic!("{step} is {other}: {outcome}"),
            }
        }
        assert_only_server_runs(&home);
    }
    server.stop().expect(0);
    failures
}

#[test]
fn a_server_that_is_killed_costs_what_ran_on_it_and_nothing_else() {
    kill_servers(4);
}

#[test]
#[ignore = "takes some minutes"]
fn a_server_that_is_killed_at_thirty_moments_costs_what_ran_on_it() {
    assert!(kill_servers(30) > 0, "no kill met a step");
}

/// A run whose controller was killed while a step waits for the gate.
fn interrupted(home: &Home, server: &Server, run: &str, gate: &Fifo) {
    let mut here = Fifo::new(home, &format!("here-{run}"));
    let script = format!("echo here >{}; read x <{}", here.path(), gate.path());
    home.write(
        "../pipelines/p.yaml",
        format!(
            "
name: p
steps:
  before: {{command: [echo, before]}}
  waits: {{command: [sh, -c, '{script}'], after: [before]}}
  below: {{command: [echo, below], after: [waits]}}
"
        ),
    );
    let file = "../pipelines/p.yaml";
    let arguments = ["run", file, "--run-id", run, "--on", server.url()];
    let running = home.flavor(arguments).with_token().start();
    here.line();
    home.wait_until_running(run, "waits");
    running.signal(Signal::KILL);
    running.finish();
    // Whoever takes it up again needs the file no more, nor its directory.
    fs::remove_dir_all(home.root().join("pipelines")).unwrap();
}

#[test]
fn what_ran_on_is_waited_for_and_the_rest_is_started() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut gate = Fifo::new(&home, "gate");
    interrupted(&home, &server, "r", &gate);
    let resumed = home.flavor(["resume", "r"]).with_token().start();
    resumed.line(Stream::Stderr, "waits started");
    let second = home.flavor(["resume", "r"]).with_token().run().expect(2);
    gate.release();
    let resumed = resumed.finish().expect(COMPLETED);
    let ended = ["r", "none", "../r"].map(|run| home.flavor(["resume", run]).with_token().run());
    let json = home.flavor(["resume", "r", "--json"]).run().expect(0);
    assert_eq!(json.objects()[0]["steps"]["waits"], "completed");
    let mut told = vec![second, resumed];
    told.extend(ended);
    assert_told!(all(&told));
    server.stop().expect(0);
}

#[test]
fn a_resume_needs_its_server_and_its_credentials() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut gate = Fifo::new(&home, "gate");
    interrupted(&home, &server, "r", &gate);
    let nobody = home.flavor(["resume", "r"]).run().expect(4);
    let wrong = home.flavor(["resume", "r"]).with_token();
    let wrong = wrong.env("MODAL_TOKEN_SECRET", "as-other").run().expect(4);
    assert_eq!(home.status("r"), "interrupted", "{nobody}{wrong}");
    gate.release();
    let resumed = home.flavor(["resume", "r"]).with_token();
    resumed.run().expect(COMPLETED);
    server.stop().expect(0);
}

#[test]
fn a_run_that_goes_on_is_stopped_like_any_other() {
    let home = Home::new();
    let server = Server::start(&home);
    let gate = Fifo::new(&home, "gate");
    interrupted(&home, &server, "r", &gate);
    let resumed = home.flavor(["resume", "r"]).with_token().start();
    resumed.line(Stream::Stderr, "waits started");
    resumed.signal(Signal::INT);
    resumed.finish().expect(130);
    assert_eq!(home.status("r"), "stopped");
    home.flavor(["resume", "r"]).with_token().run().expect(130);
    assert_only_server_runs(&home);
    server.stop().expect(0);
}

#[test]
fn of_two_that_resume_at_once_one_goes_on() {
    let home = Home::new();
    let server = Server::start(&home);
    for round in 0..5 {
        let run = format!("r{round}");
        let mut gate = Fifo::new(&home, &format!("gate-{run}"));
        interrupted(&home, &server, &run, &gate);
        let both = [(); 2].map(|()| home.flavor(["resume", &run]).with_token().start());
        let started = Instant::now();
        // The one that loses does not wait for the step.
        while both.iter().all(|one| one.process().is_running()) {
            assert!(started.elapsed() < Duration::from_secs(120), "nobody lost");
            thread::yield_now();
        }
        gate.release();
        let codes = both.map(|one| one.finish().status.code());
        assert!(
            codes.contains(&Some(0)) && codes.contains(&Some(2)),
            "{codes:?}"
        );
        assert_eq!(home.status(&run), "completed");
    }
    server.stop().expect(0);
}

/// The server of the run died with its controller, and so did the step.
#[test]
fn a_step_on_a_server_of_the_runs_own_has_to_be_tried_again() {
    for (retries, code) in [(0, 1), (1, 0)] {
        let home = Home::new();
        let mut here = Fifo::new(&home, "here");
        // Whoever comes first stays.
        let script = format!(
            "if mkdir {0}; then echo here >{1}; exec sleep 1000; fi",
            home.root().join("first").display(),
            here.path()
        );
        let pipeline = format!(
            "
name: p
steps:
  before: {{command: [echo, before]}}
  stays: {{command: [sh, -c, '{script}'], after: [before], retry: {{max_retries: {retries}}}}}
"
        );
        let run = home.start("r", &pipeline);
        here.line();
        home.wait_until_running("r", "stays");
        run.signal(Signal::KILL);
        run.finish();
        let resumed = home.flavor(["resume", "r", "--json"]).run().expect(code);
        let objects = resumed.objects();
        let said = |object: &&serde_json::Value| object["reason"].is_string();
        let reason = objects.iter().find(said).unwrap()["reason"].as_str();
        assert_eq!(reason, Some("the sandbox was terminated"), "{resumed}");
        home.assert_clean();
    }
}

/// Another run has cleared up after it in the meantime.
#[test]
fn a_server_that_was_cleared_away_is_no_reason_to_run_a_step_twice() {
    let home = Home::new();
    let mut here = Fifo::new(&home, "here");
    let script = format!("echo here >{}; exec sleep 1000", here.path());
    let pipeline = format!("name: p\nsteps: {{stays: {{command: [sh, -c, '{script}']}}}}\n");
    let run = home.start("r", &pipeline);
    here.line();
    home.wait_until_running("r", "stays");
    run.signal(Signal::KILL);
    run.finish();
    let next = home.run("next", "name: n\nsteps: {a: {command: ['true']}}\n");
    next.expect(0);
    assert!(home.processes().iter().all(Process::is_gone));
    let resumed = home.flavor(["resume", "r"]).run().expect(1);
    assert_told!(resumed.sorted());
    assert_eq!(home.status("r"), "failed");
}
