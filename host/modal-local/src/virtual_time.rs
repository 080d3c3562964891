//! The server without sockets, processes or waiting: its calls in-process, its
//! commands scripted, its clock paused. What passes here needs no thread and no
//! wall time, and depends on nothing but the seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use modal_proto::client::{
    self as pb, FileDescriptor, GenericStatus, modal_client_client::ModalClientClient,
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};
use tonic::{Request, Status, service::interceptor::InterceptedService};

use crate::{
    Credentials, Limits, Service,
    clock::{Clock, Timestamp},
    core::{Core, Parts},
    executor::{
        ExecLaunch, Executor, Exit, Hash, Heads, Input, Launch, NeverRan, Output, Outputs,
        ProcessExit, Stop, Streams, Text,
    },
    ids::{AppId, ImageId, SandboxId},
    journal::{Journal, Recorded},
    names::Name,
    random::Random,
    store::{App, Image},
    token::Tokens,
};

/// Commands that take time and do nothing: START and SECONDS before and after
/// the start, LINGER after they are asked to end, then exit CODE.
#[derive(Debug)]
struct Scripted;

impl Executor for Scripted {
    fn run(
        &self,
        launch: Launch,
        started: oneshot::Sender<Streams>,
        mut stop: Stop,
    ) -> BoxFuture<'static, Exit> {
        let number = move |key: &str| {
            let value = launch.env.get(key)?;
            value.parse::<u32>().ok()
        };
        let seconds = |value: Option<u32>| Duration::from_secs(value.unwrap_or(0).into());
        let (start, run, linger) = (
            seconds(number("START")),
            seconds(number("SECONDS")),
            seconds(number("LINGER")),
        );
        let code = number("CODE").map_or(0, |code| i32::try_from(code).unwrap());
        async move {
            tokio::select! {
                biased;
                () = stop.requested() => return Exit::never_ran(1, "stopped"),
                () = sleep(start) => {}
            }
            let output: Arc<dyn Output> = Arc::new(Text::new("done\n"));
            let _ = started.send(Streams {
                input: Arc::new(Deaf),
                outputs: Outputs {
                    stdout: Arc::clone(&output),
                    stderr: output,
                },
            });
            tokio::select! {
                biased;
                () = stop.requested() => sleep(linger).await,
                () = sleep(run) => {}
            }
            Exit::code(code)
        }
        .boxed()
    }

    fn exec(
        &self,
        _: ExecLaunch,
        _: oneshot::Sender<Streams>,
        _: Stop,
    ) -> BoxFuture<'static, Result<ProcessExit, NeverRan>> {
        async { Err(NeverRan::SandboxEnded) }.boxed()
    }

    fn snapshot(&self, _: SandboxId) -> BoxFuture<'static, io::Result<Hash>> {
        async { Ok(Hash::of(b"nothing")) }.boxed()
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

type Client =
    ModalClientClient<InterceptedService<Service, fn(Request<()>) -> Result<Request<()>, Status>>>;

fn with_token(mut request: Request<()>) -> Result<Request<()>, Status> {
    let metadata = request.metadata_mut();
    metadata.insert("x-modal-token-id", "ak".parse().unwrap());
    metadata.insert("x-modal-token-secret", "as".parse().unwrap());
    Ok(request)
}

fn client(seed: u8) -> Client {
    client_with(seed, None)
}

fn client_with(seed: u8, journal: Option<(Journal, Recorded)>) -> Client {
    let core = Core::new(Parts {
        executor: Arc::new(Scripted),
        journal,
        clock: Clock::tokio(Timestamp::from_micros(1_700_000_000_000_000)),
        random: Random::seeded([seed; 32]),
        credentials: Credentials {
            token_id: "ak".into(),
            token_secret: "as".into(),
        },
        tokens: Tokens::new([seed; 32], Duration::from_secs(60), Duration::from_secs(60)),
        limits: Limits::default(),
    });
    ModalClientClient::with_interceptor(Service::new(Arc::new(core)), with_token)
}

