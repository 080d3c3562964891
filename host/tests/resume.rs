//! Runs whose controllers die: at every call that they make, and at the same time
//! as others take over.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking, their helpers too"
)]

use flavor_host::contract::{
    Change, Claim, Error as PluginError, ExecutionMode, Pipeline, Resources, Retry, RunFinished,
    RunStatus, Step, StepStatus, StopMode, StoreError,
};
use flavor_host::credentials::Secret;
use flavor_host::credentials::modal::TokenPair;
use flavor_host::store::{NewRun, RunStore, SqliteStore, StoreFuture};
use flavor_host::{Host, Plugin, RunRequest, StartError, Target};
use scripted_modal::{Gate, Script, Server};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Barrier, watch};

static PLUGIN: LazyLock<Plugin> = LazyLock::new(|| {
    let cache = concat!(env!("CARGO_TARGET_TMPDIR"), "/default-compiled");
    let host = Host::builder().cache(cache).build().unwrap();
    let loading = host.load(default_plugin::COMPONENT);
    runtime().block_on(loading).unwrap()
});

/// Dropped, it takes along whatever was under way: the death of a process.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Counts the calls of a controller to its store and to Modal, each before and
/// after it is carried out. From one of them on nothing passes any more.
#[derive(Debug)]
struct Fuse {
    passed: AtomicU64,
    blows_at: u64,
    blown: watch::Sender<bool>,
}

impl Fuse {
    fn new(blows_at: u64) -> Arc<Self> {
        Arc::new(Self {
            passed: AtomicU64::new(0),
            blows_at,
            blown: watch::Sender::new(false),
        })
    }

    async fn pass(&self) {
        let number = self.passed.fetch_add(1, Ordering::SeqCst) + 1;
        if number >= self.blows_at {
            self.blown.send_replace(true);
            std::future::pending::<()>().await;
        }
    }

    async fn blows(&self) {
        self.blown
            .subscribe()
            .wait_for(|blown| *blown)
            .await
            .unwrap();
    }
}

/// A store whose calls pass a fuse.
struct Fused {
    store: SqliteStore,
    fuse: Arc<Fuse>,
    /// Where those who have opened the run wait for each other.
    opened: Option<Arc<Barrier>>,
}

impl Fused {
    async fn pass<T>(&self, call: impl Future<Output = T>) -> T {
        self.fuse.pass().await;
        let result = call.await;
        self.fuse.pass().await;
        result
    }
}

impl RunStore for Fused {
    fn create(&self, run: NewRun) -> StoreFuture<'_, ()> {
        self.store.create(run)
    }

    fn open<'s>(&'s self, run: &'s str) -> StoreFuture<'s, Claim> {
        Box::pin(async move {
            let claim = self.pass(self.store.open(run)).await;
            if let Some(opened) = &self.opened {
                opened.wait().await;
            }
            claim
        })
    }

    fn commit<'s>(&'s self, run: &'s str, epoch: u64, changes: Vec<Change>) -> StoreFuture<'s, ()> {
        Box::pin(self.pass(self.store.commit(run, epoch, changes)))
    }

    fn wait_for_stop<'s>(
        &'s self,
        run: &'s str,
        known: Option<StopMode>,
    ) -> StoreFuture<'s, StopMode> {
        Box::pin(self.pass(self.store.wait_for_stop(run, known)))
    }

    fn request_stop<'s>(&'s self, run: &'s str, mode: StopMode) -> StoreFuture<'s, ()> {
        self.store.request_stop(run, mode)
    }

    fn end<'s>(
        &'s self,
        run: &'s str,
        status: RunStatus,
        reason: Option<String>,
    ) -> StoreFuture<'s, ()> {
        self.store.end(run, status, reason)
    }
}

const STEPS: usize = 20;

/// Five layers of four steps.
fn pipeline() -> Pipeline {
    let name = |number: usize| format!("step-{number}");
    let step = |number: usize| Step {
        name: name(number),
        command: vec!["true".into()],
        after: match number.checked_sub(4) {
            None => Vec::new(),
            Some(above) => vec![name(above), name(above / 4 * 4)],
        },
        image: "image".into(),
        settings: "{}".into(),
        resources: Resources {
            cpu_count: None,
            gpu_count: None,
            memory: None,
        },
        environment: Vec::new(),
        retry: Retry {
            max_retries: 1,
            delay: 0.0,
            backoff: 1.0,
        },
    };
    let mut steps: Vec<Step> = (0..STEPS).map(step).collect();
    for step in &mut steps {
        step.after.dedup();
    }
    Pipeline {
        run_id: "run".into(),
        name: "resumed".into(),
        execution_mode: ExecutionMode::FailFast,
        max_parallelism: None,
        steps,
    }
}

/// A world in which one run takes place.
struct World {
    directory: tempfile::TempDir,
    server: Server,
    fuse: watch::Sender<Arc<Fuse>>,
}

impl World {
    fn new() -> Self {
        let fuse = watch::Sender::new(Fuse::new(u64::MAX));
        let current = fuse.subscribe();
        let gate = Gate::new(move || {
            let fuse = Arc::clone(&current.borrow());
            async move { fuse.pass().await }
        });
        Self {
            directory: tempfile::tempdir().unwrap(),
            server: Server::behind(gate, Script::default()).unwrap(),
            fuse,
        }
    }

    /// What a process that begins now runs with.
    fn request(&self, opened: Option<Arc<Barrier>>) -> RunRequest {
        let credentials = TokenPair::new("ak-1", Secret::new("as-1")).unwrap();
        let target = Target::new(self.server.url(), credentials).unwrap();
        let store = Fused {
            store: open(self.directory.path()),
            fuse: Arc::clone(&self.fuse.borrow()),
            opened,
        };
        let mut request = RunRequest::new(pipeline(), target, Arc::new(store));
        request.outputs = false;
        request
    }

