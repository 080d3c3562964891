//! Sandboxes without processes: a script says what their commands do, and tokio's
//! clock when.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use modal_proto::client::GenericStatus;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, sleep, sleep_until},
};

use super::{
    Build, Chunk, ExecLaunch, Executor, Exit, Hash, Heads, Input, Launch, NeverRan, Output,
    Outputs, Pin, ProcessExit, Stop, Streams,
};
use crate::{
    ids::{ImageId, SandboxId},
    sandbox::Sandbox,
    simulated::{Behaviour, End, Images, Launched, Script, Stream},
    sync::{Watched, lock},
};

/// Does with sandboxes what a script says.
#[derive(Debug)]
pub(crate) struct ScriptedExecutor {
    script: Arc<dyn Script>,
    /// GPUs by kind; a kind that is not here is never short.
    gpus: BTreeMap<String, Gpus>,
    images: Images,
    /// When images are built that were asked for.
    built: Mutex<BTreeMap<ImageId, Instant>>,
}

/// GPUs of one kind.
#[derive(Debug)]
struct Gpus {
    free: Arc<Semaphore>,
    all: u32,
}

impl ScriptedExecutor {
    pub(crate) fn new(
        script: Arc<dyn Script>,
        gpus: &BTreeMap<String, u32>,
        images: Images,
    ) -> Self {
        let of_kind = |all: u32| Gpus {
            free: Arc::new(Semaphore::new(
                usize::try_from(all).map_or(Semaphore::MAX_PERMITS, |all| {
                    all.min(Semaphore::MAX_PERMITS)
                }),
            )),
            all,
        };
        Self {
            script,
            gpus: gpus
                .iter()
                .map(|(kind, all)| (kind.clone(), of_kind(*all)))
                .collect(),
            images,
            built: Mutex::default(),
        }
    }

    /// The GPUs that a sandbox asks for, once they are free.
    fn gpus(&self, sandbox: &Sandbox) -> BoxFuture<'static, Result<Gpu, String>> {
        let resources = sandbox.definition.resources.as_ref();
        let wanted = resources.and_then(|resources| resources.gpu_config.as_ref());
        let known = wanted.and_then(|gpu| Some((gpu, self.gpus.get(&gpu.gpu_type)?)));
        let Some((gpu, gpus)) = known else {
            return async { Ok(None) }.boxed();
        };
        let count = gpu.count.max(1);
        if count > gpus.all {
            let reason = format!(
                "{count} GPUs of the kind {} are more than the {} that there are",
                gpu.gpu_type, gpus.all
            );
            return async { Err(reason) }.boxed();
        }
        let free = Arc::clone(&gpus.free);
        // Closed never, so waiting cannot fail.
        async move { Ok(free.acquire_many_owned(count).await.ok()) }.boxed()
    }
}

/// Held while a sandbox has GPUs.
type Gpu = Option<OwnedSemaphorePermit>;

impl Executor for ScriptedExecutor {
    fn run(
        &self,
        launch: Launch,
        started: oneshot::Sender<Streams>,
        mut stop: Stop,
    ) -> BoxFuture<'static, Exit> {
        let gpus = self.gpus(&launch.sandbox);
        let behaviour = self.script.behaviour(&Launched {
            name: launch
                .sandbox
                .name
                .clone()
                .map_or_else(String::new, String::from),
            tags: launch.sandbox.tags().into(),
            command: launch.argv,
            environment: launch.env,
        });
        async move {
            let starting = async {
                let gpus = gpus.await?;
                match behaviour.starts_after {
                    Some(time) => sleep(time).await,
                    None => std::future::pending().await,
                }
                Ok::<Gpu, String>(gpus)
            };
            let _gpus = tokio::select! {
                biased;
                () = stop.requested() => return Exit::never_ran(1, "ended before it started"),
                starting = starting => match starting {
                    Ok(gpus) => gpus,
                    Err(reason) => return Exit::never_ran(1, reason),
                },
            };
            if let End::NeverRan(reason) = &behaviour.end {
                return Exit::never_ran(1, reason.clone());
            }
            let ended = Arc::new(Watched::new(None));
            let start = Instant::now();
            // Nobody may be interested.
            let _ = started.send(streams(&behaviour, start, &ended));
            let exit = live(&behaviour, start, &mut stop).await;
            ended.set(Some(Instant::now()));
            exit
        }
        .boxed()
    }

    fn exec(
        &self,
        _: ExecLaunch,
        _: oneshot::Sender<Streams>,
        _: Stop,
    ) -> BoxFuture<'static, Result<ProcessExit, NeverRan>> {
        async {
            Err(NeverRan::CannotStart {
                code: 126,
                reason: "a simulated sandbox runs no commands but its own".to_owned(),
            })
        }
        .boxed()
    }

    fn snapshot(&self, sandbox: SandboxId) -> BoxFuture<'static, io::Result<Hash>> {
        async move { Ok(Hash::of(sandbox.as_str().as_bytes())) }.boxed()
    }

    fn retain_snapshots(&self, _: BTreeSet<Hash>) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }

    fn disk_usage(&self) -> BoxFuture<'static, io::Result<u64>> {
        async { Ok(0) }.boxed()
    }

    fn reopen(&self, _: Vec<(SandboxId, Heads)>) -> BTreeMap<SandboxId, Outputs> {
        BTreeMap::new()
    }

    fn forget(&self, _: SandboxId) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }

    fn ignores_images(&self) -> bool {
        // No command runs at all.
        false
    }

    fn build(&self, image: &ImageId) -> Build {
        if self.images.build_time.is_zero() && self.images.failure.is_none() {
            return Build::Done;
        }
        let now = Instant::now();
        let mut built = lock(&self.built);
        let ready = *built
            .entry(image.clone())
            .or_insert_with(|| now.checked_add(self.images.build_time).unwrap_or(now));
        match (&self.images.failure, ready > now) {
            (_, true) => Build::UnderWay(ready),
            (Some(reason), false) => Build::Failed(reason.clone()),
            (None, false) => Build::Done,
        }
    }
}

