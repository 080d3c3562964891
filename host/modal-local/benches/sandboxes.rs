//! Prints figures, asserts nothing: `cargo bench -p modal-local`. A number after
//! `--` says how many sandboxes run one after another (1,000).
//!
//! Server and client are one process and one runtime, connected over loopback.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that prints figures"
)]

use std::{
    fs,
    time::{Duration, Instant},
};

use futures::future::join_all;
use modal_local::{Options, Server};
use modal_proto::{
    client::{self as pb, modal_client_client::ModalClientClient},
    task_command_router::{
        SandboxStdioReadV2Request, TaskExecStartRequest, TaskExecStdinWriteStreamEnd,
        TaskExecStdinWriteStreamRequest, TaskExecStdinWriteStreamStart, TaskExecStdioReadRequest,
        TaskExecStdoutConfig, TaskExecWaitRequest, TaskSnapshotFilesystemRequest,
        task_command_router_client::TaskCommandRouterClient,
        task_exec_stdin_write_stream_request::Payload, task_exec_wait_response::ExitStatus,
    },
};
use tonic::{
    Request, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

type Router = TaskCommandRouterClient<InterceptedService<Channel, Interceptor>>;
type Interceptor = Box<dyn FnMut(Request<()>) -> Result<Request<()>, Status> + Send + Sync>;

struct Bench {
    channel: Channel,
    credentials: modal_local::Credentials,
    app: String,
    image: String,
}

fn main() {
    // `cargo test --benches` asks for tests, of which there are none.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let times = std::env::args().find_map(|argument| argument.parse().ok());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let server = Server::start(Options::default()).await.unwrap();
        let bench = Bench::connect(&server).await;
        bench.latency(times.unwrap_or(1_000)).await;
        bench.at_once(200).await;
        bench.one_line(10_000_000).await;
        bench.throughput(100_000_000).await;
        bench.execs(times.unwrap_or(1_000)).await;
        println!("resident at the end: {:.1} MB", status("VmRSS:"));
        server.shutdown().await;
    });
}

impl Bench {
    async fn connect(server: &Server) -> Self {
        let channel = Endpoint::from_shared(server.url()).unwrap();
        let mut bench = Self {
            channel: channel.connect().await.unwrap(),
            credentials: server.credentials().clone(),
            app: String::new(),
            image: String::new(),
        };
        let mut control = bench.control();
        let app = pb::AppGetOrCreateRequest {
            app_name: "bench".into(),
            object_creation_type: pb::ObjectCreationType::CreateIfMissing.into(),
            ..pb::AppGetOrCreateRequest::default()
        };
        bench.app = control
            .app_get_or_create(app)
            .await
            .unwrap()
            .into_inner()
            .app_id;
        let image = pb::ImageGetOrCreateRequest {
            app_id: bench.app.clone(),
            image: Some(pb::Image::default()),
            ..pb::ImageGetOrCreateRequest::default()
        };
        let image = control.image_get_or_create(image).await.unwrap();
        bench.image = image.into_inner().image_id;
        bench
    }

    fn control(&self) -> ModalClientClient<InterceptedService<Channel, Interceptor>> {
        let credentials = self.credentials.clone();
        let interceptor: Interceptor = Box::new(move |mut request| {
            let metadata = request.metadata_mut();
            metadata.insert("x-modal-token-id", credentials.token_id.parse().unwrap());
            metadata.insert(
                "x-modal-token-secret",
                credentials.token_secret.parse().unwrap(),
            );
            Ok(request)
        });
        ModalClientClient::with_interceptor(self.channel.clone(), interceptor)
    }

    async fn create(&self, command: &[&str]) -> pb::SandboxCreateV2Response {
        let request = pb::SandboxCreateV2Request {
            app_id: self.app.clone(),
            definition: Some(pb::Sandbox {
                entrypoint_args: command.iter().map(|text| (*text).to_owned()).collect(),
                image_id: self.image.clone(),
                ..pb::Sandbox::default()
            }),
            ..pb::SandboxCreateV2Request::default()
        };
        self.control()
            .sandbox_create_v2(request)
            .await
            .unwrap()
            .into_inner()
    }

    async fn wait(&self, sandbox_id: String) {
        let request = pb::SandboxWaitRequest {
            sandbox_id,
            timeout: 60.0,
        };
        let response = self.control().sandbox_wait_v2(request).await.unwrap();
        assert!(response.into_inner().result.is_some());
    }

