//! Modal's own software, in a virtual environment that is made once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the programs are.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/foreign");

/// A program of `tests/foreign`, to be run with Modal's packages and nothing of
/// this process's Python or Modal settings.
pub(crate) fn program(name: &str) -> Command {
    let mut command = Command::new(environment().join("bin/python"));
    command.arg("-B").arg(Path::new(PROGRAMS).join(name));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let proxy = text.to_ascii_lowercase().ends_with("_proxy");
        if proxy || text.starts_with("PYTHON") || text.starts_with("MODAL_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Makes the environment, unless it is there.
///
/// # Errors
///
/// One line saying why it cannot be made.
pub(crate) fn set_up() -> Result<(), String> {
    let environment = environment();
    let requirements = Path::new(PROGRAMS).join("requirements.txt");
    let wanted = fs::read_to_string(&requirements).expect("the list of packages");
    let done = environment.join("requirements.done");
    let is_done = || fs::read_to_string(&done).is_ok_and(|list| list == wanted);
    let parent = environment.parent().expect("a directory above");
    fs::create_dir_all(parent).expect("a place for the environment");
    // Whoever comes second waits here, and then finds it done.
    let lock = File::create(environment.with_extension("lock")).expect("a lock file");
    lock.lock().expect("a lock");
    if is_done() {
        return Ok(());
    }
    let _ = fs::remove_dir_all(&environment);
    run(
        Command::new("python3")
            .args(["-m", "venv"])
            .arg(&environment),
        "python3 with its module venv is needed",
    )?;
    run(
        Command::new(environment.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--no-deps"])
            .args(["--disable-pip-version-check", "--no-input", "-r"])
            .arg(&requirements),
        "Modal's packages cannot be installed",
    )?;
    fs::write(&done, wanted).expect("a note that it is done");
    Ok(())
}

fn environment() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("modal-sdk")
}

fn run(command: &mut Command, or: &str) -> Result<(), String> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return Err(format!("{or}: {error}")),
    };
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().last().unwrap_or("no reason given").to_owned();
    Err(format!("{or}: {last}"))
}
