//! What a killed server leaves to the next one on its state directory.

use std::{
    env,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use modal_local::{Credentials, Error, Limits, Options, Server, State};
use modal_proto::{
    client::{self as pb, GenericStatus, modal_client_client::ModalClientClient},
    task_command_router::{
        SandboxStdioReadV2Request, TaskExecStartRequest, TaskSnapshotFilesystemRequest,
        task_command_router_client::TaskCommandRouterClient,
    },
};

use crate::harness::{
    Control, Fifo, Headers, app, connect, image, is_running, marked, marker, tag,
};

const DIRECTORY: &str = "MODAL_LOCAL_TEST_DIRECTORY";
const ANSWER: &str = "MODAL_LOCAL_TEST_ANSWER";

fn credentials() -> Credentials {
    Credentials {
        token_id: "ak-restart".into(),
        token_secret: "as-restart".into(),
    }
}

fn options(state: &Path) -> Options {
    Options {
        credentials: Some(credentials()),
        state: State::Kept(state.to_owned()),
        limits: Limits {
            ending_grace: Duration::from_millis(200),
            ..Limits::default()
        },
        ..Options::default()
    }
}

/// Not a test of its own: the server that the tests below run in a process of
/// its own, to be killed.
#[test]
fn server_process() {
    let (Ok(directory), Ok(answer)) = (env::var(DIRECTORY), env::var(ANSWER)) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let server = Server::start(options(Path::new(&directory))).await.unwrap();
        std::fs::write(answer, server.url() + "\n").unwrap();
        std::future::pending::<()>().await;
    });
}

/// A server in a process of its own. Killed when dropped.
struct Other {
    child: Child,
    control: Control,
}