    /// A controller that dies at a call; true when it had ended before.
    fn controller(&self, resumed: bool, dies_at: u64) -> bool {
        let fuse = Fuse::new(dies_at);
        self.fuse.send_replace(Arc::clone(&fuse));
        let living = async {
            let finished = self.live(resumed, None).await;
            assert_eq!(finished.unwrap().status, RunStatus::Completed);
        };
        runtime().block_on(async {
            tokio::select! {
                () = living => true,
                () = fuse.blows() => false,
            }
        })
    }

    async fn live(
        &self,
        resumed: bool,
        opened: Option<Arc<Barrier>>,
    ) -> Result<RunFinished, StartError> {
        let request = self.request(opened);
        let run = match resumed {
            true => PLUGIN.resume(request).await?,
            false => PLUGIN.run(request).await?,
        };
        Ok(run.finish().await?)
    }

    /// Every step ran exactly once, and to its end.
    fn assert_ran_once(&self, what: &str) {
        assert_eq!(self.server.created(), STEPS, "{what}");
        let ended = self.server.ended();
        assert_eq!(ended.len(), STEPS, "{what}");
        assert!(ended.values().all(|end| !end.terminated), "{what}");
        let record = open(self.directory.path());
        let record = runtime().block_on(record.run("run")).unwrap().unwrap();
        assert_eq!(record.summary.status, RunStatus::Completed, "{what}");
        let is_done = |status| status == StepStatus::Completed;
        assert!(record.steps.iter().all(|step| is_done(step.status)));
        assert!(record.steps.iter().all(|step| step.attempt == 0), "{what}");
    }
}

fn open(directory: &Path) -> SqliteStore {
    SqliteStore::open(&directory.join("runs.db"), false).unwrap()
}

/// Does something for one number after the other, on several threads: it is mostly
/// waiting.
fn for_each(numbers: impl Iterator<Item = u64> + Send, work: impl Fn(u64) -> bool + Sync) -> u64 {
    const AT_ONCE: usize = 12;
    LazyLock::force(&PLUGIN);
    let numbers = std::sync::Mutex::new(numbers);
    let (done, is_over) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while is_over.load(Ordering::SeqCst) == 0 {
                    let number = numbers.lock().unwrap().next();
                    match number {
                        Some(number) if work(number) => done.fetch_add(1, Ordering::SeqCst),
                        _ => is_over.fetch_add(1, Ordering::SeqCst),
                    };
                }
            });
        }
    });
    done.into_inner()
}

#[test]
fn a_controller_may_die_at_every_call_and_so_may_the_next() {
    let killed = for_each(1.., |call| {
        let world = World::new();
        let is_over = world.controller(false, call);
        if !is_over {
            // Somewhere before the place where the first one died, or after it.
            let next = 1 + call * 7 % (call + 10);
            if !world.controller(true, next) {
                assert!(world.controller(true, u64::MAX));
            }
        }
        world.assert_ran_once(&format!("call {call}"));
        !is_over
    });
    // A start, four calls at least for every layer, and the end.
    assert!(killed > 60, "{killed}");
}

#[test]
fn of_two_that_take_over_at_once_one_loses_and_touches_nothing() {
    let rounds = for_each(1..=100, |round| {
        let world = World::new();
        if world.controller(false, 5 + round * 2) {
            return true;
        }
        world.fuse.send_replace(Fuse::new(u64::MAX));
        let opened = Arc::new(Barrier::new(2));
        let one = || world.live(true, Some(Arc::clone(&opened)));
        let ends = runtime().block_on(async {
            let (one, other) = tokio::join!(one(), one());
            [one, other].map(Result::unwrap)
        });
        let is_loser = |end: &&RunFinished| {
            end.error == Some(PluginError::Store(StoreError::Fenced))
                && end.status == RunStatus::Failed
        };
        let what = format!("round {round}: {ends:?}");
        assert_eq!(ends.iter().filter(is_loser).count(), 1, "{what}");
        world.assert_ran_once(&what);
        true
    });
    assert_eq!(rounds, 100);
}

#[test]
fn a_run_that_is_let_go_of_is_not_stopped() {
    let world = World::new();
    let runtime = runtime();
    runtime.block_on(async {
        let run = PLUGIN.run(world.request(None)).await.unwrap();
        run.abandon().await;
        let finished = world.live(true, None).await.unwrap();
        assert_eq!(finished.status, RunStatus::Completed);
    });
    world.assert_ran_once("abandoned");
}

#[test]
fn what_does_not_begin_again_can_be_tried_again() {
    let world = World::new();
    assert!(!world.controller(false, 40));
    let mut request = world.request(None);
    let credentials = TokenPair::new("ak-1", Secret::new("as-1")).unwrap();
    // Nobody listens there.
    request.target = Target::new("http://127.0.0.1:1", credentials).unwrap();
    let refused = runtime().block_on(PLUGIN.resume(request));
    assert!(matches!(refused, Err(StartError::Run(_))));
    assert!(world.controller(true, u64::MAX));
    world.assert_ran_once("tried again");

    let mut unknown = world.request(None);
    unknown.pipeline.run_id = "none".into();
    match runtime().block_on(PLUGIN.resume(unknown)) {
        Err(StartError::Run(flavor_host::Error::Plugin(PluginError::Store(error)))) => {
            assert_eq!(error, StoreError::UnknownRun);
        }
        other => panic!("{:?}", other.err()),
    }
}
