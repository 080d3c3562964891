//! `flavor modal-local`

use std::path::Path;

use rustix::process::Signal;

use super::{Home, Outcome, Running, Stream};

/// The token pair of every [`Server`].
pub(super) const TOKEN: (&str, &str) = ("ak-of-the-tests", "as-secret-of-the-tests");

/// A local Modal in a process of its own.
pub(crate) struct Server {
    running: Running,
    url: String,
}

impl Server {
    pub(crate) fn start(home: &Home) -> Self {
        Self::of(home.flavor(["modal-local"]).with_token().start())
    }

    /// With its state kept in a directory.
    pub(crate) fn in_directory(home: &Home, directory: &Path) -> Self {
        let directory = directory.to_str().unwrap();
        let server = home.flavor(["modal-local", "--state", directory]);
        Self::of(server.with_token().start())
    }

    /// The same, at an address.
    pub(crate) fn at(home: &Home, directory: &Path, address: &str) -> Self {
        let directory = directory.to_str().unwrap();
        let words = ["modal-local", "--state", directory, "--listen", address];
        Self::of(home.flavor(words).with_token().start())
    }

    pub(crate) fn of(running: Running) -> Self {
        let line = running.line(Stream::Stdout, "");
        let url = line.strip_prefix("listening on ").unwrap().to_owned();
        Self { running, url }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn running(&self) -> &Running {
        &self.running
    }

    pub(crate) fn into_running(self) -> Running {
        self.running
    }

    /// Asks it to end, and waits.
    pub(crate) fn stop(self) -> Outcome {
        self.running.signal(Signal::TERM);
        self.running.finish()
    }

    /// Gives it no chance to clear up.
    pub(crate) fn kill(self) {
        self.running.signal(Signal::KILL);
        self.running.finish();
    }
}