impl Other {
    async fn start(state: &Path) -> Self {
        let answer = Fifo::new();
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "restart::server_process", "--nocapture"])
            .env(DIRECTORY, state)
            .env(ANSWER, answer.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            control: control(&answer.read().await).await,
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn control(url: &str) -> Control {
    ModalClientClient::with_interceptor(connect(url).await, Headers::of(&credentials()))
}

fn sandbox(
    app: &str,
    image: &str,
    script: &str,
    key: &str,
) -> tonic::Request<pb::SandboxCreateV2Request> {
    let mut request = tonic::Request::new(pb::SandboxCreateV2Request {
        app_id: app.to_owned(),
        definition: Some(pb::Sandbox {
            entrypoint_args: ["sh", "-c", script].map(str::to_owned).into(),
            image_id: image.to_owned(),
            name: Some(key.to_owned()),
            ..pb::Sandbox::default()
        }),
        tags: vec![tag("owner", key)],
        ..pb::SandboxCreateV2Request::default()
    });
    request
        .metadata_mut()
        .insert("x-idempotency-key", key.parse().unwrap());
    request
}

async fn wait(control: &mut Control, id: &str) -> pb::GenericResult {
    let request = pb::SandboxWaitRequest {
        sandbox_id: id.to_owned(),
        timeout: 50.0,
    };
    let response = control.sandbox_wait_v2(request).await.unwrap();
    response.into_inner().result.unwrap()
}

#[tokio::test]
async fn the_next_server_ends_what_a_killed_one_left() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let mut other = Other::start(&state).await;
    let control_before = &mut other.control;
    let app_id = app(control_before, "app").await;
    let image_id = image(control_before, &app_id).await;
    let done = sandbox(&app_id, &image_id, "exit 3", "done");
    let done = control_before
        .sandbox_create_v2(done)
        .await
        .unwrap()
        .into_inner();
    wait(control_before, &done.sandbox_id).await;
    let secret = pb::SecretGetOrCreateRequest {
        deployment_name: "named".into(),
        object_creation_type: pb::ObjectCreationType::CreateIfMissing.into(),
        env_dict: [("KEY".to_owned(), "value".to_owned())].into(),
        ..pb::SecretGetOrCreateRequest::default()
    };
    let secret_before = control_before
        .secret_get_or_create(secret.clone())
        .await
        .unwrap()
        .into_inner();
    let token = control_before
        .auth_token_get(pb::AuthTokenGetRequest {})
        .await;
    let token = token.unwrap().into_inner().token;

    // One that ignores SIGTERM and one in a session of its own.
    let fifo = Fifo::new();
    let script = format!(
        "trap '' TERM; echo $$ > {}; while :; do sleep 1; done",
        fifo.path()
    );
    let deaf = sandbox(&app_id, &image_id, &script, "deaf");
    let deaf = control_before
        .sandbox_create_v2(deaf)
        .await
        .unwrap()
        .into_inner();
    let deaf_pid = fifo.read().await;
    let script = format!(
        "setsid sh -c 'echo $$ > {}; exec sleep 100' & sleep 100",
        fifo.path()
    );
    let daemon = sandbox(&app_id, &image_id, &script, "daemon");
    let daemon = control_before
        .sandbox_create_v2(daemon)
        .await
        .unwrap()
        .into_inner();
    let daemon_pid = fifo.read().await;

    // The living server's directory is not for others.
    let refused = Server::start(options(&state)).await.unwrap_err();
    assert!(matches!(refused, Error::StateInUse(_)), "{refused}");
    assert!(is_running(&deaf_pid) && is_running(&daemon_pid));
    other.kill();
    assert!(
        is_running(&deaf_pid) && is_running(&daemon_pid),
        "they outlive their server"
    );

    let server = Server::start(options(&state)).await.unwrap();
    assert!(!is_running(&deaf_pid) && !is_running(&daemon_pid));
    assert_eq!(
        std::fs::read_dir(state.join("sandboxes")).unwrap().count(),
        0
    );
    let mut control = control(&server.url()).await;
    for id in [&deaf.sandbox_id, &daemon.sandbox_id] {
        let result = wait(&mut control, id).await;
        assert_eq!(
            (result.status(), result.exitcode),
            (GenericStatus::Terminated, 137)
        );
        assert!(result.exception.contains("killed"), "{result:?}");
    }
    let result = wait(&mut control, &done.sandbox_id).await;
    assert_eq!(
        (result.status(), result.exitcode),
        (GenericStatus::Failure, 3)
    );

    // Everything else is as it was.
    assert_eq!(app(&mut control, "app").await, app_id);
    assert_eq!(image(&mut control, &app_id).await, image_id);
    let again = control
        .secret_get_or_create(secret)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, secret_before);
    let list = pb::SandboxListRequest {
        app_id: app_id.clone(),
        include_finished: true,
        tags: vec![tag("owner", "deaf")],
        ..pb::SandboxListRequest::default()
    };
    let listed = control
        .sandbox_list_v2(list)
        .await
        .unwrap()
        .into_inner()
        .sandboxes;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, deaf.sandbox_id);
    let task = listed[0].task_info.clone().unwrap();
    assert_eq!(task.id, deaf.task_id);
    // Names are free, keys are known, tokens are good.
    let repeated = sandbox(&app_id, &image_id, "exit 0", "done");
    let repeated = control
        .sandbox_create_v2(repeated)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(repeated.sandbox_id, done.sandbox_id);
    let mut renamed = sandbox(&app_id, &image_id, "exit 0", "deaf");
    renamed
        .metadata_mut()
        .insert("x-idempotency-key", "fresh".parse().unwrap());
    let renamed = control
        .sandbox_create_v2(renamed)
        .await
        .unwrap()
        .into_inner();
    let result = wait(&mut control, &renamed.sandbox_id).await;
    assert_eq!(result.status(), GenericStatus::Success);
    let headers = Headers::of(&credentials()).with("x-modal-auth-token", &token);
    let mut with_token = ModalClientClient::with_interceptor(connect(&server.url()).await, headers);
    with_token.client_hello(()).await.unwrap();
    // Creation times go on where they were.
    let list = pb::SandboxListRequest {
        app_id,
        include_finished: true,
        ..pb::SandboxListRequest::default()
    };
    let listed = control
        .sandbox_list_v2(list)
        .await
        .unwrap()
        .into_inner()
        .sandboxes;
    let times: Vec<f64> = listed.iter().map(|sandbox| sandbox.created_at).collect();
    assert_eq!(listed[0].id, renamed.sandbox_id);
    assert!(times.is_sorted_by(|newer, older| newer > older));
    server.shutdown().await;
}

