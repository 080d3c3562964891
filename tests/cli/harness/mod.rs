//! A small world for each test: directories of its own, an empty environment,
//! and `flavor` in it.

mod fifo;
mod outcome;
mod processes;
mod running;
mod server;
mod terminal;

pub(crate) use self::{
    fifo::Fifo,
    outcome::{FILTERS, Outcome, all},
    processes::Process,
    running::{Running, Stream},
    server::Server,
    terminal::{Shown, Terminal},
};

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use self::{running::Input, terminal::Files};

/// How long anything may take that is waited for. Nothing here takes a tenth of
/// it on an idle machine.
const BOUND: Duration = Duration::from_secs(120);

/// Compares what a command said with a snapshot, less what differs from run to
/// run.
macro_rules! assert_told {
    ($told:expr) => {
        insta::with_settings!({
            omit_expression => true,
            filters => $crate::harness::FILTERS.to_vec(),
        }, {
            insta::assert_snapshot!($told)
        })
    };
}
pub(crate) use assert_told;

/// Compares each of several with the same snapshot.
macro_rules! assert_each_told {
    ($each:expr) => {
        insta::allow_duplicates! {
            for told in $each {
                $crate::harness::assert_told!(told);
            }
        }
    };
}
pub(crate) use assert_each_told;

/// The directories of one test. Dropped, it checks that nothing is left of what
/// ran in it.
pub(crate) struct Home {
    root: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        let root = tempfile::Builder::new().prefix("flavor-").tempdir();
        let home = Self {
            root: root.unwrap(),
        };
        for name in ["home", "state", "tmp", "work"] {
            fs::create_dir(home.root().join(name)).unwrap();
        }
        home
    }

    /// Everything of this test is below it.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// The working directory of all commands.
    pub(crate) fn work(&self) -> PathBuf {
        self.root().join("work")
    }

    /// The state directory of `flavor`, which may not exist.
    pub(crate) fn state(&self) -> PathBuf {
        self.root().join("state").join("flavor")
    }

    /// The directory of a run.
    pub(crate) fn run_dir(&self, run: &str) -> PathBuf {
        self.state().join("runs").join(run)
    }

    /// What the steps of a run shared.
    pub(crate) fn shared(&self, run: &str) -> PathBuf {
        self.run_dir(run).join("shared")
    }

    /// Writes a file into the working directory.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// `flavor` with arguments, in the working directory, with an environment
    /// that has nothing of this process' but PATH.
    pub(crate) fn flavor<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Flavor<'_> {
        let flavor = self.bare(arguments);
        flavor.env("XDG_CACHE_HOME", cache())
    }

    /// The same, with a cache for compiled plugins below HOME.
    pub(crate) fn bare<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Flavor<'_> {
        let arguments: Vec<OsString> = arguments
            .into_iter()
            .map(|argument| argument.as_ref().to_owned())
            .collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_flavor"));
        command
            .args(&arguments)
            .current_dir(self.work())
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap())
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
            .env("HOME", self.root().join("home"))
            .env("TMPDIR", self.root().join("tmp"))
            .env("XDG_STATE_HOME", self.root().join("state"));
        let words = arguments.iter().map(|word| word.to_string_lossy());
        Flavor {
            home: self,
            line: words.fold("flavor".to_owned(), |line, word| line + " " + &word),
            command,
            files: Files::default(),
            input: Input::None,
        }
    }

    /// Runs `p.yaml` with the given text under an id, to its end.
    pub(crate) fn run(&self, id: &str, pipeline: &str) -> Outcome {
        self.start(id, pipeline).finish()
    }

    /// Starts a run of `p.yaml` with the given text under an id.
    pub(crate) fn start(&self, id: &str, pipeline: &str) -> Running {
        self.write("p.yaml", pipeline);
        self.flavor(["run", "p.yaml", "--run-id", id]).start()
    }

    /// The status word of a run.
    pub(crate) fn status(&self, run: &str) -> String {
        let outcome = self.flavor(["status", run]).run().expect(0);
        outcome.stdout().lines().next().unwrap().to_owned()
    }

    /// Waits until a step of a run is recorded to run.
    pub(crate) fn wait_until_running(&self, run: &str, step: &str) {
        wait_until(&format!("{step} of {run} to run"), || {
            let status = self.flavor(["status", run, "--json"]).run().expect(0);
            status.objects()[0]["steps"][step]["status"] == "running"
        });
    }

    /// Processes that run in this world.
    pub(crate) fn processes(&self) -> Vec<Process> {
        Process::mentioning(self.root().to_str().unwrap())
    }

    /// Nothing runs, and nothing is left of sandboxes or in TMPDIR.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.processes(), [], "processes are left");
        assert_eq!(names(&self.root().join("tmp")), [""; 0], "in TMPDIR");
        for run in names(&self.state().join("runs")) {
            let sandboxes = self.run_dir(&run).join("local");
            assert!(!sandboxes.exists(), "{} is left", sandboxes.display());
        }
    }

    /// As [`assert_clean`](Self::assert_clean), and nothing was ever recorded.
    pub(crate) fn assert_untouched(&self) {
        self.assert_clean();
        assert_eq!(names(&self.root().join("state")), [""; 0], "in the state");
        assert_eq!(names(&self.root().join("home")), [""; 0], "in HOME");
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.assert_clean();
        }
    }
}

