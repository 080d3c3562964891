//! How much sandboxes and snapshots may take of the disk.

use modal_proto::{
    client::GenericStatus,
    task_command_router::{TaskSnapshotFilesystemRequest, task_exec_wait_response::ExitStatus},
};
use serde_json::json;
use tonic::{Code, Status};

use crate::harness::{Local, Sandbox, in_time};

const MIB: u64 = 1024 * 1024;

/// The quota. Far above what the sandboxes take that are created until a full one is
/// noticed: on a slow machine they are some hundred.
const QUOTA: u64 = 64 * MIB;

async fn run(local: &Local, sandbox: &Sandbox, script: &str) {
    let exec = sandbox.shell(local, script).start().await;
    assert_eq!(exec.wait().await, ExitStatus::Code(0));
}

/// What says that the quota is used up, once it was noticed.
async fn refused<T>(mut call: impl AsyncFnMut() -> Result<T, Status>) -> Status {
    in_time(async {
        loop {
            match call().await {
                Ok(_) => tokio::task::yield_now().await,
                Err(status) => break status,
            }
        }
    })
    .await
}

/// The first success, once it was noticed that there is room again.
async fn granted<T>(mut call: impl AsyncFnMut() -> Result<T, Status>) -> T {
    in_time(async {
        loop {
            match call().await {
                Ok(done) => break done,
                Err(status) => assert_eq!(status.code(), Code::ResourceExhausted),
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn at_the_quota_nothing_that_takes_more_is_begun() {
    let local = Local::with(|options| options.limits.disk = QUOTA).await;
    let sandbox = local.sandbox([]).create().await;
    run(&local, &sandbox, "head -c 72000000 /dev/zero > big").await;
    let create = async || local.sandbox(["true"]).try_create().await.map(drop);
    let full = refused(create).await;
    assert_eq!(full.code(), Code::ResourceExhausted);
    assert!(full.message().contains("64 MiB"), "{full}");
    let snapshot = TaskSnapshotFilesystemRequest {
        task_id: sandbox.task.clone(),
        snapshot_id: "snapshot".to_owned(),
        ..TaskSnapshotFilesystemRequest::default()
    };
    let mut router = local.router(&sandbox.jwt);
    let full = router.task_snapshot_filesystem(snapshot).await.unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted);
    let path = local.files(&sandbox).join("more");
    let tool = "/__modal/.bin/modal-sandbox-fs-tools";
    let write = json!({"WriteFile": {"path": path}}).to_string();
    let upload = sandbox.exec(&local, [tool, &write]);
    let full = upload.clone().try_start().await.map(drop).unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted);
    // What makes room goes on, and then everything does.
    run(&local, &sandbox, "rm big").await;
    granted(create).await;
    let upload = upload.start().await;
    upload.upload(b"more").await.unwrap();
    assert_eq!(upload.wait().await, ExitStatus::Code(0));
    local.finish().await;
}

#[tokio::test]
async fn snapshots_count_until_they_expire() {
    let local = Local::with(|options| options.limits.disk = QUOTA).await;
    let sandbox = local.sandbox([]).create().await;
    run(&local, &sandbox, "head -c 40000000 /dev/urandom > big").await;
    let snapshot = |id: &str, ttl: i64| TaskSnapshotFilesystemRequest {
        task_id: sandbox.task.clone(),
        snapshot_id: id.to_owned(),
        ttl_seconds: Some(ttl),
        ..TaskSnapshotFilesystemRequest::default()
    };
    let mut router = local.router(&sandbox.jwt);
    router
        .task_snapshot_filesystem(snapshot("big", 1))
        .await
        .unwrap();
    // Twice 40 MB.
    let create = async || local.sandbox(["true"]).try_create().await;
    let full = refused(create).await;
    assert_eq!(full.code(), Code::ResourceExhausted);
    granted(create)
        .await
        .ends_with(GenericStatus::Success, 0)
        .await;
    local.finish().await;
}