async fn app_and_image(client: &mut Client) -> (String, String) {
    let app = pb::AppGetOrCreateRequest {
        app_name: "virtual".into(),
        object_creation_type: pb::ObjectCreationType::CreateIfMissing.into(),
        ..pb::AppGetOrCreateRequest::default()
    };
    let app = client
        .app_get_or_create(app)
        .await
        .unwrap()
        .into_inner()
        .app_id;
    let image = pb::ImageGetOrCreateRequest {
        app_id: app.clone(),
        image: Some(pb::Image::default()),
        ..pb::ImageGetOrCreateRequest::default()
    };
    let image = client.image_get_or_create(image).await.unwrap();
    (app, image.into_inner().image_id)
}

async fn create(
    client: &mut Client,
    app: &str,
    image: &str,
    env: &[(&str, u32)],
    ttl: u32,
) -> String {
    let contents = env
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.to_string()));
    let request = pb::SandboxCreateV2Request {
        app_id: app.to_owned(),
        definition: Some(pb::Sandbox {
            image_id: image.to_owned(),
            timeout_secs: ttl,
            environment_variables: Some(pb::StringMap {
                contents: contents.collect(),
            }),
            ..pb::Sandbox::default()
        }),
        ..pb::SandboxCreateV2Request::default()
    };
    client
        .sandbox_create_v2(request)
        .await
        .unwrap()
        .into_inner()
        .sandbox_id
}

/// Asks again and again, ten minutes at a time.
async fn wait(client: &mut Client, id: &str) -> pb::GenericResult {
    loop {
        let request = pb::SandboxWaitRequest {
            sandbox_id: id.to_owned(),
            timeout: 600.0,
        };
        let response = client.sandbox_wait_v2(request).await.unwrap().into_inner();
        if let Some(result) = response.result {
            return result;
        }
    }
}

/// A day of two hundred sandboxes: when each ended, and how.
async fn day(seed: u8) -> Vec<(Duration, String, i32)> {
    let begin = Instant::now();
    let mut client = client(seed);
    let (app, image) = app_and_image(&mut client).await;
    let mut waits = Vec::new();
    for number in 0..200_u32 {
        let seconds = (number * 7_919) % 86_400;
        let env = [
            ("SECONDS", seconds),
            ("CODE", number % 3),
            ("START", number % 5),
        ];
        let id = create(&mut client, &app, &image, &env, 100_000).await;
        let mut client = client.clone();
        waits.push(async move {
            let result = wait(&mut client, &id).await;
            (begin.elapsed(), id, result.exitcode)
        });
    }
    let mut ends = join_all(waits).await;
    ends.sort();
    ends
}

#[tokio::test(start_paused = true)]
async fn a_day_takes_no_time_and_a_seed_fixes_it() {
    let one = day(1).await;
    assert_eq!(one.len(), 200);
    let (last, ..) = one.last().unwrap();
    assert!(*last > Duration::from_secs(80_000), "{last:?}");
    assert_eq!(one, day(1).await);
    let other = day(2).await;
    let times = |day: &[(Duration, String, i32)]| day.iter().map(|end| end.0).collect::<Vec<_>>();
    assert_eq!(times(&one), times(&other));
    assert!(
        one.iter()
            .zip(&other)
            .all(|(left, right)| left.1 != right.1)
    );
}