/// A command that has not started.
pub(crate) struct Flavor<'h> {
    home: &'h Home,
    line: String,
    command: Command,
    files: Files,
    input: Input,
}

impl Flavor<'_> {
    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    pub(crate) fn without(mut self, key: &str) -> Self {
        self.command.env_remove(key);
        self
    }

    /// With the credentials that [`Server`] wants.
    pub(crate) fn with_token(self) -> Self {
        self.env("MODAL_TOKEN_ID", server::TOKEN.0)
            .env("MODAL_TOKEN_SECRET", server::TOKEN.1)
    }

    /// With files that cannot grow beyond so many bytes, as on a full disk.
    pub(crate) fn limiting_files(mut self, bytes: u64) -> Self {
        let blocks = bytes / 512;
        let mut command = Command::new("sh");
        command
            .args(["-c", r#"trap "" XFSZ; ulimit -f "$0"; exec "$@""#])
            .arg(blocks.to_string())
            .arg(self.command.get_program())
            .args(self.command.get_args())
            .env_clear()
            .current_dir(self.home.work());
        for (key, value) in self.command.get_envs() {
            if let Some(value) = value {
                command.env(key, value);
            }
        }
        self.command = command;
        self
    }

    /// The same program somewhere else, and as somebody else.
    pub(crate) fn copied_to(mut self, program: &Path, user: u32) -> Self {
        let mut command = Command::new(program);
        command
            .args(self.command.get_args())
            .env_clear()
            .current_dir(self.home.work())
            .uid(user)
            .gid(user);
        for (key, value) in self.command.get_envs() {
            if let Some(value) = value {
                command.env(key, value);
            }
        }
        self.command = command;
        self
    }

    /// With this on its standard input, and nothing after it.
    pub(crate) fn with_input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Input::Whole(input.into());
        self
    }

    /// With a standard input that does not end.
    pub(crate) fn with_endless_input(mut self) -> Self {
        self.input = Input::Endless;
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Outcome {
        self.start().finish()
    }

    /// Starts it, with pipes for its outputs.
    pub(crate) fn start(self) -> Running {
        let root = self.home.root().to_owned();
        Running::start(self.command, self.line, root, self.input)
    }

    /// Starts it on a terminal.
    pub(crate) fn on_terminal(self) -> Terminal {
        let flavor = self.env("TERM", "xterm-256color");
        flavor.on_nameless_terminal()
    }

    /// Starts it on a terminal that has no name.
    pub(crate) fn on_nameless_terminal(self) -> Terminal {
        Terminal::start(self.command, self.home.root().to_owned(), self.files)
    }

    /// On a terminal, but for its data, which go to a file.
    pub(crate) fn stdout_to(mut self, file: &str) -> Self {
        self.files.stdout = Some(File::create(self.home.work().join(file)).unwrap());
        self
    }

    /// On a terminal, but for its messages, which go to a file.
    pub(crate) fn stderr_to(mut self, file: &str) -> Self {
        self.files.stderr = Some(File::create(self.home.work().join(file)).unwrap());
        self
    }

    /// The command itself, for other pipes.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }
}

/// A directory for compiled plugins that all tests share, with the plugin in
/// it: it is compiled once, not once a test.
fn cache() -> &'static Path {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-cache");
        let home = Home::new();
        let compile = home.bare(["flavors"]).env("XDG_CACHE_HOME", &cache);
        compile.run().expect(0);
        cache
    })
}

/// Looks until something is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < BOUND, "waiting for {what}");
        thread::yield_now();
    }
}

/// The names in a directory, sorted; none when there is no directory.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
