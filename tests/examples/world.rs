//! Directories for one test, and `flavor` in them.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

/// The directory of the examples.
pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// A place with nothing in it.
pub(crate) struct World {
    root: TempDir,
    path: OsString,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
            path: env::var_os("PATH").unwrap(),
        }
    }

    /// One where of all programs there is a shell alone.
    pub(crate) fn with_a_shell_alone() -> Self {
        let mut world = Self::new();
        let programs = world.root().join("programs");
        fs::create_dir(&programs).unwrap();
        std::os::unix::fs::symlink("/bin/sh", programs.join("sh")).unwrap();
        world.path = programs.into();
        world
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// A copy of an example's directory, to be changed.
    pub(crate) fn copy(&self, example: &str) -> PathBuf {
        let copy = self.root().join(example);
        copy_directory(&examples().join(example), &copy);
        copy
    }

    /// Runs `flavor` to its end.
    pub(crate) fn flavor(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_flavor"))
            .args(arguments)
            .current_dir(self.root())
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.root())
            // Compiling the plugin once is enough for all tests.
            .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
            .output()
            .unwrap()
    }

    /// Runs a pipeline on this machine.
    pub(crate) fn run(&self, pipeline: &Path) -> Run {
        let output = self.flavor(&["run", pipeline.to_str().unwrap(), "--run-id", "r", "--json"]);
        let stdout = String::from_utf8(output.stdout).unwrap();
        let events = stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        Run {
            code: output.status.code(),
            events,
            stderr: String::from_utf8(output.stderr).unwrap(),
            shared: self.root().join(".local/state/flavor/runs/r/shared"),
        }
    }

    /// What a step of the run wrote, stdout and stderr together.
    pub(crate) fn log(&self, step: &str) -> String {
        let output = self.flavor(&["logs", "r", step]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// A run that ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    events: Vec<Value>,
    stderr: String,
    shared: PathBuf,
}

impl Run {
    /// Checks the exit code.
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// How every step ended, by the last event.
    pub(crate) fn steps(&self) -> BTreeMap<&str, &str> {
        let last = self.events.last().unwrap();
        assert_eq!(last["event"], "run-finished", "{}", self.stderr);
        let steps = last["steps"].as_object().unwrap();
        steps
            .iter()
            .map(|(name, status)| (name.as_str(), status.as_str().unwrap()))
            .collect()
    }

    /// A file that the run left.
    pub(crate) fn file(&self, name: &str) -> String {
        let path = self.shared.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Where the run left it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.shared.join(name)
    }
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Replaces a text that stands in a file once.
pub(crate) fn replace(file: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert_eq!(
        text.matches(old).count(),
        1,
        "{old:?} in {}",
        file.display()
    );
    fs::write(file, text.replace(old, new)).unwrap();
}