    fn router(&self, sandbox: &pb::SandboxCreateV2Response) -> Router {
        let jwt = sandbox.command_router_access.clone().unwrap().jwt;
        let interceptor: Interceptor = Box::new(move |mut request| {
            let bearer = format!("Bearer {jwt}").parse().unwrap();
            request.metadata_mut().insert("authorization", bearer);
            Ok(request)
        });
        TaskCommandRouterClient::with_interceptor(self.channel.clone(), interceptor)
    }

    /// Reads stdout to the end and throws it away; returns its length.
    async fn drain(&self, sandbox: &pb::SandboxCreateV2Response) -> usize {
        let mut router = self.router(sandbox);
        let request = SandboxStdioReadV2Request {
            task_id: sandbox.task_id.clone(),
            ..SandboxStdioReadV2Request::default()
        };
        let mut stream = router
            .sandbox_stdio_read_v2(request)
            .await
            .unwrap()
            .into_inner();
        let mut length = 0;
        while let Some(chunk) = stream.message().await.unwrap() {
            length += chunk.data.len();
        }
        length
    }

    async fn latency(&self, times: usize) {
        let mut taken = Vec::with_capacity(times);
        for _ in 0..times {
            let begin = Instant::now();
            let sandbox = self.create(&["true"]).await;
            self.wait(sandbox.sandbox_id).await;
            taken.push(begin.elapsed());
        }
        taken.sort();
        let at = |part: usize| taken.get(times * part / 100).copied().unwrap_or_default();
        println!(
            "create, run `true`, wait: median {:.2?}, 99 % below {:.2?}",
            at(50),
            at(99)
        );
    }

    async fn at_once(&self, number: usize) {
        let begin = Instant::now();
        let created = join_all((0..number).map(|_| self.create(&["sleep", "100"]))).await;
        let answered = begin.elapsed();
        let ended = join_all(created.into_iter().map(|sandbox| async {
            let request = pb::SandboxTerminateRequest {
                sandbox_id: sandbox.sandbox_id,
            };
            self.control().sandbox_terminate_v2(request).await.unwrap();
        }));
        ended.await;
        let terminated = begin.elapsed();
        println!("{number} at once: created in {answered:.2?}, all ended after {terminated:.2?}");
        let begin = Instant::now();
        let runs = (0..number).map(|_| async {
            let sandbox = self.create(&["true"]).await;
            self.wait(sandbox.sandbox_id).await;
        });
        join_all(runs).await;
        println!("{number} times `true` at once: {:.2?}", begin.elapsed());
    }

    async fn one_line(&self, length: usize) {
        // What follows is about what is needed on top of this.
        let before = status("VmRSS:");
        let _ = fs::write("/proc/self/clear_refs", "5");
        let script = format!("head -c {length} /dev/zero | tr '\\0' x");
        let sandbox = self.create(&["sh", "-c", &script]).await;
        assert_eq!(self.drain(&sandbox).await, length);
        println!(
            "a line of {:.0} MB: {:.1} MB of memory above the {before:.1} MB before",
            megabytes(length),
            status("VmHWM:") - before
        );
    }

    async fn throughput(&self, length: usize) {
        let script = format!("head -c {length} /dev/zero");
        let begin = Instant::now();
        let sandbox = self.create(&["sh", "-c", &script]).await;
        // What is over the cap by then is gone.
        let read = self.drain(&sandbox).await;
        rate("written and followed", read, begin.elapsed());
        self.wait(sandbox.sandbox_id.clone()).await;
        let begin = Instant::now();
        let read = self.drain(&sandbox).await;
        rate("read again", read, begin.elapsed());
    }
}

/// Commands executed in one sandbox.
struct Execs {
    router: Router,
    task_id: String,
    number: usize,
}

impl Execs {
    async fn start(&mut self, command: &[&str]) -> String {
        self.number += 1;
        let exec_id = self.number.to_string();
        let request = TaskExecStartRequest {
            task_id: self.task_id.clone(),
            exec_id: exec_id.clone(),
            command_args: command.iter().map(|text| (*text).to_owned()).collect(),
            stdout_config: TaskExecStdoutConfig::Pipe.into(),
            ..TaskExecStartRequest::default()
        };
        self.router.task_exec_start(request).await.unwrap();
        exec_id
    }

    async fn wait(&mut self, exec_id: String) {
        let request = TaskExecWaitRequest {
            task_id: self.task_id.clone(),
            exec_id,
        };
        let answer = self.router.task_exec_wait(request).await.unwrap();
        assert_eq!(answer.into_inner().exit_status, Some(ExitStatus::Code(0)));
    }

