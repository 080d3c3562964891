//! The plugin, through the host and over sockets, against a Modal server that
//! is built on Modal's own published stubs: requests are the SDK's, faults are
//! survived.
//!
//! Server and SDK are Python programs (`tests/foreign`). They get a virtual
//! environment under the target directory; where that cannot be made the tests
//! say so and count as ignored, except under `CI=true`, where they fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests fail by panicking, their helpers too"
)]

mod by_hand;
mod equality;
mod faults;
mod flavor;
mod foreign;
mod python;
mod random;
mod sessions;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

/// A test: its name and what it does. It fails by panicking.
type Test = (&'static str, fn());

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They wait more than they compute.
    arguments.test_threads.get_or_insert(6);
    let tests = [
        random::TESTS,
        &faults::tests(),
        &sessions::tests(),
        equality::TESTS,
    ]
    .concat();
    // Listing needs no Python, and setting it up takes a while.
    let missing = match arguments.list {
        true => None,
        false => python::set_up().err(),
    };
    if let Some(reason) = &missing {
        for (name, _) in &tests {
            eprintln!("{name}: ignored: {reason}");
        }
        if std::env::var_os("CI").is_some_and(|value| value == "true") {
            eprintln!("error: under CI=true they may not be ignored");
            return ExitCode::FAILURE;
        }
    }
    let trial = |(name, test): Test, is_ignored| {
        let run = move || {
            test();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(is_ignored)
    };
    let by_hand = by_hand::TESTS.iter().map(|test| trial(*test, true));
    let tests = tests
        .into_iter()
        .map(|test| trial(test, missing.is_some()))
        .chain(by_hand);
    libtest_mimic::run(&arguments, tests.collect()).exit_code()
}
