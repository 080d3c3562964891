//! The command line as a user meets it, as whole processes: a chain of `true` on
//! the local Modal, the start of `flavor validate` with a warm cache, and wide
//! pipelines of steps that end at once on a scripted server. Prints figures,
//! asserts nothing: `cargo bench -p flavor-cli`; with `-- wide` behind it only the
//! last one.
//!
//! Each figure stands beside what a shell needs for the same number of processes
//! in the same run, so that figures of different machines can be compared.
#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a program that prints figures"
)]

use scripted_modal::{Script, Server};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Steps of the chain.
const STEPS: u32 = 300;
/// Each figure is the median of so many runs.
const ROUNDS: usize = 5;
/// Steps of the wide pipelines.
const WIDE: [u32; 2] = [10_000, 20_000];
/// Tells the program to measure one command only, with this home directory.
const HOME: &str = "COMMAND_LINE_HOME";
/// The arguments of that command, parted by line ends.
const ARGUMENTS: &str = "COMMAND_LINE_ARGUMENTS";
/// Starts of `flavor validate` per round.
const STARTS: u32 = 20;

fn main() {
    // `cargo test --benches` asks for tests, of which there are none.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    if let Some(home) = std::env::var_os(HOME) {
        let arguments = std::env::var(ARGUMENTS).unwrap();
        flavor(Path::new(&home), &arguments.split('\n').collect::<Vec<_>>());
        let (cpu, peak) = usage_of_children();
        println!("{cpu} {peak}");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let chain = home.path().join("chain.yaml");
    let single = home.path().join("single.yaml");
    fs::write(&chain, chain_of_true(STEPS)).unwrap();
    fs::write(&single, chain_of_true(1)).unwrap();
    // Fills the cache of compiled code.
    flavor(home.path(), &["validate", path(&single)]);

    if !std::env::args().any(|argument| argument == "wide") {
        narrow(home.path(), &chain, &single);
    }
    wide(home.path());
}

fn narrow(home: &Path, chain: &Path, single: &Path) {
    let whole = median(|| flavor(home, &["run", path(chain)]));
    let one = median(|| flavor(home, &["run", path(single)]));
    let per_step = (whole.saturating_sub(one)) / (STEPS - 1);
    let durable = median(|| flavor(home, &["run", "--durable", path(chain)]));
    let durable_step = (durable.saturating_sub(one)) / (STEPS - 1);
    let shell = median(|| {
        let script = format!("i=0; while [ $i -lt {STEPS} ]; do /bin/true; i=$((i+1)); done");
        timed(Command::new("sh").args(["-c", &script]))
    }) / STEPS;
    println!(
        "step in a chain of {STEPS}: {:.2} ms, {:.2} ms with --durable; a shell's /bin/true \
         {:.2} ms, ratio {:.1}",
        millis(per_step),
        millis(durable_step),
        millis(shell),
        per_step.as_secs_f64() / shell.as_secs_f64(),
    );
    println!("run of one step: {:.1} ms", millis(one));

    let start = median(|| {
        let started = Instant::now();
        for _ in 0..STARTS {
            flavor(home, &["validate", path(single)]);
        }
        started.elapsed() / STARTS
    });
    let python = median(|| timed(Command::new("python3").args(["-S", "-c", "pass"])));
    println!(
        "flavor validate, warm cache: {:.1} ms, peak memory {:.1} MB; an empty \
         python3 {:.1} ms, ratio {:.1}",
        millis(start),
        measured(home, &["validate", path(single)]).1,
        millis(python),
        start.as_secs_f64() / python.as_secs_f64(),
    );
}

/// CPU and memory of `flavor run`, the server in this process.
fn wide(home: &Path) {
    let mut figures = Vec::new();
    for steps in WIDE {
        let server = Server::start(Script::default()).unwrap();
        let file = home.join("wide.json");
        fs::write(&file, wide_pipeline(steps)).unwrap();
        let arguments = ["run", path(&file), "--on", server.url()];
        let (cpu, peak) = measured(home, &arguments);
        let calls: u64 = server.counts().values().sum();
        println!(
            "{steps} steps that end at once: {cpu:.2} s of CPU, peak memory {peak:.0} MB, {:.2} calls per step",
            calls as f64 / f64::from(steps),
        );
        figures.push(cpu);
    }
    if let [first, second] = figures[..] {
        println!("twice as many steps: {:.2} times the CPU", second / first);
    }
}

fn wide_pipeline(steps: u32) -> String {
    let steps = (0..steps).map(|step| {
        let command = json!({"command": ["sleep", "0", "say", "hello\n"]});
        (format!("step-{step:05}"), command)
    });
    let steps: Map<String, Value> = steps.collect();
    json!({"name": "wide", "image": "image", "steps": steps}).to_string()
}

fn chain_of_true(steps: u32) -> String {
    let mut text = String::from("name: chain\nsteps:\n");
    for step in 0..steps {
        writeln!(text, "  s{step}:\n    command: [/bin/true]").unwrap();
        if let Some(before) = step.checked_sub(1) {
            writeln!(text, "    after: [s{before}]").unwrap();
        }
    }
    text
}

fn flavor(home: &Path, arguments: &[&str]) -> Duration {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flavor"));
    command.args(arguments).env("HOME", home);
    command
        .env("MODAL_TOKEN_ID", "ak-1")
        .env("MODAL_TOKEN_SECRET", "as-1");
    for variable in ["XDG_STATE_HOME", "XDG_CACHE_HOME"] {
        command.env_remove(variable);
    }
    timed(&mut command)
}

/// How long a command takes; it has to succeed.
fn timed(command: &mut Command) -> Duration {
    let started = Instant::now();
    let status = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("the command starts");
    assert!(status.success(), "{command:?}: {status}");
    started.elapsed()
}

fn median(mut figure: impl FnMut() -> Duration) -> Duration {
    let mut figures: Vec<Duration> = (0..ROUNDS).map(|_| figure()).collect();
    figures.sort();
    figures.get(ROUNDS / 2).copied().unwrap_or_default()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Seconds of CPU and peak memory in MB of a command: asked of a process that has
/// had no other child, because the system only tells about all of them.
fn measured(home: &Path, arguments: &[&str]) -> (f64, f64) {
    let program = std::env::current_exe().expect("a program knows where it is");
    let mut command = Command::new(program);
    command.env(HOME, home).env(ARGUMENTS, arguments.join("\n"));
    let output = command.stderr(Stdio::inherit()).output();
    let output = String::from_utf8(output.expect("it starts").stdout).unwrap();
    let (cpu, peak) = output.trim().split_once(' ').expect("two figures");
    (cpu.parse().unwrap(), peak.parse().unwrap())
}

/// Seconds of CPU of all ended children, and the largest resident set that any of
/// them had, in MB.
#[allow(unsafe_code, reason = "no safe wrapper gives this figure")]
fn usage_of_children() -> (f64, f64) {
    // SAFETY: all-zero bytes are a valid `rusage`, and the call only fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    // Linux counts in KiB.
    let peak = usage.ru_maxrss as f64 * 1024.0 / 1e6;
    (seconds(usage.ru_utime) + seconds(usage.ru_stime), peak)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of plain characters")
}
