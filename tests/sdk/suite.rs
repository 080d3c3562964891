//! A suite: a program in another language that runs checks on demand.

use crate::servers::Servers;
use crate::software::Software;
use crate::sources::{self, Check};
use libtest_mimic::{Failed, Trial};
use serde::Deserialize;
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

/// Longer than any check takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// All suites; with `set_up`, their software is installed.
pub(crate) fn all(servers: &Arc<Servers>, set_up: bool) -> Vec<Suite> {
    [
        ("python-sdk", "python", Software::ModalForPython),
        ("js-sdk", "js", Software::ModalForJavaScript),
        ("zenml", "zenml", Software::ZenMl),
    ]
    .map(|(label, directory, software)| {
        let missing = match set_up {
            true => software.set_up().err(),
            false => None,
        };
        Suite {
            label,
            missing: missing.map(|reason| format!("{label}: ignored: {reason}")),
            state: Arc::new(State {
                directory,
                software,
                servers: Arc::clone(servers),
                runner: OnceLock::new(),
                ran: AtomicUsize::new(0),
                passed: AtomicUsize::new(0),
            }),
        }
    })
    .into()
}

/// Checks in one language.
pub(crate) struct Suite {
    label: &'static str,
    /// Why it cannot run.
    missing: Option<String>,
    state: Arc<State>,
}

struct State {
    directory: &'static str,
    software: Software,
    servers: Arc<Servers>,
    runner: OnceLock<Runner>,
    ran: AtomicUsize,
    passed: AtomicUsize,
}

impl Suite {
    pub(crate) fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    /// One test per check.
    pub(crate) fn trials(&self) -> Vec<Trial> {
        let trial = |check: Check| {
            let state = Arc::clone(&self.state);
            let name = format!("{}::{}", self.state.directory, check.name);
            Trial::test(name, move || state.run(&check.name))
                .with_ignored_flag(self.missing.is_some())
        };
        let checks = sources::checks(self.state.directory);
        checks.into_iter().map(trial).collect()
    }

    /// Ends the program and says how many checks passed.
    pub(crate) fn conclude(&self) {
        let ran = self.state.ran.load(Ordering::Relaxed);
        let passed = self.state.passed.load(Ordering::Relaxed);
        if ran > 0 {
            println!("{}: {passed}/{ran}", self.label);
        }
        if let Some(runner) = self.state.runner.get() {
            runner.end();
        }
    }
}

impl State {
    fn run(&self, check: &str) -> Result<(), Failed> {
        self.ran.fetch_add(1, Ordering::Relaxed);
        let runner = self.runner.get_or_init(|| Runner::start(self));
        runner.run(check)?;
        self.passed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// The program, once it runs.
struct Runner {
    child: Mutex<Child>,
    orders: Mutex<Option<ChildStdin>>,
    waiting: Arc<Mutex<Waiting>>,
}

type Waiting = HashMap<String, Sender<Option<String>>>;

/// What the program says of a check.
#[derive(Deserialize)]
struct Verdict {
    check: String,
    /// Why it failed.
    error: Option<String>,
}

impl Runner {
    fn start(state: &State) -> Self {
        let mut command = state.software.runner(state.directory);
        command.envs(state.servers.variables());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let waiting = Arc::new(Mutex::new(Waiting::new()));
        let (stdout, theirs) = (child.stdout.take().unwrap(), Arc::clone(&waiting));
        thread::spawn(move || hand_out(stdout, &theirs));
        Self {
            orders: Mutex::new(child.stdin.take()),
            child: Mutex::new(child),
            waiting,
        }
    }

    fn run(&self, check: &str) -> Result<(), Failed> {
        let (sender, verdict) = mpsc::channel();
        let earlier = self
            .waiting
            .lock()
            .unwrap()
            .insert(check.to_owned(), sender);
        assert!(earlier.is_none(), "two checks are called {check}");
        if let Some(orders) = self.orders.lock().unwrap().as_mut() {
            writeln!(orders, "{check}")?;
        }
        match verdict.recv_timeout(PATIENCE) {
            Ok(None) => Ok(()),
            Ok(Some(error)) => Err(error.into()),
            Err(mpsc::RecvTimeoutError::Timeout) => Err("it did not end in time".into()),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err("the suite's program ended".into()),
        }
    }

    fn end(&self) {
        // The program ends with its orders.
        drop(self.orders.lock().unwrap().take());
        let mut child = self.child.lock().unwrap();
        if !self.waiting.lock().unwrap().is_empty() {
            // A check that nobody waits for any more may never end.
            child.kill().expect("the program is ended");
            child.wait().expect("the program ends");
            return;
        }
        let status = child.wait().expect("the program ends");
        assert!(status.success(), "the suite's program: {status}");
    }
}

/// Brings verdicts to those who wait for them.
fn hand_out(stdout: ChildStdout, waiting: &Mutex<Waiting>) {
    for line in BufReader::new(stdout).lines() {
        let line = line.expect("a line");
        let verdict: Verdict = serde_json::from_str(&line).expect("a verdict");
        let asked = waiting.lock().unwrap().remove(&verdict.check);
        let asked = asked.expect("a verdict on a check that was asked for");
        // Nobody waits when it came too late.
        let _ = asked.send(verdict.error);
    }
    waiting.lock().unwrap().clear();
}
