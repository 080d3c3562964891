//! Python software, in a virtual environment that is made once per target
//! directory and shared by the test targets that include this file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A virtual environment with exactly the packages of a list.
pub(crate) struct Environment {
    name: &'static str,
    /// Lists of pinned packages, in pip's format.
    requirements: &'static [&'static str],
}

impl Environment {
    /// `name` is that of its directory: equal names mean equal lists.
    pub(crate) const fn new(name: &'static str, requirements: &'static [&'static str]) -> Self {
        Self { name, requirements }
    }

    /// A program, to be run with these packages and nothing of this process's
    /// Python or Modal settings.
    pub(crate) fn program(&self, path: &Path) -> Command {
        let mut command = Command::new(self.directory().join("bin/python"));
        command.arg("-B").arg(path);
        forget_settings(&mut command);
        command
    }

    /// Makes the environment, unless it is there.
    ///
    /// # Errors
    ///
    /// One line saying why it cannot be made.
    pub(crate) fn set_up(&self) -> Result<(), String> {
        let environment = self.directory();
        let wanted = self.requirements.concat();
        let done = environment.join("requirements.done");
        let is_done = || fs::read_to_string(&done).is_ok_and(|list| list == wanted);
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
        let list = environment.join("requirements.txt");
        fs::write(&list, &wanted).expect("a list of packages");
        run(
            Command::new(environment.join("bin/python"))
                .args(["-m", "pip", "install", "--quiet", "--no-deps"])
                .args(["--disable-pip-version-check", "--no-input", "-r"])
                .arg(&list),
            "Python packages cannot be installed",
        )?;
        fs::write(&done, wanted).expect("a note that it is done");
        Ok(())
    }

    fn directory(&self) -> PathBuf {
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(parent).expect("a place for the environment");
        parent.join(self.name)
    }
}

/// Leaves a command nothing of this process's proxies, Python and Modal settings.
pub(crate) fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let proxy = text.to_ascii_lowercase().ends_with("_proxy");
        if proxy || text.starts_with("PYTHON") || text.starts_with("MODAL_") {
            command.env_remove(&name);
        }
    }
}

/// How much of what a failed command said is told: the reason is near its end.
const LAST_LINES: usize = 8;

/// Runs a command to its end.
///
/// # Errors
///
/// One line: `or`, and the last things that the command said.
pub(crate) fn run(command: &mut Command, or: &str) -> Result<(), String> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return Err(format!("{or}: {error}")),
    };
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let last = lines.len().saturating_sub(LAST_LINES);
    Err(format!("{or}: {}", lines[last..].join(" ")))
}
