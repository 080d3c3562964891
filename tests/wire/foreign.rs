//! The foreign server, from the tests' side.

use crate::python;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The account that the server knows.
pub(crate) const TOKEN_ID: &str = "ak-foreign";
/// Its secret.
pub(crate) const TOKEN_SECRET: &str = "as-foreign";

/// A server of its own for one test.
pub(crate) struct Foreign {
    child: Child,
    /// Commands and their answers alternate, so both ends are one lock.
    control: Option<Mutex<(ChildStdin, BufReader<ChildStdout>)>>,
    port: u64,
}

/// A request that it has recorded.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) rpc: String,
    /// Name of the sandbox that it is about, or nothing.
    pub(crate) sandbox: String,
    pub(crate) message: Value,
    pub(crate) headers: BTreeMap<String, String>,
    /// What was answered, for secrets only.
    pub(crate) answer: Value,
    /// What followed it, when it began a stream: lengths of data, and the end.
    pub(crate) pieces: Value,
    /// Seconds since the server's start.
    pub(crate) at: f64,
}

/// A sandbox as the server knows it.
#[derive(Debug, Clone)]
pub(crate) struct Sandbox {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) running: bool,
    /// Whether somebody ended it.
    pub(crate) terminated: bool,
}

impl Foreign {
    pub(crate) fn start() -> Self {
        let mut child = python::program("server.py")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the server speaks");
        let ready: Value = serde_json::from_str(&line).expect("the server tells its port");
        Self {
            child,
            control: Some(Mutex::new((stdin, stdout))),
            port: ready["port"].as_u64().unwrap(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How the sandboxes of a step behave, or of all whose names begin so and go
    /// on with a dash; `*`: all others.
    pub(crate) fn script(&self, sandbox: &str, mut script: Value) {
        script["sandbox"] = sandbox.into();
        self.ask("script", script);
    }

    /// Something that is to go wrong.
    pub(crate) fn fault(&self, fault: Value) {
        self.ask("fault", fault);
    }

    /// From now on this share of all calls fails.
    pub(crate) fn fail_at_random(&self, rate: f64, seed: u64) {
        self.ask("at_random", json!({"rate": rate, "seed": seed}));
    }

    /// Nobody is there for a while.
    pub(crate) fn go_away(&self, time: Duration) {
        self.ask("away", json!({"seconds": time.as_secs_f64()}));
    }

    pub(crate) fn settings(&self, settings: Value) {
        self.ask("settings", settings);
    }

    /// Nothing goes wrong from now on.
    pub(crate) fn no_faults(&self) {
        self.ask("no_faults", json!({}));
    }

    /// The command router is started again: where it was, or elsewhere.
    pub(crate) fn restart_router(&self, moves: bool) {
        self.ask("restart_router", json!({"moves": moves}));
    }

    /// Tokens of command routers that were handed out are not accepted any more.
    pub(crate) fn revoke(&self) {
        self.ask("revoke", json!({}));
    }

    /// The contents of a file in a sandbox.
    pub(crate) fn file(&self, sandbox: &str, path: &str) -> Vec<u8> {
        let told = self.ask("file", json!({"sandbox": sandbox, "path": path}));
        let digits = text(&told);
        let digit = |digit: &u8| char::from(*digit).to_digit(16).expect("a digit");
        let byte = |pair: &[u8]| pair.iter().fold(0, |byte, next| byte * 16 + digit(next));
        let bytes = digits.as_bytes().chunks(2).map(byte);
        bytes.map(|byte| u8::try_from(byte).unwrap()).collect()
    }

    /// All requests since this was last asked.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        let answer = self.ask("requests", json!({}));
        answer.as_array().unwrap().iter().map(recorded).collect()
    }

    /// Requests for one method so far.
    pub(crate) fn count(&self, rpc: &str) -> u64 {
        self.ask("counts", json!({}))[rpc].as_u64().unwrap_or(0)
    }

    /// Requests so far, by method.
    pub(crate) fn counts(&self) -> BTreeMap<String, f64> {
        serde_json::from_value(self.ask("counts", json!({}))).expect("numbers by method")
    }

    /// The share of all requests so far that met a fault.
    pub(crate) fn failure_rate(&self) -> f64 {
        let failures = self.ask("failures", json!({})).as_f64().unwrap();
        failures / self.counts().values().sum::<f64>()
    }

    /// How many requests for a method were under way at most at one time.
    pub(crate) fn peak(&self, rpc: &str) -> u64 {
        self.ask("peaks", json!({}))[rpc].as_u64().unwrap_or(0)
    }

    pub(crate) fn sandboxes(&self) -> Vec<Sandbox> {
        let sandbox = |value: &Value| Sandbox {
            id: text(&value["id"]),
            name: text(&value["name"]),
            running: value["running"] == true,
            terminated: value["terminated"] == true,
        };
        let answer = self.ask("sandboxes", json!({}));
        answer.as_array().unwrap().iter().map(sandbox).collect()
    }

    /// Waits until the server is in some state.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let give_up_at = Instant::now() + Duration::from_secs(120);
        while !condition(self) {
            assert!(Instant::now() < give_up_at, "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn ask(&self, operation: &str, mut command: Value) -> Value {
        command["op"] = operation.into();
        let control = self.control.as_ref().expect("the server is there");
        let mut control = control.lock().unwrap();
        writeln!(control.0, "{command}").expect("the server takes commands");
        let mut line = String::new();
        control.1.read_line(&mut line).expect("the server answers");
        let mut answer: Value = serde_json::from_str(&line).expect("an answer in JSON");
        assert!(answer["error"].is_null(), "{answer}");
        answer["ok"].take()
    }
}

/// A server that is told to end ends its sandboxes and removes their files.
impl Drop for Foreign {
    fn drop(&mut self) {
        drop(self.control.take());
        let give_up_at = Instant::now() + Duration::from_secs(20);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < give_up_at {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn recorded(value: &Value) -> Recorded {
    let headers = value["headers"].as_object().unwrap();
    Recorded {
        rpc: text(&value["rpc"]),
        sandbox: text(&value["sandbox"]),
        message: value["message"].clone(),
        headers: headers
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
        answer: value["answer"].clone(),
        pieces: value["pieces"].clone(),
        at: value["at"].as_f64().unwrap(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
