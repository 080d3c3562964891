//! Runs commands as processes of this machine. It isolates nothing: a command
//! has every right that the server has.

mod before_exec;
mod capture;
mod directory;
mod ending;
mod exec;
mod file_tool;
mod identity;
mod leader;
mod log;
mod program;
mod room;
mod snapshot;
mod start;
mod stdio;
mod sweep;
mod usage;

pub use self::start::{Prepare, PrepareSandbox};
pub(crate) use self::{directory::remove, file_tool::writes_a_file};

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    sync::{Semaphore, oneshot},
    task::spawn_blocking,
    time::timeout,
};

use self::{
    directory::Directories,
    leader::{Child, Watched},
    log::Log,
    room::Room,
    snapshot::Snapshots,
    start::{Place, Started, Surroundings},
    stdio::CommandInput,
    sweep::Sweeper,
};
use super::{
    ExecLaunch, Executor, Exit, Hash, Heads, Launch, NeverRan, Outputs, ProcessExit, Stop, Streams,
    Text,
};
use crate::{
    ids::SandboxId,
    limits::{self, Limits},
    random::Random,
    state_dir::{self, StateDir},
    sync::lock,
};

/// Runs commands in directories of a state directory.
#[derive(Clone, Debug)]
pub(crate) struct ProcessExecutor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Kept locked.
    state: Arc<StateDir>,
    directories: Directories,
    snapshots: Snapshots,
    surroundings: Surroundings,
    sweeper: Sweeper,
    starts: Semaphore,
    takes: Semaphore,
    /// Of every sandbox whose command runs.
    rooms: Mutex<BTreeMap<SandboxId, Arc<Room>>>,
    output_cap: u64,
    exec_output_cap: u64,
    ending_grace: Duration,
}

impl ProcessExecutor {
    /// Takes a state directory into use: ends what a killed server left
    /// running there, and removes its sandboxes' directories.
    pub(crate) async fn new(
        state: Arc<StateDir>,
        prepare: Option<Prepare>,
        limits: &Limits,
    ) -> io::Result<Self> {
        let instance = instance(&state.instance())?;
        let executor = Self(Arc::new(Inner {
            directories: Directories::new(state.sandboxes()),
            snapshots: Snapshots::open(&state.snapshots())?,
            state,
            surroundings: Surroundings {
                base: Surroundings::base(),
                prepare,
                boot: identity::boot()?,
                descriptors: raise_descriptors(),
            },
            sweeper: Sweeper::new(&instance),
            starts: Semaphore::new(limits::STARTS_AT_ONCE),
            takes: Semaphore::new(limits::SNAPSHOTS_AT_ONCE),
            rooms: Mutex::default(),
            output_cap: limits.output_per_stream,
            exec_output_cap: limits.exec_output_per_stream.max(limits::EXEC_OUTPUT_MIN),
            ending_grace: limits.ending_grace,
        }));
        executor.0.reclaim().await?;
        Ok(executor)
    }
}

