//! The SDKs and ZenML, installed under the target directory.

#[path = "../foreign/environment.rs"]
mod environment;

use environment::{Environment, forget_settings, run};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the suites are.
pub(crate) const SUITES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/sdk");

/// The same as that of the target `wire`.
const MODAL: Environment =
    Environment::new("modal-sdk", &[include_str!("../foreign/requirements.txt")]);

const ZENML: Environment = Environment::new(
    "zenml",
    &[
        include_str!("../foreign/requirements.txt"),
        include_str!("zenml/requirements.txt"),
    ],
);

/// Software that runs a suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Software {
    ModalForPython,
    ModalForJavaScript,
    ZenMl,
}

impl Software {
    /// Installs it, unless that is done.
    ///
    /// # Errors
    ///
    /// One line saying why it cannot be installed.
    pub(crate) fn set_up(self) -> Result<(), String> {
        match self {
            Self::ModalForPython => MODAL.set_up(),
            Self::ModalForJavaScript => packages(),
            Self::ZenMl => ZENML.set_up(),
        }
    }

    /// The program that runs the checks in a directory of [`SUITES`].
    pub(crate) fn runner(self, directory: &str) -> Command {
        let suites = Path::new(SUITES);
        let mut command = match self {
            Self::ModalForPython => MODAL.program(&suites.join("python/runner.py")),
            Self::ZenMl => ZENML.program(&suites.join("python/runner.py")),
            Self::ModalForJavaScript => {
                let mut node = Command::new("node");
                forget_settings(&mut node);
                node.arg(suites.join("js/runner.mjs"));
                node.env("SUITE_PACKAGES", package_directory());
                node
            }
        };
        command.arg(suites.join(directory));
        command
    }
}

/// Makes the directory with the npm packages of the lock file.
fn packages() -> Result<(), String> {
    let directory = package_directory();
    let sources = Path::new(SUITES).join("js");
    let lock_list = fs::read_to_string(sources.join("package-lock.json")).expect("a lock file");
    run(
        Command::new("node").arg("--version"),
        "node is needed, version 20 or later",
    )?;
    fs::create_dir_all(&directory).expect("a place for the packages");
    let lock = File::create(directory.with_extension("lock")).expect("a lock file");
    lock.lock().expect("a lock");
    let done = directory.join("packages.done");
    if fs::read_to_string(&done).is_ok_and(|list| list == lock_list) {
        return Ok(());
    }
    for name in ["package.json", "package-lock.json"] {
        fs::copy(sources.join(name), directory.join(name)).expect("a copy");
    }
    run(
        Command::new("npm")
            // Not `ci`: it insists on native packages for every system.
            .args(["install", "--ignore-scripts", "--omit=optional"])
            .args(["--no-audit", "--no-fund"])
            .current_dir(&directory),
        "npm packages cannot be installed",
    )?;
    fs::write(&done, lock_list).expect("a note that it is done");
    Ok(())
}

fn package_directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("js-sdk")
}
