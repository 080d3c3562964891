//! Runs commands as processes of this machine. It isolates nothing: a command
//! has every right that the server has.

mod before_exec;
mod capture;
mod directory;
mod ending;
mod identity;
mod leader;
mod log;
mod start;
mod sweep;

pub(crate) use self::directory::remove;
pub use self::start::{Prepare, PrepareSandbox};

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, OnceLock},
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
    start::{Started, Surroundings},
    sweep::Sweeper,
};
use super::{Executor, Exit, Launch, Outputs, Stop};
use crate::{
    ids::SandboxId,
    limits::{self, Limits},
    random::Random,
    state_dir::{self, StateDir},
};

/// Runs commands in directories of a state directory.
#[derive(Clone, Debug)]
pub(crate) struct ProcessExecutor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Kept locked.
    state: Arc<StateDir>,
    directories: Directories,
    surroundings: Surroundings,
    sweeper: Sweeper,
    starts: Semaphore,
    output_cap: u64,
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
            state,
            surroundings: Surroundings {
                base: Surroundings::base(),
                prepare,
                boot: identity::boot()?,
                descriptors: raise_descriptors(),
            },
            sweeper: Sweeper::new(&instance),
            starts: Semaphore::new(limits::STARTS_AT_ONCE),
            output_cap: limits.output_per_stream,
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
        started: oneshot::Sender<Outputs>,
        stop: Stop,
    ) -> BoxFuture<'static, Exit> {
        Arc::clone(&self.0).run(launch, started, stop).boxed()
    }

    fn forget(&self, sandbox: SandboxId) -> BoxFuture<'static, ()> {
        let inner = Arc::clone(&self.0);
        off_thread(move || inner.directories.remove(&sandbox)).boxed()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let sandboxes = self.0.state.sandboxes();
        off_thread(move || remove(&sandboxes)).boxed()
    }
}

impl Inner {
    async fn run(
        self: Arc<Self>,
        launch: Launch,
        started: oneshot::Sender<Outputs>,
        mut stop: Stop,
    ) -> Exit {
        let sandbox = launch.sandbox.id.clone();
        let Started {
            child,
            stdout,
            stderr,
        } = match Arc::clone(&self).start(launch).await {
            Ok(started) => started,
            Err(exit) => return exit,
        };
        let mut leader = match Watched::new(child) {
            Ok(leader) => leader,
            Err(error) => return Exit::lost(format!("cannot watch the command: {error}")),
        };

        let directory = self.directories.path(&sandbox);
        let (stdout_log, stdout_appender) = Log::new(directory.clone(), "stdout", self.output_cap);
        let (stderr_log, stderr_appender) = Log::new(directory, "stderr", self.output_cap);
        let _ = started.send(Outputs {
            stdout: stdout_log,
            stderr: stderr_log,
        });
        self.supervise(&sandbox, &leader, &mut stop, async {
            futures::future::join(
                capture::capture(stdout, stdout_appender),
                capture::capture(stderr, stderr_appender),
            )
            .await;
        })
        .await;

        let exit = match leader.process().exit() {
            Ok(Some(exit)) => exit,
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
        stop: &mut Stop,
        captured: impl Future<Output = ()>,
    ) {
        let ended = async {
            tokio::select! {
                biased;
                () = leader.exited() => {}
                () = stop.requested() => {
                    ending::ask(&self.sweeper, sandbox, leader, self.ending_grace).await;
                }
            }
            ending::kill(&self.sweeper, sandbox, leader).await;
        };
        tokio::pin!(captured, ended);
        tokio::select! {
            biased;
            () = &mut ended => {
                // The pipes end with the last process that holds them.
                let _ = timeout(limits::OUTPUT_DRAIN, captured).await;
            }
            () = &mut captured => ended.await,
        }
    }

    async fn start(self: Arc<Self>, launch: Launch) -> Result<Started, Exit> {
        // Fails only when it is closed, which it never is.
        let _turn = self.starts.acquire().await;
        let inner = Arc::clone(&self);
        let start = spawn_blocking(move || {
            let id = &launch.sandbox.id;
            let marker = inner.sweeper.marker(id);
            inner
                .surroundings
                .start(&launch, &inner.directories, &marker)
        });
        start
            .await
            .unwrap_or_else(|error| Err(Exit::lost(format!("its start failed: {error}"))))
    }

    /// Ends what an earlier server left, by its records and by the marker, and
    /// clears its directories away.
    async fn reclaim(&self) -> io::Result<()> {
        let mut leaders = Vec::new();
        for entry in fs::read_dir(self.state.sandboxes())? {
            let record = directory::record(&entry?.path());
            leaders.extend(identity::recorded(&record));
        }
        ending::reclaim(
            &self.sweeper,
            &leaders,
            &self.surroundings.boot,
            self.ending_grace,
        )
        .await;
        let sandboxes = self.state.sandboxes();
        let old = sandboxes.clone();
        off_thread(move || remove(&old)).await;
        state_dir::create(&sandboxes, false)
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
