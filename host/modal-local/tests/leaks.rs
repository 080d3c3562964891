//! Nothing is left of many sandboxes: in a process of its own, because it
//! counts what the whole process holds.
#![allow(
    clippy::unwrap_used,
    reason = "tests fail by panicking, their helpers too"
)]

use std::{fs, path::Path};

use modal_local::{Limits, Options, Server, State};
use modal_proto::{
    client::{self as pb, modal_client_client::ModalClientClient},
    task_command_router::{
        TaskExecStartRequest, TaskExecStdioReadRequest, TaskExecStdoutConfig, TaskExecWaitRequest,
        task_command_router_client::TaskCommandRouterClient, task_exec_wait_response::ExitStatus,
    },
};
use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};

fn count(directory: impl AsRef<Path>) -> usize {
    fs::read_dir(directory).unwrap().count()
}

fn open_files() -> usize {
    count("/proc/self/fd")
}

/// Resident bytes.
fn memory() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    let resident = pages.split(' ').nth(1).unwrap();
    resident.parse::<u64>().unwrap() * 4096
}

/// Executes a command in a sandbox, reads its output and waits for its exit.
async fn exec(channel: &Channel, sandbox: &pb::SandboxCreateV2Response, id: &str, script: &str) {
    let jwt = sandbox.command_router_access.clone().unwrap().jwt;
    let bearer = move |mut request: Request<()>| {
        let bearer = format!("Bearer {jwt}").parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        Ok::<_, Status>(request)
    };
    let mut router = TaskCommandRouterClient::with_interceptor(channel.clone(), bearer);
    let (task_id, exec_id) = (sandbox.task_id.clone(), id.to_owned());
    let start = TaskExecStartRequest {
        task_id: task_id.clone(),
        exec_id: exec_id.clone(),
        command_args: ["sh", "-c", script].map(str::to_owned).into(),
        stdout_config: TaskExecStdoutConfig::Pipe.into(),
        ..TaskExecStartRequest::default()
    };
    router.task_exec_start(start).await.unwrap();
    let read = TaskExecStdioReadRequest {
        task_id: task_id.clone(),
        exec_id: exec_id.clone(),
        ..TaskExecStdioReadRequest::default()
    };
    let mut stream = router
        .task_exec_stdio_read(read)
        .await
        .unwrap()
        .into_inner();
    while stream.message().await.unwrap().is_some() {}
    let wait = TaskExecWaitRequest { task_id, exec_id };
    let exit = router.task_exec_wait(wait).await.unwrap().into_inner();
    assert_eq!(exit.exit_status, Some(ExitStatus::Code(0)));
}

#[tokio::test]
async fn hundreds_of_sandboxes_leave_nothing() {
    let before_all = open_files();
    let limit = String::from_utf8(shell("ulimit -n").stdout).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let server = Server::start(Options {
        state: State::Kept(state.clone()),
        limits: Limits {
            finished_sandboxes: 20,
            ..Limits::default()
        },
        ..Options::default()
    })
    .await
    .unwrap();
    let channel = Endpoint::from_shared(server.url())
        .unwrap()
        .connect()
        .await
        .unwrap();
    let credentials = server.credentials().clone();
    let mut control =
        ModalClientClient::with_interceptor(channel.clone(), move |mut request: Request<()>| {
            let metadata = request.metadata_mut();
            metadata.insert("x-modal-token-id", credentials.token_id.parse().unwrap());
            metadata.insert(
                "x-modal-token-secret",
                credentials.token_secret.parse().unwrap(),
            );
            Ok::<_, Status>(request)
        });
    let app = pb::AppGetOrCreateRequest {
        app_name: "leaks".into(),
        object_creation_type: pb::ObjectCreationType::CreateIfMissing.into(),
        ..pb::AppGetOrCreateRequest::default()
    };
    let app = control
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
    let image = control
        .image_get_or_create(image)
        .await
        .unwrap()
        .into_inner()
        .image_id;
    let mut run = async |script: &str, terminate: bool| {
        let create = pb::SandboxCreateV2Request {
            app_id: app.clone(),
            definition: Some(pb::Sandbox {
                entrypoint_args: ["sh", "-c", script].map(str::to_owned).into(),
                image_id: image.clone(),
                ..pb::Sandbox::default()
            }),
            ..pb::SandboxCreateV2Request::default()
        };
        let created = control
            .sandbox_create_v2(create)
            .await
            .unwrap()
            .into_inner();
        if terminate {
            exec(&channel, &created, "one", "echo hi").await;
            exec(
                &channel,
                &created,
                "two",
                "setsid sleep 100 > /dev/null & seq 20000",
            )
            .await;
            let sandbox_id = created.sandbox_id.clone();
            let terminate = pb::SandboxTerminateRequest { sandbox_id };
            control.sandbox_terminate_v2(terminate).await.unwrap();
        }
        let wait = pb::SandboxWaitRequest {
            sandbox_id: created.sandbox_id,
            timeout: 60.0,
        };
        let result = control
            .sandbox_wait_v2(wait)
            .await
            .unwrap()
            .into_inner()
            .result;
        assert_eq!(result.is_some_and(|result| result.exitcode != 0), terminate);
    };

    let scripts = [
        "true",
        "setsid sleep 100 & echo hi",
        "head -c 50000 /dev/zero",
    ];
    for script in scripts.iter().cycle().take(60) {
        run(script, false).await;
    }
    for _ in 0..20 {
        run("sleep 100", true).await;
    }
    let (files, bytes) = (open_files(), memory());
    for script in scripts.iter().cycle().take(300) {
        run(script, false).await;
    }
    for _ in 0..100 {
        run("sleep 100", true).await;
    }
    // Some are open while forgotten sandboxes' directories are being removed,
    // which is off the path of the answers.
    for _ in 0..100 {
        if open_files() > files {
            run("true", false).await;
        }
    }
    assert!(open_files() <= files, "descriptors leak");
    assert!(
        memory() < bytes + 8 * 1024 * 1024,
        "memory leaks: {bytes} to {}",
        memory()
    );
    assert!(count(state.join("sandboxes")) <= 25, "directories leak");
    let check = format!("test \"$(ulimit -n)\" = {}", limit.trim());
    run(&check, false).await;
    drop((control, channel));

    server.shutdown().await;
    // The last twenty wrote nothing.
    assert!(!state.join("sandboxes").exists());
    assert!(!state.join("snapshots").exists());
    assert_eq!(children(), 0, "children were not waited for");
    drop(directory);
    assert!(
        open_files() <= before_all,
        "{before_all} to {}",
        open_files()
    );
}

/// Children of this process, zombies too.
fn children() -> usize {
    let parent = format!(" {} ", std::process::id());
    let stat = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("stat")).ok();
    let processes = fs::read_dir("/proc").unwrap();
    processes
        .filter_map(|entry| stat(entry.unwrap()))
        // After the name: the state, one letter, and the parent.
        .filter(|stat| {
            stat.rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.get(1..).unwrap().starts_with(&parent))
        })
        .count()
}

fn shell(script: &str) -> std::process::Output {
    std::process::Command::new("sh")
        .args(["-c", script])
        .output()
        .unwrap()
}
