//! Steps that are tried again.

use std::{fs, time::Duration};

use serde_json::json;

use crate::harness::{Home, all, assert_told};

/// Notes when an attempt begins, and fails until there were as many as `$1`.
const ATTEMPT: &str = "cd $FLAVOR_RUN_DIR; date +%s.%N >>began; echo try $(wc -l <began); \
                       test $(wc -l <began) -ge $1";

fn pipeline(succeeds_at: u32, retry: &str) -> String {
    format!(
        "
name: retries
run_dir: true
steps:
  flaky: {{command: [sh, -c, '{ATTEMPT}', sh, '{succeeds_at}'], retry: {retry}}}
  below: {{command: [echo, done], after: [flaky]}}
"
    )
}

/// Times at which attempts began, in seconds.
fn began(home: &Home, run: &str) -> Vec<f64> {
    let times = fs::read_to_string(home.shared(run).join("began")).unwrap();
    times.lines().map(|time| time.parse().unwrap()).collect()
}

#[test]
fn a_step_that_fails_is_tried_again() {
    let home = Home::new();
    let retry = "{max_retries: 2, delay: 0.25, backoff: 2}";
    let run = home.run("r", &pipeline(3, retry)).expect(0);
    let status = home.flavor(["status", "r"]).run().expect(0);
    let logs = home.flavor(["logs", "r", "flaky"]).run().expect(0);
    assert_told!(all(&[run.sorted(), status, logs]));
    let began = began(&home, "r");
    let pauses: Vec<f64> = began.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses.len(), 2);
    assert!(pauses[0] >= 0.25 && pauses[1] >= 0.5, "{pauses:?}");
}

#[test]
fn attempts_run_out() {
    let home = Home::new();
    let run = home.run("r", &pipeline(10, "{max_retries: 2}")).expect(1);
    assert_told!(run.sorted());
    assert_eq!(began(&home, "r").len(), 3);
}

#[test]
fn without_retry_there_is_one_attempt() {
    let home = Home::new();
    home.run("r", &pipeline(10, "{max_retries: 0}")).expect(1);
    assert_eq!(began(&home, "r").len(), 1);
}

#[test]
fn an_attempt_that_is_repeated_is_a_warning() {
    let home = Home::new();
    let retry = "{max_retries: 1, delay: 0.5}";
    home.write("p.yaml", pipeline(2, retry));
    let run = home.flavor(["run", "p.yaml", "--json"]).run().expect(0);
    let events = run.objects();
    let of_flaky = |event: &str| {
        let mut found = events.clone();
        found.retain(|object| object["event"] == event && object["step"] == "flaky");
        found
    };
    let repeated = json!({
        "event": "warning",
        "step": "flaky",
        "attempt": 0,
        "message": "the attempt failed and will be repeated",
        "exit_code": 1,
        "reason": "exit code 1",
        "retry_in": 0.5,
    });
    assert_eq!(of_flaky("warning"), [repeated]);
    assert_eq!(of_flaky("step-started").len(), 2);
    let finished = of_flaky("step-finished");
    assert_eq!(finished.len(), 1, "{run}");
    assert_eq!(finished[0]["attempt"], 1);
    assert_eq!(finished[0]["status"], "completed");
}

#[test]
fn lines_of_attempts_are_kept_apart() {
    let home = Home::new();
    let step = "{command: [sh, -c, 'printf oops; exit 1'], retry: {max_retries: 1}}";
    let run = home.run("r", &format!("name: p\nsteps: {{a: {step}}}\n"));
    assert_eq!(run.expect(1).stdout(), "r\na | oops\na | oops\n");
    let logs = home.flavor(["logs", "r"]).run().expect(0);
    assert_eq!(logs.stdout(), "a | oops\na | oops\n");
}

#[test]
fn a_pause_is_no_obstacle_to_a_stop() {
    let home = Home::new();
    let run = home.start("r", &pipeline(2, "{max_retries: 1, delay: 3600}"));
    run.line(crate::harness::Stream::Stderr, "next attempt in 3600 s");
    let stop = home.flavor(["stop", "r"]).run().expect(0);
    assert_eq!(stop.stdout(), "stopped\n");
    let run = run.finish().expect(130);
    assert!(run.took < Duration::from_secs(60), "{run}");
    let status = home.flavor(["status", "r"]).run().expect(0);
    assert_told!(all(&[run, status]));
}
