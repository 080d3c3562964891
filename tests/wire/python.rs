//! Modal's own software.

#[path = "../foreign/environment.rs"]
mod environment;

use environment::Environment;
use std::path::Path;
use std::process::Command;

/// Where the programs are.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/foreign");

const MODAL: Environment =
    Environment::new("modal-sdk", &[include_str!("../foreign/requirements.txt")]);

/// A program of `tests/foreign`, to be run with Modal's packages.
pub(crate) fn program(name: &str) -> Command {
    MODAL.program(&Path::new(PROGRAMS).join(name))
}

/// Makes the environment, unless it is there.
///
/// # Errors
///
/// One line saying why it cannot be made.
pub(crate) fn set_up() -> Result<(), String> {
    MODAL.set_up()
}
