//! The command line as a user meets it, as whole processes: a chain of `true` on
//! the local Modal, and the start of `flavor validate` with a warm cache. Prints
//! figures, asserts nothing: `cargo bench -p flavor-cli`.
//!
//! Each figure stands beside what a shell needs for the same number of processes
//! in the same run, so that figures of different machines can be compared.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a program that prints figures"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Steps of the chain.
const STEPS: u32 = 300;
/// Each figure is the median of so many runs.
const ROUNDS: usize = 5;
/// Tells the program to measure memory only, with this home directory.
const PEAK_IN: &str = "COMMAND_LINE_PEAK_IN";
/// Starts of `flavor validate` per round.
const STARTS: u32 = 20;

fn main() {
    // `cargo test --benches` asks for tests, of which there are none.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    if let Some(home) = std::env::var_os(PEAK_IN) {
        let home = Path::new(&home);
        flavor(home, &["validate", path(&home.join("single.yaml"))]);
        println!("{:.1}", peak_of_children());
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let chain = home.path().join("chain.yaml");
    let single = home.path().join("single.yaml");
    fs::write(&chain, chain_of_true(STEPS)).unwrap();
    fs::write(&single, chain_of_true(1)).unwrap();
    // Fills the cache of compiled code.
    flavor(home.path(), &["validate", path(&single)]);

    let whole = median(|| flavor(home.path(), &["run", path(&chain)]));
    let one = median(|| flavor(home.path(), &["run", path(&single)]));
    let per_step = (whole.saturating_sub(one)) / (STEPS - 1);
    let durable = median(|| flavor(home.path(), &["run", "--durable", path(&chain)]));
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
            flavor(home.path(), &["validate", path(&single)]);
        }
        started.elapsed() / STARTS
    });
    let python = median(|| timed(Command::new("python3").args(["-S", "-c", "pass"])));
    println!(
        "flavor validate, warm cache: {:.1} ms, peak memory {} MB; an empty \
         python3 {:.1} ms, ratio {:.1}",
        millis(start),
        peak_of_validate(home.path()),
        millis(python),
        start.as_secs_f64() / python.as_secs_f64(),
    );
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

/// Peak memory of `flavor validate`: asked of a process that has had no other
/// child, because the system only tells the largest of all.
fn peak_of_validate(home: &Path) -> String {
    let program = std::env::current_exe().expect("a program knows where it is");
    let output = Command::new(program).env(PEAK_IN, home).output();
    String::from_utf8_lossy(&output.expect("it starts").stdout)
        .trim()
        .to_owned()
}

/// The largest resident set that any ended child had, in MB.
#[allow(unsafe_code, reason = "no safe wrapper gives this figure")]
fn peak_of_children() -> f64 {
    // SAFETY: all-zero bytes are a valid `rusage`, and the call only fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    // Linux counts in KiB.
    i32::try_from(usage.ru_maxrss).map_or(f64::NAN, f64::from) / 1024.0
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of plain characters")
}