impl Executor for ProcessExecutor {
    fn run(
        &self,
        launch: Launch,
        started: oneshot::Sender<Streams>,
        stop: Stop,
    ) -> BoxFuture<'static, Exit> {
        Arc::clone(&self.0).run(launch, started, stop).boxed()
    }

    fn exec(
        &self,
        launch: ExecLaunch,
        started: oneshot::Sender<Streams>,
        stop: Stop,
    ) -> BoxFuture<'static, Result<ProcessExit, NeverRan>> {
        Arc::clone(&self.0).exec(launch, started, stop).boxed()
    }

    fn snapshot(&self, sandbox: SandboxId) -> BoxFuture<'static, io::Result<Hash>> {
        let inner = Arc::clone(&self.0);
        let files = directory::files(&inner.directories.path(&sandbox));
        async move {
            // Fails only when it is closed, which it never is.
            let _turn = inner.takes.acquire().await;
            let taker = Arc::clone(&inner);
            spawn_blocking(move || taker.snapshots.take(&files)).await?
        }
        .boxed()
    }

    fn retain_snapshots(&self, wanted: BTreeSet<Hash>) -> BoxFuture<'static, ()> {
        let inner = Arc::clone(&self.0);
        off_thread(move || {
            if let Err(error) = inner.snapshots.retain(|hash| wanted.contains(&hash)) {
                tracing::warn!(%error, "old snapshots cannot be removed");
            }
        })
        .boxed()
    }

    fn disk_usage(&self) -> BoxFuture<'static, io::Result<u64>> {
        let state = Arc::clone(&self.0.state);
        let measure = spawn_blocking(move || {
            let (sandboxes, snapshots) = (state.sandboxes(), state.snapshots());
            Ok(usage::of(&sandboxes)?.saturating_add(usage::of(&snapshots)?))
        });
        async { measure.await? }.boxed()
    }

    fn reopen(&self, recorded: Vec<(SandboxId, Heads)>) -> BTreeMap<SandboxId, Outputs> {
        let directories = &self.0.directories;
        let known: BTreeSet<PathBuf> = recorded
            .iter()
            .map(|(id, _)| directories.path(id))
            .collect();
        for path in self.0.kept() {
            if !known.contains(&path) {
                remove(&path);
            }
        }
        recorded
            .into_iter()
            .map(|(id, heads)| {
                let outputs = reopened(&directories.path(&id), &heads);
                (id, outputs)
            })
            .collect()
    }

    fn forget(&self, sandbox: SandboxId) -> BoxFuture<'static, ()> {
        let inner = Arc::clone(&self.0);
        off_thread(move || inner.directories.remove(&sandbox)).boxed()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let inner = Arc::clone(&self.0);
        off_thread(move || {
            inner.directories.close();
            inner.kept().iter().for_each(|path| directory::strip(path));
            // Not when something is kept.
            let _ = fs::remove_dir(inner.state.sandboxes());
            inner.snapshots.close();
        })
        .boxed()
    }
}

impl Inner {
    async fn run(
        self: Arc<Self>,
        launch: Launch,
        started: oneshot::Sender<Streams>,
        mut stop: Stop,
    ) -> Exit {
        let sandbox = launch.sandbox.id.clone();
        let (Started { child, channels }, place) = match Arc::clone(&self).start(launch).await {
            Ok(started) => started,
            Err(NeverRan::SandboxEnded) => return Exit::terminated(""),
            Err(NeverRan::CannotStart { code, reason }) => return Exit::never_ran(code, reason),
        };
        let mut leader = match Watched::new(child) {
            Ok(leader) => leader,
            Err(error) => return Exit::lost(format!("cannot watch the command: {error}")),
        };
        let input = match CommandInput::new(channels.input, channels.end_of_input) {
            Ok(input) => input,
            Err(error) => return Exit::lost(format!("cannot reach the command: {error}")),
        };

        let directory = place.path.clone();
        let (stdout_log, stdout_appender) = Log::new(directory.clone(), "stdout", self.output_cap);
        let (stderr_log, stderr_appender) = Log::new(directory, "stderr", self.output_cap);
        let captured = futures::future::join(
            capture::capture(channels.stdout, stdout_appender),
            capture::capture(channels.stderr, stderr_appender),
        );
        let room = Furnished::new(&self, sandbox.clone(), place);
        let _ = started.send(Streams {
            input: input.clone(),
            outputs: Outputs {
                stdout: stdout_log,
                stderr: stderr_log,
            },
        });
        self.supervise(&sandbox, &leader, &room.room, &mut stop, captured)
            .await;
        input.release();
        drop(room);

        let exit = match leader.process().exit() {
            Ok(Some(exit)) => exit.into(),
            Ok(None) => Exit::lost("the command cannot be ended"),
            Err(error) => Exit::lost(format!("the exit of the command is unknown: {error}")),
        };
        leader.process_mut().reap();
        ending::group_gone(leader.process().pid()).await;
        exit
    }

    /// Returns when nothing of the sandbox runs and its output is complete.
    async fn supervise(
        &self,
        sandbox: &SandboxId,
        leader: &Watched<Child>,
        room: &Room,
        stop: &mut Stop,
        captured: impl Future,
    ) {
        let ended = async {
            tokio::select! {
                biased;
                () = leader.exited() => {}
                () = stop.requested() => {
                    ending::ask(&self.sweeper, sandbox, leader, self.ending_grace).await;
                }
            }
            room.close().await;
            ending::kill_strays(room.take_strays()).await;
            ending::kill(&self.sweeper, sandbox, leader).await;
        };
        tokio::pin!(captured, ended);
        tokio::select! {
            biased;
            () = &mut ended => {
                // The pipes end with the last process that holds them.
                let _ = timeout(limits::OUTPUT_DRAIN, captured).await;
            }
            _ = &mut captured => ended.await,
        }
        room.vacate().await;
    }