#[tokio::test(start_paused = true)]
async fn timeouts_count_from_the_start_of_the_command() {
    let mut client = client(3);
    let (app, image) = app_and_image(&mut client).await;
    let begin = Instant::now();
    let env = [("START", 1_000), ("SECONDS", 500), ("LINGER", 3)];
    let id = create(&mut client, &app, &image, &env, 100).await;
    let result = wait(&mut client, &id).await;
    assert_eq!(
        (result.status(), result.exitcode),
        (GenericStatus::Timeout, 124)
    );
    assert_eq!(begin.elapsed().as_secs(), 1_103);
    // Without a timeout in the request it is Modal's default.
    let begin = Instant::now();
    let id = create(&mut client, &app, &image, &[("SECONDS", 500)], 0).await;
    assert_eq!(
        wait(&mut client, &id).await.status(),
        GenericStatus::Timeout
    );
    assert_eq!(begin.elapsed().as_secs(), 300);
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_waits_for_its_start_has_no_task() {
    let mut client = client(4);
    let (app, image) = app_and_image(&mut client).await;
    let id = create(&mut client, &app, &image, &[("START", 1_000)], 0).await;
    let task_id = || pb::SandboxGetTaskIdRequest {
        sandbox_id: id.clone(),
        ..pb::SandboxGetTaskIdRequest::default()
    };
    let answer = client
        .sandbox_get_task_id_v2(task_id())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer, pb::SandboxGetTaskIdResponse::default());
    let terminate = pb::SandboxTerminateRequest {
        sandbox_id: id.clone(),
    };
    client.sandbox_terminate_v2(terminate).await.unwrap();
    let answer = client
        .sandbox_get_task_id_v2(task_id())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.task_id, None);
    assert_eq!(
        answer.task_result.unwrap().status(),
        GenericStatus::Terminated
    );
    assert_eq!(wait(&mut client, &id).await.exitcode, 137);
}

#[tokio::test(start_paused = true)]
async fn the_first_reason_to_end_counts() {
    let mut client = client(5);
    let (app, image) = app_and_image(&mut client).await;
    // Times out at 10 s, and lingers until 30 s; terminated in between.
    let env = [("SECONDS", 100), ("LINGER", 20)];
    let id = create(&mut client, &app, &image, &env, 10).await;
    sleep(Duration::from_secs(15)).await;
    let terminate = pb::SandboxTerminateRequest {
        sandbox_id: id.clone(),
    };
    client.sandbox_terminate_v2(terminate).await.unwrap();
    assert_eq!(
        wait(&mut client, &id).await.status(),
        GenericStatus::Timeout
    );
}

#[tokio::test(start_paused = true)]
async fn output_of_a_command_that_ends_at_once_is_there() {
    let mut client = client(6);
    let (app, image) = app_and_image(&mut client).await;
    for seconds in [0, 5] {
        let id = create(&mut client, &app, &image, &[("SECONDS", seconds)], 0).await;
        let request = pb::SandboxGetLogsRequest {
            sandbox_id: id.clone(),
            file_descriptor: FileDescriptor::Stdout.into(),
            timeout: 55.0,
            last_entry_id: String::new(),
        };
        let mut stream = client.sandbox_get_logs(request).await.unwrap().into_inner();
        let first = stream.message().await.unwrap().unwrap();
        assert_eq!(first.items.first().unwrap().data, "done\n");
        assert!(stream.message().await.unwrap().unwrap().eof);
        assert!(stream.message().await.unwrap().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_recorded_never_runs() {
    let main = Name::environment("").unwrap();
    let recorded = Recorded {
        apps: vec![App {
            id: AppId::from_text("ap-1"),
            environment: main,
            name: None,
            created_at: Timestamp::from_micros(1),
            key: None,
        }],
        images: vec![Image {
            id: ImageId::from_text("im-1"),
            definition: pb::Image::default(),
            builder_version: String::new(),
            created_at: Timestamp::from_micros(2),
            snapshot: None,
        }],
        ..Recorded::default()
    };
    let mut client = client_with(7, Some((Journal::broken(), recorded)));
    let request = pb::SandboxCreateV2Request {
        app_id: "ap-1".into(),
        definition: Some(pb::Sandbox {
            image_id: "im-1".into(),
            name: Some("n".into()),
            ..pb::Sandbox::default()
        }),
        ..pb::SandboxCreateV2Request::default()
    };
    // The second attempt finds neither the first one's name nor its key.
    for _ in 0..2 {
        let refused = client.sandbox_create_v2(request.clone()).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert!(
            refused.message().contains("cannot write its state"),
            "{refused}"
        );
    }
    let list = pb::SandboxListRequest {
        app_id: "ap-1".into(),
        include_finished: true,
        ..pb::SandboxListRequest::default()
    };
    let listed = client.sandbox_list_v2(list).await.unwrap().into_inner();
    assert_eq!(listed, pb::SandboxListResponse::default());
}
