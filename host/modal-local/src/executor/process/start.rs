//! Starts a command: directory, files, environment, process.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{io::Errno, process::Rlimit};

use super::{
    directory::{self, Directories, Directory},
    leader::Child,
    program::{Program, Texts},
    snapshot::Snapshots,
    stdio::{Channels, Ends},
    sweep::MARKER,
};
use crate::executor::{ExecLaunch, Launch, NeverRan, Stderr, Stdio};

/// What a [`Prepare`] function is told about a sandbox that is about to start.
#[derive(Debug)]
#[non_exhaustive]
pub struct PrepareSandbox<'a> {
    /// Its id, `sb-…`.
    pub sandbox_id: &'a str,
    /// The sandbox's directory, which is its default working directory. It
    /// exists and holds only `.tmp`, and what the snapshot holds that the
    /// sandbox begins with.
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
    pub(super) channels: Channels,
}

/// What the commands of one sandbox have in common.
#[derive(Debug)]
pub(super) struct Place {
    /// The directory with everything of the sandbox.
    pub(super) path: PathBuf,
    pub(super) marker: String,
    pub(super) env: BTreeMap<String, String>,
    pub(super) workdir: PathBuf,
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

    /// Starts the command of a sandbox in a new directory, which stays. Blocks.
    pub(super) fn start(
        &self,
        launch: Launch,
        directories: &Directories,
        snapshots: &Snapshots,
        marker: String,
    ) -> Result<(Started, Place), NeverRan> {
        let directory = directories
            .create(&launch.sandbox.id)
            .map_err(cannot("create its directory"))?;
        if let Some(snapshot) = launch.snapshot {
            snapshots
                .restore(snapshot, &directory.files())
                .map_err(cannot("restore its snapshot"))?;
        }
        self.prepare(&launch, &directory)?;
        let workdir = launch.workdir.map_or(directory.files(), PathBuf::from);
        let place = Place {
            path: directories.path(&launch.sandbox.id),
            marker,
            env: launch.env,
            workdir,
        };
        let started = self.spawn(&Spawn {
            argv: command_line(&launch.argv),
            place: &place,
            env: &BTreeMap::new(),
            workdir: &place.workdir,
            record: &directory::record(&place.path),
            stdio: Stdio::Pipes {
                stdout: true,
                stderr: Stderr::Pipe,
            },
        })?;
        directory.keep();
        Ok((started, place))
    }

    fn prepare(&self, launch: &Launch, directory: &Directory) -> Result<(), NeverRan> {
        let Some(prepare) = &self.prepare else {
            return Ok(());
        };
        prepare(&PrepareSandbox {
            sandbox_id: launch.sandbox.id.as_str(),
            directory: &directory.files(),
            tags: launch.sandbox.tags().as_map(),
            env: &launch.env,
        })
        .map_err(cannot("prepare its directory"))
    }

    /// Starts one more command of a sandbox. Blocks.
    pub(super) fn exec(
        &self,
        launch: &ExecLaunch,
        place: &Place,
        record: &Path,
    ) -> Result<Started, NeverRan> {
        let workdir = launch.workdir.as_ref().map(PathBuf::from);
        self.spawn(&Spawn {
            argv: &launch.argv,
            place,
            env: &launch.env,
            workdir: workdir.as_ref().unwrap_or(&place.workdir),
            record,
            stdio: launch.stdio,
        })
    }

    fn spawn(&self, spawn: &Spawn<'_>) -> Result<Started, NeverRan> {
        let Spawn { place, workdir, .. } = spawn;
        let (program, arguments) = spawn
            .argv
            .split_first()
            .ok_or_else(|| cannot_start("it has no command".to_owned()))?;
        if !workdir.is_dir() {
            return Err(cannot_start(format!(
                "its working directory {} is not a directory of this machine \
                 (the local Modal runs commands on the host's file system)",
                workdir.display()
            )));
        }
        let (
            channels,
            Ends {
                input,
                stdout,
                stderr,
            },
        ) = Channels::open(spawn.stdio).map_err(cannot("create its pipes"))?;
        let record = directory::start_record(spawn.record, &self.boot)
            .map_err(cannot("create its record"))?;

        let (home, temporary) = (
            directory::files(&place.path),
            directory::temporary(&place.path),
        );
        let mut environment: BTreeMap<&str, &OsStr> = BTreeMap::new();
        environment.extend(
            self.base
                .iter()
                .map(|(key, value)| (*key, value.as_os_str())),
        );
        environment.insert("HOME", home.as_os_str());
        environment.insert("TMPDIR", temporary.as_os_str());
        for own in [&place.env, spawn.env] {
            environment.extend(
                own.iter()
                    .map(|(key, value)| (key.as_str(), value.as_ref())),
            );
        }
        environment.insert(MARKER, place.marker.as_ref());
        let texts = Texts {
            program,
            arguments,
            environment: environment.into_iter().collect(),
            workdir,
        };
        let pid = Program::new(
            &texts,
            [input, stdout, stderr],
            record.into(),
            self.descriptors,
            matches!(spawn.stdio, Stdio::Terminal(_)),
        )
        .and_then(Program::start)
        .map_err(|error| NeverRan::CannotStart {
            code: code_of(&error),
            reason: reason(program, &error),
        })?;
        let child = Child::new(pid).map_err(cannot("watch the command"))?;
        Ok(Started { child, channels })
    }
}

/// What tells one command of a sandbox from another.
struct Spawn<'a> {
    argv: &'a [String],
    place: &'a Place,
    /// Laid over the sandbox's own.
    env: &'a BTreeMap<String, String>,
    workdir: &'a Path,
    /// Where it writes down who it is.
    record: &'a Path,
    stdio: Stdio,
}

fn cannot(what: &'static str) -> impl Fn(io::Error) -> NeverRan {
    move |error| cannot_start(format!("cannot {what}: {error}"))
}

fn cannot_start(reason: String) -> NeverRan {
    NeverRan::CannotStart {
        code: CANNOT_START,
        reason,
    }
}

/// Exit codes a shell gives for commands that it cannot find, cannot execute,
/// or cannot start for another reason.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;
const CANNOT_START: i32 = 125;

/// Without a command a sandbox just exists, as one on Modal whose image sleeps.
fn command_line(argv: &[String]) -> &[String] {
    static IDLE: std::sync::LazyLock<[String; 2]> =
        std::sync::LazyLock::new(|| ["sleep".to_owned(), i32::MAX.to_string()]);
    if argv.is_empty() {
        IDLE.as_slice()
    } else {
        argv
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