/// Runs a command to its end.
async fn live(behaviour: &Behaviour, start: Instant, stop: &mut Stop) -> Exit {
    let by_itself = async {
        match behaviour.runs.and_then(|time| start.checked_add(time)) {
            Some(end) => sleep_until(end).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = by_itself => exit(&behaviour.end),
        () = stop.requested() => {
            sleep(behaviour.lingers).await;
            // What it was ended for is what counts.
            Exit::terminated("")
        }
    }
}

fn exit(end: &End) -> Exit {
    match end {
        End::Exit(code) => Exit::code(*code),
        End::Signal(signal) => Exit::signal(*signal),
        End::Lost => Exit::lost("the machine was lost"),
        End::Evicted => Exit {
            status: GenericStatus::Terminated,
            code: 137,
            reason: "the machine was taken away".to_owned(),
        },
        End::NeverRan(reason) => Exit::never_ran(1, reason.clone()),
    }
}

fn streams(
    behaviour: &Behaviour,
    start: Instant,
    ended: &Arc<Watched<Option<Instant>>>,
) -> Streams {
    let output = |stream: Stream| {
        let pieces = behaviour.output.iter();
        let mut offset = 0_u64;
        let pieces = pieces
            .filter(|piece| piece.stream == stream && !piece.data.is_empty())
            .map(|piece| {
                let begins = offset;
                offset = offset.saturating_add(piece.data.len() as u64);
                Piece {
                    begins,
                    at: start.checked_add(piece.after).unwrap_or(start),
                    data: piece.data.clone(),
                }
            });
        let output: Arc<dyn Output> = Arc::new(Writing {
            pieces: pieces.collect(),
            ended: Arc::clone(ended),
        });
        output
    };
    Streams {
        input: Arc::new(Deaf),
        outputs: Outputs {
            stdout: output(Stream::Stdout),
            stderr: output(Stream::Stderr),
        },
    }
}

/// One stream of a command that writes by the clock, until its command ends.
#[derive(Debug)]
struct Writing {
    pieces: Vec<Piece>,
    ended: Arc<Watched<Option<Instant>>>,
}

#[derive(Debug)]
struct Piece {
    begins: u64,
    at: Instant,
    data: Bytes,
}

impl Piece {
    fn ends(&self) -> u64 {
        self.begins.saturating_add(self.data.len() as u64)
    }
}

impl Writing {
    /// The piece that holds an offset, or follows it.
    fn piece(&self, offset: u64) -> Option<&Piece> {
        let index = self.pieces.partition_point(|piece| piece.ends() <= offset);
        self.pieces.get(index)
    }
}

impl Output for Writing {
    fn read(&self, offset: u64) -> BoxFuture<'_, io::Result<Option<Chunk>>> {
        async move {
            let mut at_end = pin!(self.ended.wait_for(Option::is_some));
            let Some(piece) = self.piece(offset) else {
                at_end.await;
                return Ok(None);
            };
            let end = tokio::select! {
                biased;
                () = sleep_until(piece.at) => None,
                end = &mut at_end => end,
            };
            // What was to come after the end never came.
            if end.is_some_and(|end| end < piece.at) {
                return Ok(None);
            }
            let skip = usize::try_from(offset.saturating_sub(piece.begins)).unwrap_or(usize::MAX);
            let bytes = piece.data.slice(skip.min(piece.data.len())..);
            Ok(Some(Chunk {
                start: offset.max(piece.begins),
                bytes,
            }))
        }
        .boxed()
    }

    fn pin(&self, _: u64) -> Option<Pin> {
        None
    }

    fn head(&self) -> Bytes {
        Bytes::new()
    }

    fn kept(&self) -> u64 {
        self.pieces.last().map_or(0, Piece::ends)
    }

    fn discard(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}

/// Nobody reads.
#[derive(Debug)]
struct Deaf;

impl Input for Deaf {
    fn write(&self, _: Bytes) -> BoxFuture<'_, io::Result<usize>> {
        async { Err(io::ErrorKind::BrokenPipe.into()) }.boxed()
    }

    fn close(&self) -> BoxFuture<'_, io::Result<()>> {
        async { Ok(()) }.boxed()
    }
}

impl Default for Images {
    fn default() -> Self {
        Self {
            build_time: Duration::ZERO,
            failure: None,
        }
    }
}
