//! What many sandboxes cost and leave behind, run by hand:
//! `cargo test --test sdk -- --ignored --nocapture by_hand`

use crate::servers::{Flavor, TOKEN_ID, TOKEN_SECRET};
use futures::stream::{self, StreamExt as _};
use libtest_mimic::Trial;
use modal_proto::client::{self as pb, modal_client_client::ModalClientClient};
use modal_proto::task_command_router::{self as tcr, task_command_router_client as router};
use std::fmt;
use std::fs;
use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Sandboxes at once, each with a command that writes.
const AT_ONCE: usize = 200;
/// Lines that such a command writes, ten a second.
const LINES: usize = 200;

/// Sandboxes that are created and terminated.
const CYCLES: usize = 10_000;
/// As many before anything is measured: more than the server remembers.
const WARM_UP: usize = 1_500;
/// Cycles under way at one time.
const IN_FLIGHT: usize = 16;

/// What may be left in memory of thousands of sandboxes: the allocator's, not the
/// server's.
const MEMORY: u64 = 32 * 1024 * 1024;

/// What the server says of every new image.
const IMAGES: &str = "the local Modal ignores images";

/// How long the last removals may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Directories below that of the state at most: the server remembers a thousand
/// sandboxes that ended, with three each, and keeps some for the next ones.
const DIRECTORIES: usize = 3 * 1_000 + 1_000;

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn()| {
        let run = move || {
            test();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(true)
    };
    vec![
        trial("by_hand::two_hundred_at_once", || soak(two_hundred_at_once)),
        trial("by_hand::ten_thousand_cycles", || soak(ten_thousand_cycles)),
    ]
}

fn soak<F: Future>(test: fn(Soak) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        test(Soak::start().await).await;
    });
}

async fn two_hundred_at_once(soak: Soak) {
    // Once, so that what is kept for later is there.
    at_once(&soak).await;
    let before = soak.usage();
    let started = Instant::now();
    let (during, bytes) = at_once(&soak).await;
    let took = started.elapsed();
    eprintln!("{AT_ONCE} sandboxes, {bytes} bytes of output in {took:?}");
    soak.conclude(before, Some(during)).await;
}

/// Runs them side by side; tells what that costs while all write, and how many
/// bytes arrived.
async fn at_once(soak: &Soak) -> (Usage, usize) {
    let all = stream::iter(0..AT_ONCE).map(|_| soak.create());
    let sandboxes: Vec<_> = all.buffer_unordered(IN_FLIGHT).collect().await;
    let reads = sandboxes.iter().map(|sandbox| soak.stream(sandbox));
    let reading = futures::future::join_all(reads);
    let measuring = async {
        // In the middle of their writing: each has two commands.
        until(|| soak.processes() == 2 * AT_ONCE).await;
        soak.usage()
    };
    let (read, during) = futures::join!(reading, measuring);
    let ends = stream::iter(&sandboxes).map(|sandbox| soak.terminate(&sandbox.id));
    ends.buffer_unordered(IN_FLIGHT).collect::<Vec<_>>().await;
    (during, read.into_iter().sum())
}

async fn ten_thousand_cycles(soak: Soak) {
    cycle(&soak, WARM_UP).await;
    let before = soak.usage();
    let started = Instant::now();
    cycle(&soak, CYCLES).await;
    let took = started.elapsed();
    let each = took / u32::try_from(CYCLES).unwrap();
    eprintln!("{CYCLES} sandboxes created and terminated in {took:?}, {each:?} each");
    soak.conclude(before, None).await;
}

async fn cycle(soak: &Soak, count: usize) {
    let cycles = stream::iter(0..count).map(|_| async {
        let sandbox = soak.create().await;
        soak.terminate(&sandbox.id).await;
    });
    cycles.buffer_unordered(IN_FLIGHT).collect::<Vec<_>>().await;
}

/// A server and its client.
struct Soak {
    flavor: Flavor,
    state: tempfile::TempDir,
    channel: Channel,
    /// How long the commands of sandboxes sleep, in seconds. Every command has it
    /// in its arguments, and no other process.
    mark: String,
    app: String,
    image: String,
}

struct Sandbox {
    id: String,
    task: String,
    jwt: String,
}

type Control = ModalClientClient<InterceptedService<Channel, fn(Request<()>) -> Answer>>;
type Answer = Result<Request<()>, Status>;

/// Adds the token to a call.
fn authenticate(mut request: Request<()>) -> Answer {
    let metadata = request.metadata_mut();
    for (name, value) in [
        ("x-modal-token-id", TOKEN_ID),
        ("x-modal-token-secret", TOKEN_SECRET),
    ] {
        metadata.insert(name, value.parse().expect("a header"));
    }
    Ok(request)
}