    async fn start(self: Arc<Self>, launch: Launch) -> Result<(Started, Place), NeverRan> {
        self.start_with(move |inner| {
            let marker = inner.sweeper.marker(&launch.sandbox.id);
            inner
                .surroundings
                .start(launch, &inner.directories, &inner.snapshots, marker)
        })
        .await
    }

    /// Starts something when it is its turn, on a thread that may block.
    async fn start_with<T: Send + 'static>(
        self: Arc<Self>,
        start: impl FnOnce(&Self) -> Result<T, NeverRan> + Send + 'static,
    ) -> Result<T, NeverRan> {
        // Fails only when it is closed, which it never is.
        let _turn = self.starts.acquire().await;
        let inner = Arc::clone(&self);
        let started = spawn_blocking(move || start(&inner)).await;
        started.unwrap_or_else(|error| {
            Err(NeverRan::CannotStart {
                code: 1,
                reason: format!("its start failed: {error}"),
            })
        })
    }

    fn room(&self, sandbox: &SandboxId) -> Option<Arc<Room>> {
        lock(&self.rooms).get(sandbox).cloned()
    }

    /// Ends what an earlier server left, by its records and by the marker, and
    /// clears its directories away.
    async fn reclaim(&self) -> io::Result<()> {
        let mut leaders = Vec::new();
        for entry in fs::read_dir(self.state.sandboxes())? {
            let records = directory::records(&entry?.path());
            leaders.extend(
                records
                    .iter()
                    .filter_map(|record| identity::recorded(record)),
            );
        }
        ending::reclaim(
            &self.sweeper,
            &leaders,
            &self.surroundings.boot,
            self.ending_grace,
        )
        .await;
        let old = self.kept();
        off_thread(move || old.iter().for_each(|path| directory::strip(path))).await;
        state_dir::create(&self.state.sandboxes(), false)
    }

    /// The directories of sandboxes, and of those to come.
    fn kept(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.state.sandboxes());
        let entries = entries.into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }
}

/// The output of a sandbox of an earlier server. Blocks for a moment.
fn reopened(directory: &Path, heads: &Heads) -> Outputs {
    let log = |name: &str, head: &[u8]| -> Arc<dyn super::Output> {
        match Log::reopen(directory, name, head) {
            Ok(log) => log,
            // It has no directory: all of it was recorded.
            Err(_) => Arc::new(Text::new(head.to_vec())),
        }
    };
    Outputs {
        stdout: log("stdout", &heads.stdout),
        stderr: log("stderr", &heads.stderr),
    }
}

/// A room that others find as long as this lives.
struct Furnished<'a> {
    inner: &'a Inner,
    sandbox: SandboxId,
    room: Arc<Room>,
}

impl<'a> Furnished<'a> {
    fn new(inner: &'a Inner, sandbox: SandboxId, place: Place) -> Self {
        let room = Room::new(place);
        lock(&inner.rooms).insert(sandbox.clone(), Arc::clone(&room));
        Self {
            inner,
            sandbox,
            room,
        }
    }
}

impl Drop for Furnished<'_> {
    fn drop(&mut self) {
        lock(&self.inner.rooms).remove(&self.sandbox);
    }
}

async fn off_thread(work: impl FnOnce() + Send + 'static) {
    // Fails only while the runtime shuts down.
    let _ = spawn_blocking(work).await;
}

/// The text that marks the processes of a state directory. It comes from the
/// system whatever the seed of the ids is: two servers with one seed must not
/// end each other's processes.
fn instance(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(instance) if !instance.is_empty() => return Ok(instance),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let instance = Random::from_os()?.alphanumeric(22);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    io::Write::write_all(&mut file, instance.as_bytes())?;
    Ok(instance)
}

/// Raises the limit on open files for this program; commands get back the one
/// that it had at first, which is returned.
fn raise_descriptors() -> Rlimit {
    static ORIGINAL: OnceLock<Rlimit> = OnceLock::new();
    let present = *ORIGINAL.get_or_init(|| getrlimit(Resource::Nofile));
    let wanted = present
        .maximum
        .map_or(limits::DESCRIPTORS, |most| most.min(limits::DESCRIPTORS));
    if present.current.is_some_and(|current| current < wanted) {
        // Fewer sandboxes then.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(wanted),
                maximum: present.maximum,
            },
        );
    }
    present
}