#[tokio::test]
async fn a_server_killed_at_any_moment_leaves_nothing_running() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let mut answered: Vec<String> = Vec::new();
    for round in 0..6 {
        let mut other = Other::start(&state).await;
        let app_id = app(&mut other.control, "app").await;
        let image_id = image(&mut other.control, &app_id).await;
        // A burst of creations; the server dies while it is under way.
        let creates = (0..20).map(|number| {
            let key = format!("{round}-{number}");
            let request = sandbox(&app_id, &image_id, "setsid sleep 100 & sleep 100", &key);
            let mut control = other.control.clone();
            tokio::spawn(async move { control.sandbox_create_v2(request).await })
        });
        let mut creates: Vec<_> = creates.collect();
        for create in creates.drain(..round * 4) {
            answered.push(create.await.unwrap().unwrap().into_inner().sandbox_id);
        }
        other.kill();
        for create in creates {
            if let Ok(response) = create.await.unwrap() {
                answered.push(response.into_inner().sandbox_id);
            }
        }
    }
    let server = Server::start(options(&state)).await.unwrap();
    assert_eq!(marked(&marker(&state)), Vec::<i32>::new());
    let mut control = control(&server.url()).await;
    assert!(answered.len() >= 60);
    for id in &answered {
        let result = wait(&mut control, id).await;
        assert_eq!(result.status(), GenericStatus::Terminated);
    }
    server.shutdown().await;
}

#[tokio::test]
async fn an_orderly_end_keeps_what_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let server = Server::start(options(&state)).await.unwrap();
    let mut control_before = control(&server.url()).await;
    let app_id = app(&mut control_before, "app").await;
    let image_id = image(&mut control_before, &app_id).await;
    let request = sandbox(&app_id, &image_id, "sleep 100", "k");
    let created = control_before
        .sandbox_create_v2(request)
        .await
        .unwrap()
        .into_inner();
    server.shutdown().await;

    let server = Server::start(options(&state)).await.unwrap();
    let mut control = control(&server.url()).await;
    let result = wait(&mut control, &created.sandbox_id).await;
    assert_eq!(result.status(), GenericStatus::Terminated);
    server.shutdown().await;

    let remove = Options {
        state: State::Removed(state.clone()),
        ..options(&state)
    };
    let server = Server::start(remove).await.unwrap();
    server.shutdown().await;
    assert!(!state.exists());
}

#[tokio::test]
async fn a_state_directory_of_another_version_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    Server::start(options(&state))
        .await
        .unwrap()
        .shutdown()
        .await;
    let database = rusqlite::Connection::open(state.join("state.db")).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    drop(database);
    let refused = Server::start(options(&state)).await.unwrap_err();
    assert!(refused.to_string().contains("layout 99"), "{refused}");
    std::fs::write(
        state.join("state.db"),
        "this is no database, but long enough to be read",
    )
    .unwrap();
    let refused = Server::start(options(&state)).await.unwrap_err();
    assert!(matches!(refused, Error::Database(_)), "{refused}");
}

/// What a sandbox printed, by the V2 way.
async fn stdout(url: &str, task: &str, control: &mut Control) -> Vec<u8> {
    let request = pb::TaskGetCommandRouterAccessRequest {
        task_id: task.to_owned(),
    };
    let access = control.task_get_command_router_access(request).await;
    let headers = Headers::default().with(
        "authorization",
        &format!("Bearer {}", access.unwrap().into_inner().jwt),
    );
    let mut router = TaskCommandRouterClient::with_interceptor(connect(url).await, headers);
    let request = SandboxStdioReadV2Request {
        task_id: task.to_owned(),
        ..SandboxStdioReadV2Request::default()
    };
    let mut stream = router
        .sandbox_stdio_read_v2(request)
        .await
        .unwrap()
        .into_inner();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.message().await.unwrap() {
        assert_eq!(chunk.starting_offset, bytes.len() as u64);
        bytes.extend(chunk.data);
    }
    bytes
}

