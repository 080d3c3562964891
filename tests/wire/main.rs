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

mod equality;
mod faults;
mod flavor;
mod foreign;
mod python;
mod random;

use libtest_mimic::{Arguments, Trial};

/// A test: its name and what it does. It fails by panicking.
type Test = (&'static str, fn());

fn main() {
    let mut arguments = Arguments::from_args();
    // They wait more than they compute.
    arguments.test_threads.get_or_insert(6);
    let tests = [random::TESTS, &faults::tests(), equality::TESTS].concat();
    // Listing needs no Python, and setting it up takes a while.
    let missing = match arguments.list {
        true => None,
        false => python::set_up().err(),
    };
    if let Some(reason) = &missing {
        assert!(
            std::env::var_os("CI").is_none_or(|value| value != "true"),
            "{reason}"
        );
        for (name, _) in &tests {
            eprintln!("{name}: ignored: {reason}");
        }
    }
    let trials = tests.into_iter().map(|(name, test)| {
        let run = move || {
            test();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(missing.is_some())
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}
