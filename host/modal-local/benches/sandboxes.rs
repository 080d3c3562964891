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
        SandboxStdioReadV2Request, task_command_router_client::TaskCommandRouterClient,
    },
};
use tonic::{
    Request, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

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

    /// Reads stdout to the end and throws it away; returns its length.
    async fn drain(&self, sandbox: &pb::SandboxCreateV2Response) -> usize {
        let jwt = sandbox.command_router_access.clone().unwrap().jwt;
        let interceptor: Interceptor = Box::new(move |mut request| {
            let bearer = format!("Bearer {jwt}").parse().unwrap();
            request.metadata_mut().insert("authorization", bearer);
            Ok(request)
        });
        let mut router =
            TaskCommandRouterClient::with_interceptor(self.channel.clone(), interceptor);
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