#[tokio::test]
async fn output_and_snapshots_outlive_servers() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let mut other = Other::start(&state).await;
    let app_id = app(&mut other.control, "app").await;
    let image_id = image(&mut other.control, &app_id).await;
    let mut create = async |script: &str, key: &str| {
        let request = sandbox(&app_id, &image_id, script, key);
        let created = other.control.sandbox_create_v2(request).await;
        created.unwrap().into_inner()
    };
    let little = create("echo little", "little").await;
    let much = create("seq 100000; seq 100000 >&2", "much").await;
    let source = create("echo kept > file; sleep 100", "source").await;
    for ended in [&little, &much] {
        wait(&mut other.control, &ended.sandbox_id).await;
    }
    let access = source.command_router_access.clone().unwrap();
    let headers = Headers::default().with("authorization", &format!("Bearer {}", access.jwt));
    let mut router = TaskCommandRouterClient::with_interceptor(connect(&access.url).await, headers);
    let file = state
        .join("sandboxes")
        .join(&source.sandbox_id)
        .join("files/file");
    crate::harness::in_time(async {
        while std::fs::read(&file).ok().as_deref() != Some(b"kept\n") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let request = TaskSnapshotFilesystemRequest {
        task_id: source.task_id.clone(),
        snapshot_id: "snapshot".to_owned(),
        ttl_seconds: Some(-1),
        ..TaskSnapshotFilesystemRequest::default()
    };
    let snapshot = router.task_snapshot_filesystem(request).await.unwrap();
    let snapshot = snapshot.into_inner().image_id;
    other.kill();

    let numbers: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    // After a SIGKILL, after an orderly end, and again.
    for round in 0..3 {
        let server = Server::start(options(&state)).await.unwrap();
        let mut control = control(&server.url()).await;
        let url = server.url();
        assert_eq!(
            stdout(&url, &little.task_id, &mut control).await,
            b"little\n"
        );
        assert!(stdout(&url, &much.task_id, &mut control).await == numbers.as_bytes());
        let logs = pb::SandboxGetLogsRequest {
            sandbox_id: much.sandbox_id.clone(),
            file_descriptor: pb::FileDescriptor::Stderr.into(),
            timeout: 55.0,
            last_entry_id: String::new(),
        };
        let mut logs = control.sandbox_get_logs(logs).await.unwrap().into_inner();
        let mut text = String::new();
        while let Some(batch) = logs.message().await.unwrap() {
            text.extend(batch.items.into_iter().map(|item| item.data));
        }
        assert!(text == numbers);
        let request = sandbox(&app_id, &snapshot, "cat file", &format!("restored-{round}"));
        let restored = control
            .sandbox_create_v2(request)
            .await
            .unwrap()
            .into_inner();
        let result = wait(&mut control, &restored.sandbox_id).await;
        assert_eq!(result.status(), GenericStatus::Success, "{result:?}");
        assert_eq!(
            stdout(&url, &restored.task_id, &mut control).await,
            b"kept\n"
        );
        server.shutdown().await;
    }
}

#[tokio::test]
async fn executed_commands_of_a_killed_server_are_ended() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let mut other = Other::start(&state).await;
    let app_id = app(&mut other.control, "app").await;
    let image_id = image(&mut other.control, &app_id).await;
    let request = sandbox(&app_id, &image_id, "sleep 100", "own");
    let created = other
        .control
        .sandbox_create_v2(request)
        .await
        .unwrap()
        .into_inner();
    let access = created.command_router_access.unwrap();
    let headers = Headers::default().with("authorization", &format!("Bearer {}", access.jwt));
    let mut router = TaskCommandRouterClient::with_interceptor(connect(&access.url).await, headers);
    let fifo = Fifo::new();
    let scripts = [
        // One that hides from the search: only its record leads to it.
        format!(
            "exec env -i sh -c 'echo $$ > {}; exec sleep 100'",
            fifo.path()
        ),
        format!(
            "trap '' TERM; echo $$ > {}; while :; do sleep 1; done",
            fifo.path()
        ),
        format!("setsid sh -c 'echo $$ > {}; exec sleep 100' &", fifo.path()),
    ];
    let mut pids = Vec::new();
    for (number, script) in scripts.iter().enumerate() {
        let request = TaskExecStartRequest {
            task_id: created.task_id.clone(),
            exec_id: number.to_string(),
            command_args: ["sh", "-c", script].map(str::to_owned).into(),
            ..TaskExecStartRequest::default()
        };
        router.task_exec_start(request).await.unwrap();
        pids.push(fifo.read().await);
    }
    other.kill();
    assert!(
        pids.iter().all(|pid| is_running(pid)),
        "they outlive their server"
    );
    let server = Server::start(options(&state)).await.unwrap();
    assert!(!pids.iter().any(|pid| is_running(pid)));
    assert_eq!(marked(&marker(&state)), Vec::<i32>::new());
    server.shutdown().await;
}
