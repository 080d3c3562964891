//! Starts a command: directory, files, environment, process.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fmt, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use rustix::{
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{Pid, Rlimit},
};

use super::{before_exec, directory::Directories, leader::Child, sweep::MARKER};
use crate::executor::{Exit, Launch};

/// What a [`Prepare`] function is told about a sandbox that is about to start.
#[derive(Debug)]
#[non_exhaustive]
pub struct PrepareSandbox<'a> {
    /// Its id, `sb-…`.
    pub sandbox_id: &'a str,
    /// The sandbox's directory, which is its default working directory. It
    /// exists and holds only `.tmp`.
    pub directory: &'a Path,
    /// The tags it was created with.
    pub tags: &'a BTreeMap<String, String>,
    /// The variables of the request.
    pub env: &'a BTreeMap<String, String>,
}

/// Puts what a sandbox needs into its directory.
///
/// Called on a thread that may block, before the command starts. With an error
/// the sandbox ends as one that could not start, the error in its result.
pub type Prepare = Arc<dyn Fn(&PrepareSandbox<'_>) -> io::Result<()> + Send + Sync>;

/// What all commands of a server have in common.
pub(super) struct Surroundings {
    /// PATH and LANG.
    pub(super) base: Vec<(&'static str, OsString)>,
    pub(super) prepare: Option<Prepare>,
    pub(super) boot: String,
    /// The limit on open files as the caller had it.
    pub(super) descriptors: Rlimit,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

/// A command that runs.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) child: Child,
    pub(super) stdout: std::os::fd::OwnedFd,
    pub(super) stderr: std::os::fd::OwnedFd,
}

impl Surroundings {
    /// PATH and LANG of the caller, or usual ones.
    pub(super) fn base() -> Vec<(&'static str, OsString)> {
        let value = |key, default: &str| env::var_os(key).unwrap_or_else(|| default.into());
        vec![
            (
                "PATH",
                value(
                    "PATH",
                    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                ),
            ),
            ("LANG", value("LANG", "C.UTF-8")),
        ]
    }

    /// Starts a command in a new directory, which stays. Blocks.
    pub(super) fn start(
        &self,
        launch: &Launch,
        directories: &Directories,
        marker: &str,
    ) -> Result<Started, Exit> {
        let failed = |what: &'static str| {
            move |error: io::Error| Exit::never_ran(CANNOT_START, format!("{what}: {error}"))
        };
        let directory = directories
            .create(&launch.sandbox.id)
            .map_err(failed("cannot create its directory"))?;
        let files = directory.files();
        if let Some(prepare) = &self.prepare {
            prepare(&PrepareSandbox {
                sandbox_id: launch.sandbox.id.as_str(),
                directory: &files,
                tags: launch.sandbox.tags().as_map(),
                env: &launch.env,
            })
            .map_err(failed("cannot prepare its directory"))?;
        }
        let workdir = launch.workdir.as_ref().map_or(files.clone(), PathBuf::from);
        if !workdir.is_dir() {
            return Err(Exit::never_ran(
                CANNOT_START,
                format!(
                    "its working directory {} is not a directory of this machine \
                     (the local Modal runs commands on the host's file system)",
                    workdir.display()
                ),
            ));
        }

        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from);
        let (stdout, stdout_end) = pipe().map_err(failed("cannot create a pipe"))?;
        let (stderr, stderr_end) = pipe().map_err(failed("cannot create a pipe"))?;
        let record = directory
            .start_record(&self.boot)
            .map_err(failed("cannot create its record"))?;

        let (program, arguments) = command_line(&launch.argv);
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(self.base.iter().map(|(key, value)| (key, value)))
            .env("HOME", &files)
            .env("TMPDIR", directory.temporary())
            .envs(&launch.env)
            .env(MARKER, marker)
            .current_dir(&workdir)
            .stdin(Stdio::null())
            .stdout(stdout_end)
            .stderr(stderr_end)
            .process_group(0);
        before_exec::record_itself(&mut command, record.into(), self.descriptors);
        let child = command
            .spawn()
            .map_err(|error| Exit::never_ran(code_of(&error), reason(program, &error)))?;
        let child = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| Exit::lost("the command has no pid"))?;
        let child = Child::new(child).map_err(failed("cannot watch the command"))?;
        directory.keep();
        Ok(Started {
            child,
            stdout,
            stderr,
        })
    }
}

/// Exit codes a shell gives for commands that it cannot find, cannot execute,
/// or cannot start for another reason.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;
const CANNOT_START: i32 = 125;

/// Without a command a sandbox just exists, as one on Modal whose image sleeps.
fn command_line(argv: &[String]) -> (&str, &[String]) {
    static IDLE: std::sync::LazyLock<[String; 1]> =
        std::sync::LazyLock::new(|| [i32::MAX.to_string()]);
    match argv.split_first() {
        Some((program, arguments)) => (program, arguments),
        None => ("sleep", IDLE.as_slice()),
    }
}

fn code_of(error: &io::Error) -> i32 {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    match errno {
        Some(Errno::NOENT | Errno::NOTDIR) => NOT_FOUND,
        Some(Errno::ACCESS | Errno::NOEXEC | Errno::ISDIR) => NOT_EXECUTABLE,
        _ => CANNOT_START,
    }
}

fn reason(program: &str, error: &io::Error) -> String {
    match code_of(error) {
        NOT_FOUND => format!("cannot start {program:?}: command not found ({error})"),
        NOT_EXECUTABLE => format!("cannot start {program:?}: not executable ({error})"),
        _ => format!("cannot start {program:?}: {error}"),
    }
}