impl Soak {
    async fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let flavor = Flavor::start(["--state".as_ref(), state.path().as_os_str()]);
        let endpoint = Endpoint::from_shared(flavor.url().to_owned()).unwrap();
        let channel = endpoint.connect().await.expect("a connection");
        let mut soak = Self {
            mark: format!("86399.{}", flavor.pid()),
            flavor,
            state,
            channel,
            app: String::new(),
            image: String::new(),
        };
        let app = pb::AppGetOrCreateRequest {
            app_name: "soak".to_owned(),
            object_creation_type: pb::ObjectCreationType::CreateIfMissing.into(),
            ..Default::default()
        };
        let app = soak.control().app_get_or_create(app).await.unwrap();
        soak.app = app.into_inner().app_id;
        let image = pb::ImageGetOrCreateRequest {
            app_id: soak.app.clone(),
            image: Some(pb::Image::default()),
            ..Default::default()
        };
        let image = soak.control().image_get_or_create(image).await.unwrap();
        soak.image = image.into_inner().image_id;
        soak
    }

    fn control(&self) -> Control {
        ModalClientClient::with_interceptor(self.channel.clone(), authenticate as fn(_) -> _)
    }

    async fn create(&self) -> Sandbox {
        let request = pb::SandboxCreateV2Request {
            app_id: self.app.clone(),
            definition: Some(pb::Sandbox {
                entrypoint_args: vec!["sleep".to_owned(), self.mark.clone()],
                image_id: self.image.clone(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let created = self.control().sandbox_create_v2(request).await.unwrap();
        let created = created.into_inner();
        Sandbox {
            id: created.sandbox_id,
            task: created.task_id,
            jwt: created.command_router_access.unwrap().jwt,
        }
    }

    async fn terminate(&self, sandbox: &str) {
        let request = pb::SandboxTerminateRequest {
            sandbox_id: sandbox.to_owned(),
        };
        self.control().sandbox_terminate_v2(request).await.unwrap();
    }

    /// Runs a command that writes for a while, reads it to its end, and tells how
    /// many bytes it wrote.
    async fn stream(&self, sandbox: &Sandbox) -> usize {
        let bearer = format!("Bearer {}", sandbox.jwt);
        let mut router = router::TaskCommandRouterClient::with_interceptor(
            self.channel.clone(),
            move |mut request: Request<()>| {
                let metadata = request.metadata_mut();
                metadata.insert("authorization", bearer.parse().expect("a header"));
                Answer::Ok(request)
            },
        );
        let mark = &self.mark;
        let (task_id, exec_id) = (sandbox.task.clone(), format!("exec-{}", sandbox.id));
        let script = format!(
            "i=0; while [ $i -lt {LINES} ]; do echo $i; i=$((i+1)); sleep 0.1; done; : {mark}"
        );
        let start = tcr::TaskExecStartRequest {
            task_id: task_id.clone(),
            exec_id: exec_id.clone(),
            command_args: ["sh".to_owned(), "-c".to_owned(), script].into(),
            stdout_config: tcr::TaskExecStdoutConfig::Pipe.into(),
            stderr_config: tcr::TaskExecStderrConfig::Pipe.into(),
            ..Default::default()
        };
        router.task_exec_start(start).await.unwrap();
        let read = tcr::TaskExecStdioReadRequest {
            task_id,
            exec_id,
            ..Default::default()
        };
        let mut chunks = router
            .task_exec_stdio_read(read)
            .await
            .unwrap()
            .into_inner();
        let mut read = Vec::new();
        while let Some(chunk) = chunks.message().await.unwrap() {
            read.extend(chunk.data);
        }
        let wanted: String = (0..LINES).map(|line| format!("{line}\n")).collect();
        assert_eq!(String::from_utf8_lossy(&read), wanted);
        read.len()
    }

    /// Commands of its sandboxes.
    fn processes(&self) -> usize {
        let all = fs::read_dir("/proc").unwrap();
        let lines = all.filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
        lines
            .filter(|line| String::from_utf8_lossy(line).contains(&self.mark))
            .count()
    }

    fn usage(&self) -> Usage {
        Usage {
            processes: self.processes(),
            descriptors: fs::read_dir(self.flavor.proc().join("fd")).unwrap().count(),
            directories: directories(self.state.path()),
            memory: memory(&self.flavor.proc()),
        }
    }

    /// Waits until nothing runs any more, and tells what is left.
    async fn conclude(self, before: Usage, during: Option<Usage>) {
        let is_settled = |now: &Usage| {
            now.processes == 0
                && now.descriptors <= before.descriptors
                && now.directories <= DIRECTORIES
        };
        until(|| is_settled(&self.usage())).await;
        let after = self.usage();
        eprintln!("before: {before}");
        if let Some(during) = during {
            eprintln!("during: {during}");
        }
        eprintln!("after:  {after}");
        assert!(is_settled(&after), "something is left");
        assert!(after.memory <= before.memory + MEMORY, "memory grows");
        let complaints = self.flavor.stop();
        let others = complaints.lines().filter(|line| !line.contains(IMAGES));
        assert_eq!(others.collect::<Vec<_>>(), [""; 0], "the server complains");
    }
}

/// What a server holds.
struct Usage {
    /// Commands of sandboxes.
    processes: usize,
    /// Of the server.
    descriptors: usize,
    /// Below its state directory.
    directories: usize,
    /// Bytes of it that are resident.
    memory: u64,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            processes,
            descriptors,
            directories,
            memory,
        } = self;
        let mebibytes = memory / (1024 * 1024);
        write!(
            f,
            "{processes} processes, {descriptors} descriptors, {directories} directories, \
             {mebibytes} MiB"
        )
    }
}

/// Waits for a condition, though not for ever.
async fn until(condition: impl Fn() -> bool) {
    let give_up_at = Instant::now() + PATIENCE;
    while !condition() && Instant::now() < give_up_at {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn directories(root: &Path) -> usize {
    // It changes meanwhile.
    let Ok(entries) = fs::read_dir(root) else {
        return 0;
    };
    let below = entries.filter_map(Result::ok).filter_map(|entry| {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        is_directory.then(|| 1 + directories(&entry.path()))
    });
    below.sum()
}

fn memory(process: &Path) -> u64 {
    let pages = fs::read_to_string(process.join("statm")).unwrap();
    let resident = pages.split(' ').nth(1).unwrap();
    resident.parse::<u64>().unwrap() * 4096
}
