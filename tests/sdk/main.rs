//! Modal's own SDKs, and ZenML's own classes on top of one, against
//! `flavor modal-local`: what they do there, they do as on Modal.
//!
//! The checks are written in the languages of the SDKs (`python`, `js`,
//! `zenml`); one program per suite runs them, several at a time, each once. The
//! software is installed under the target directory; where that cannot be done
//! the checks count as ignored, except under `CI=true`, where they fail.
//!
//! `parity` writes down what the local Modal implements and which test holds
//! which behaviour in place.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests fail by panicking, their helpers too"
)]

mod by_hand;
mod parity;
mod servers;
mod software;
mod sources;
mod suite;

use libtest_mimic::Arguments;
use servers::Servers;
use std::process::ExitCode;
use std::sync::Arc;
use suite::Suite;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They wait more than they compute.
    arguments.test_threads.get_or_insert(8);
    let servers = Arc::new(Servers::default());
    // Listing needs none of the software, and setting it up takes a while.
    let suites = suite::all(&servers, !arguments.list);
    let missing: Vec<&str> = suites.iter().filter_map(|suite| suite.missing()).collect();
    for reason in &missing {
        eprintln!("{reason}");
    }
    if !missing.is_empty() && std::env::var_os("CI").is_some_and(|value| value == "true") {
        eprintln!("error: under CI=true they may not be ignored");
        return ExitCode::FAILURE;
    }
    let trials = parity::trials()
        .into_iter()
        .chain(suites.iter().flat_map(Suite::trials))
        .chain(by_hand::trials())
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    for suite in &suites {
        suite.conclude();
    }
    drop(suites);
    for call in servers.finish() {
        println!("{call}");
    }
    conclusion.exit_code()
}
