//! Snapshots: images that bring a sandbox's files back.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use modal_proto::{
    client::{self as pb, GenericStatus},
    task_command_router::{TaskSnapshotFilesystemRequest, task_exec_wait_response::ExitStatus},
};
use tonic::{Code, Status};

use crate::harness::{Local, Sandbox, code};

async fn try_take(
    local: &Local,
    sandbox: &Sandbox,
    id: &str,
    ttl: Option<i64>,
) -> Result<String, Status> {
    let request = TaskSnapshotFilesystemRequest {
        task_id: sandbox.task.clone(),
        snapshot_id: id.to_owned(),
        ttl_seconds: ttl,
        ..TaskSnapshotFilesystemRequest::default()
    };
    let taken = local
        .router(&sandbox.jwt)
        .task_snapshot_filesystem(request)
        .await?;
    Ok(taken.into_inner().image_id)
}

async fn take(local: &Local, sandbox: &Sandbox, id: &str) -> String {
    try_take(local, sandbox, id, Some(-1)).await.unwrap()
}

async fn run(local: &Local, sandbox: &Sandbox, script: &str) -> String {
    let exec = sandbox.shell(local, script).start().await;
    let exit = exec.wait().await;
    let stderr = String::from_utf8(exec.stderr().await).unwrap();
    assert_eq!(exit, ExitStatus::Code(0), "{stderr}");
    String::from_utf8(exec.stdout().await).unwrap()
}

/// Everything of a directory but its own name, as `find` sees it.
const LOOK: &str =
    r"find . -printf '%P %y %m %T@ %n %l\n' | sort; find . -type f | sort | xargs sha256sum";

#[tokio::test]
async fn a_sandbox_begins_where_another_one_was() {
    let local = Local::start().await;
    let new = local.sandbox([]);
    for source in [new.clone().create().await, new.clone().create_v1().await] {
        let script = r"
            mkdir -p a/b && head -c 3000000 /dev/urandom > a/big && echo text > a/b/file
            ln -s ../a/big link && ln a/b/file hard && chmod 4711 a/b/file && chmod 500 a/b
            touch -d '2001-02-03 04:05:06.789' a/big && mkfifo fifo && : > empty
            touch -h -d '2002-02-02' link && mkdir .tmp/kept && touch -d '2003-03-03' a
        ";
        run(&local, &source, script).await;
        let before = run(&local, &source, LOOK).await;
        let image = take(&local, &source, "one").await;
        let request = pb::ImageFromIdRequest {
            image_id: image.clone(),
        };
        let found = local.control().image_from_id(request).await.unwrap();
        assert_eq!(found.into_inner().image_id, image);
        // What the source does later is not in it.
        run(&local, &source, "echo more >> hard; rm link").await;
        source.terminate().await;
        let again = local.sandbox([]).define(|s| s.image_id = image.clone());
        for restored in [again.clone().create().await, again.create_v1().await] {
            assert_eq!(run(&local, &restored, LOOK).await, before);
            let files = local.files(&restored);
            let inode = |path: &str| fs::metadata(files.join(path)).unwrap().ino();
            assert_eq!(inode("a/b/file"), inode("hard"));
            run(&local, &restored, "echo changed > a/big; echo new > new").await;
            restored.terminate().await;
        }
        let again = local.sandbox([]).define(|s| s.image_id = image);
        let again = again.create().await;
        assert_eq!(run(&local, &again, LOOK).await, before);
        again.terminate().await;
    }
    local.finish().await;
}

#[tokio::test]
async fn a_repeated_call_finds_its_snapshot() {
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create().await;
    run(&local, &sandbox, "echo 1 > file").await;
    let calls = (0..5).map(|_| take(&local, &sandbox, "same"));
    let images = futures::future::join_all(calls).await;
    run(&local, &sandbox, "echo 2 > file").await;
    assert_eq!(take(&local, &sandbox, "same").await, images[0]);
    assert!(images.iter().all(|image| *image == images[0]));
    let other = take(&local, &sandbox, "other").await;
    assert_ne!(other, images[0]);
    // After the end too, but no new one.
    sandbox.terminate().await;
    assert_eq!(take(&local, &sandbox, "same").await, images[0]);
    let late = try_take(&local, &sandbox, "late", None).await;
    assert_eq!(code(late), Code::NotFound);
    local.finish().await;
}