    async fn drain(&mut self, exec_id: String) -> usize {
        let request = TaskExecStdioReadRequest {
            task_id: self.task_id.clone(),
            exec_id,
            ..TaskExecStdioReadRequest::default()
        };
        let stream = self.router.task_exec_stdio_read(request).await.unwrap();
        let (mut stream, mut length) = (stream.into_inner(), 0);
        while let Some(chunk) = stream.message().await.unwrap() {
            length += chunk.data.len();
        }
        length
    }

    /// One stream of messages of 256 KiB, as the official clients send them.
    async fn upload(&mut self, exec_id: String, length: usize) {
        let part = |payload| TaskExecStdinWriteStreamRequest {
            payload: Some(payload),
        };
        let start = part(Payload::Start(TaskExecStdinWriteStreamStart {
            task_id: self.task_id.clone(),
            exec_id: exec_id.clone(),
            offset: 0,
        }));
        let chunk = 256 * 1024;
        let data = (0..length.div_ceil(chunk))
            .map(move |number| part(Payload::Data(vec![1; chunk.min(length - number * chunk)])));
        let end = part(Payload::End(TaskExecStdinWriteStreamEnd {}));
        let messages = std::iter::once(start).chain(data).chain([end]);
        let messages = futures::stream::iter(messages.collect::<Vec<_>>());
        let sent = self.router.task_exec_stdin_write_stream(messages).await;
        sent.unwrap();
        self.wait(exec_id).await;
    }
}

impl Bench {
    async fn execs(&self, times: usize) {
        let sandbox = self.create(&[]).await;
        let mut execs = Execs {
            router: self.router(&sandbox),
            task_id: sandbox.task_id.clone(),
            number: 0,
        };
        let mut taken = Vec::with_capacity(times);
        for _ in 0..times {
            let begin = Instant::now();
            let exec = execs.start(&["true"]).await;
            execs.wait(exec).await;
            taken.push(begin.elapsed());
        }
        taken.sort();
        let at = |part: usize| taken.get(times * part / 100).copied().unwrap_or_default();
        println!(
            "execute `true`, wait: median {:.2?}, 99 % below {:.2?}",
            at(50),
            at(99)
        );
        let length = 100_000_000;
        let exec = execs.start(&["head", "-c", "100000000", "/dev/zero"]).await;
        let begin = Instant::now();
        let read = execs.drain(exec.clone()).await;
        rate("output of a command", read, begin.elapsed());
        let begin = Instant::now();
        let read = execs.drain(exec).await;
        rate("read again", read, begin.elapsed());
        let begin = Instant::now();
        let exec = execs.start(&["sh", "-c", "cat > /dev/null"]).await;
        execs.upload(exec, length).await;
        rate("input of a command", length, begin.elapsed());

        let exec = execs.start(&["pwd"]).await;
        let request = TaskExecStdioReadRequest {
            task_id: sandbox.task_id.clone(),
            exec_id: exec,
            ..TaskExecStdioReadRequest::default()
        };
        let stream = execs.router.task_exec_stdio_read(request).await.unwrap();
        let pwd = stream.into_inner().message().await.unwrap().unwrap().data;
        let path = String::from_utf8(pwd).unwrap();
        let path = path.trim();
        let tool = "/__modal/.bin/modal-sandbox-fs-tools";
        for round in ["uploaded", "uploaded over it"] {
            let begin = Instant::now();
            let write = format!(r#"{{"WriteFile": {{"path": "{path}/file"}}}}"#);
            let exec = execs.start(&[tool, &write]).await;
            execs.upload(exec, length).await;
            rate(round, length, begin.elapsed());
        }
        let begin = Instant::now();
        let read = format!(r#"{{"ReadFile": {{"path": "{path}/file"}}}}"#);
        let exec = execs.start(&[tool, &read]).await;
        let read = execs.drain(exec).await;
        rate("downloaded", read, begin.elapsed());
        for round in ["snapshot", "snapshot again"] {
            let begin = Instant::now();
            let request = TaskSnapshotFilesystemRequest {
                task_id: sandbox.task_id.clone(),
                snapshot_id: round.to_owned(),
                ..TaskSnapshotFilesystemRequest::default()
            };
            let taken = execs.router.task_snapshot_filesystem(request).await;
            taken.unwrap();
            rate(round, length, begin.elapsed());
        }
    }
}

fn rate(what: &str, length: usize, taken: Duration) {
    let rate = megabytes(length) / taken.as_secs_f64();
    println!(
        "{what}: {:.0} MB in {taken:.2?}, {rate:.0} MB/s",
        megabytes(length)
    );
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

/// A line of `/proc/self/status`, in megabytes.
fn status(field: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kilobytes = line.split_whitespace().nth(1).unwrap();
    kilobytes.parse::<f64>().unwrap() * 1_024.0 / 1e6
}