#[tokio::test]
async fn the_same_files_are_the_same_image_and_kept_once() {
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create().await;
    run(&local, &sandbox, "head -c 1000000 /dev/urandom > a; cp a b").await;
    let one = take(&local, &sandbox, "one").await;
    assert_eq!(take(&local, &sandbox, "two").await, one);
    let blobs = local.state().join("snapshots/blobs");
    assert_eq!(fs::read_dir(&blobs).unwrap().count(), 1);
    run(&local, &sandbox, "echo > c").await;
    assert_ne!(take(&local, &sandbox, "three").await, one);
    assert_eq!(fs::read_dir(&blobs).unwrap().count(), 2);
    // Nobody but the owner reads them.
    for blob in fs::read_dir(&blobs).unwrap() {
        assert_eq!(blob.unwrap().metadata().unwrap().mode() & 0o077, 0);
    }
    local.finish().await;
}

#[tokio::test]
async fn a_snapshot_goes_when_its_time_is_over() {
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create().await;
    run(&local, &sandbox, "echo short > file").await;
    let short = try_take(&local, &sandbox, "short", Some(1)).await.unwrap();
    run(&local, &sandbox, "echo long > file").await;
    let long = try_take(&local, &sandbox, "long", Some(3_600))
        .await
        .unwrap();
    // The longest of several for the same files counts.
    try_take(&local, &sandbox, "again", Some(1)).await.unwrap();
    for bad in [0, -2] {
        let refused = try_take(&local, &sandbox, "bad", Some(bad)).await;
        assert_eq!(code(refused), Code::InvalidArgument);
    }
    let begin = |image: &str| {
        let image = image.to_owned();
        let new = local.script("cat file").define(|s| s.image_id = image);
        new.try_create()
    };
    let gone = crate::harness::in_time(async {
        loop {
            match begin(&short).await {
                Ok(sandbox) => drop(sandbox.wait().await),
                Err(status) => break status,
            }
        }
    });
    let gone = gone.await;
    assert_eq!(gone.code(), Code::NotFound);
    assert!(
        gone.message().contains("time of this snapshot is over"),
        "{gone}"
    );
    let kept = begin(&long).await.unwrap();
    kept.ends_with(GenericStatus::Success, 0).await;
    assert_eq!(kept.stdout(&local).await, b"long\n");
    // What it held goes with the next one.
    take(&local, &sandbox, "next").await;
    let blobs = local.state().join("snapshots/blobs");
    assert_eq!(fs::read_dir(blobs).unwrap().count(), 1);
    local.finish().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    if rustix::process::geteuid().is_root() {
        // Root reads everything; directories too deep nobody does.
        let local = Local::start().await;
        let sandbox = local.sandbox([]).create().await;
        run(
            &local,
            &sandbox,
            "for i in $(seq 300); do mkdir d && cd d; done",
        )
        .await;
        let refused = try_take(&local, &sandbox, "one", None).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("d/d/d"), "{refused}");
        return local.finish().await;
    }
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create().await;
    run(&local, &sandbox, "echo > closed; chmod 0 closed").await;
    let refused = try_take(&local, &sandbox, "one", None).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("closed"), "{refused}");
    // The same call can be tried again.
    let closed = local.files(&sandbox).join("closed");
    fs::set_permissions(closed, PermissionsExt::from_mode(0o600)).unwrap();
    take(&local, &sandbox, "one").await;
    local.finish().await;
}

#[tokio::test]
async fn the_older_call_takes_one_too() {
    let local = Local::start().await;
    let sandbox = local.sandbox([]).create_v1().await;
    run(&local, &sandbox, "echo here > file").await;
    let request = pb::SandboxSnapshotFsRequest {
        sandbox_id: sandbox.id.clone(),
        timeout: 55.0,
    };
    let taken = local
        .control()
        .sandbox_snapshot_fs(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(taken.result.unwrap().status(), GenericStatus::Success);
    let new = local
        .script("cat file")
        .define(|s| s.image_id = taken.image_id);
    assert_eq!(new.create().await.stdout(&local).await, b"here\n");
    local.finish().await;
}
