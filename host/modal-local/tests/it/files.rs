//! The file tool, as the official clients execute it.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::Path,
};

use modal_proto::task_command_router::{
    TaskExecStdioFileDescriptor::Stdout, task_exec_wait_response::ExitStatus,
};
use serde_json::{Value, json};
use tonic::Code;

use crate::harness::{Exec, Local, Sandbox, data, in_time};

async fn start(local: &Local, sandbox: &Sandbox, request: Value) -> Exec {
    let tool = "/__modal/.bin/modal-sandbox-fs-tools";
    sandbox
        .exec(local, [tool, &request.to_string()])
        .start()
        .await
}

/// What the tool prints, or the kind of its failure.
async fn ask(local: &Local, sandbox: &Sandbox, request: Value) -> Result<Vec<u8>, String> {
    let exec = start(local, sandbox, request).await;
    match exec.wait().await {
        ExitStatus::Code(0) => {
            assert_eq!(exec.stderr().await, b"");
            Ok(exec.stdout().await)
        }
        exit => {
            assert_eq!(exit, ExitStatus::Code(1));
            let failure: Value = serde_json::from_slice(&exec.stderr().await).unwrap();
            assert!(!failure["message"].as_str().unwrap().is_empty());
            Err(failure["error_kind"].as_str().unwrap().to_owned())
        }
    }
}

async fn put(local: &Local, sandbox: &Sandbox, path: &Path, bytes: &[u8]) -> Result<(), String> {
    let exec = start(local, sandbox, json!({"WriteFile": {"path": path}})).await;
    let (sent, exit) = futures::future::join(exec.upload(bytes), exec.wait()).await;
    if exit == ExitStatus::Code(0) {
        sent.unwrap();
        return Ok(());
    }
    // As clients do: the exit says more than the broken stream.
    let failure: Value = serde_json::from_slice(&exec.stderr().await).unwrap();
    Err(failure["error_kind"].as_str().unwrap().to_owned())
}

/// A sandbox that has started, and its directory.
async fn sandbox(local: &Local) -> (Sandbox, std::path::PathBuf) {
    let sandbox = local.sandbox([]).create().await;
    let exec = sandbox.exec(local, ["true"]).start().await;
    assert_eq!(exec.wait().await, ExitStatus::Code(0));
    let files = local.files(&sandbox);
    (sandbox, files)
}

#[tokio::test]
async fn a_file_is_written_and_read_byte_for_byte() {
    let local = Local::start().await;
    let (sandbox, files) = sandbox(&local).await;
    let bytes: Vec<u8> = (0..=250).cycle().take(5_000_000).collect();
    let path = files.join("a/b/ünï code");
    for content in [&bytes[..], b"shorter", b""] {
        put(&local, &sandbox, &path, content).await.unwrap();
        assert!(fs::read(&path).unwrap() == content);
        let read = ask(&local, &sandbox, json!({"ReadFile": {"path": path}})).await;
        assert!(read.unwrap() == content);
    }
    // Commands see it, in their own directory.
    let exec = sandbox
        .shell(&local, "echo -n here > x; cat 'a/b/ünï code'")
        .start()
        .await;
    assert_eq!(exec.wait().await, ExitStatus::Code(0));
    let read = ask(
        &local,
        &sandbox,
        json!({"ReadFile": {"path": files.join("x")}}),
    )
    .await;
    assert_eq!(read.unwrap(), b"here");
    local.finish().await;
}

#[tokio::test]
async fn a_download_can_be_taken_up_anywhere_unless_the_file_changes() {
    let local = Local::start().await;
    let (sandbox, files) = sandbox(&local).await;
    let path = files.join("file");
    let bytes: Vec<u8> = (0..=250).cycle().take(2_000_000).collect();
    fs::write(&path, &bytes).unwrap();
    let exec = start(&local, &sandbox, json!({"ReadFile": {"path": path}})).await;
    assert_eq!(exec.wait().await, ExitStatus::Code(0));
    for offset in [0, 1, 1_000_000, 1_999_999, 2_000_000, 3_000_000] {
        let rest = in_time(exec.try_read(Stdout, offset)).await.unwrap();
        let expected = bytes.get(usize::try_from(offset).unwrap()..);
        assert!(rest == expected.unwrap_or_default(), "{offset}");
    }
    fs::write(&path, "other").unwrap();
    let changed = exec.try_read(Stdout, 0).await.unwrap_err();
    assert_eq!(changed.code(), Code::DataLoss);
    assert!(changed.message().contains("changed"), "{changed}");
    local.finish().await;
}

#[tokio::test]
async fn an_upload_that_breaks_is_taken_up() {
    let local = Local::start().await;
    let (sandbox, files) = sandbox(&local).await;
    let path = files.join("file");
    let exec = start(&local, &sandbox, json!({"WriteFile": {"path": path}})).await;
    let mut router = exec.router.clone();
    let messages = futures::stream::iter([exec.begin(0), data(&[1; 300_000])]);
    router
        .task_exec_stdin_write_stream(messages)
        .await
        .unwrap_err();
    let (taken, closed) = exec.stdin().await;
    assert_eq!((taken, closed), (300_000, false));
    assert_eq!(exec.poll().await, None);
    exec.write(taken, &[2; 10], true).await.unwrap();
    assert_eq!(exec.wait().await, ExitStatus::Code(0));
    let written = fs::read(&path).unwrap();
    assert!(written[..300_000].iter().all(|byte| *byte == 1));
    assert_eq!(&written[300_000..], [2; 10]);
    // One that never ends ends with its sandbox.
    let exec = start(&local, &sandbox, json!({"WriteFile": {"path": path}})).await;
    exec.write(0, b"part", false).await.unwrap();
    sandbox.terminate().await;
    assert_eq!(exec.wait().await, ExitStatus::Signal(9));
    local.finish().await;
}

#[tokio::test]
async fn entries_are_described() {
    let local = Local::start().await;
    let (sandbox, files) = sandbox(&local).await;
    fs::create_dir(files.join("directory")).unwrap();
    fs::write(files.join("directory/file"), "12345").unwrap();
    fs::set_permissions(
        files.join("directory/file"),
        PermissionsExt::from_mode(0o754),
    )
    .unwrap();
    symlink("file", files.join("directory/link")).unwrap();
    fs::create_dir(files.join("directory/inner")).unwrap();
    let list = json!({"ListFiles": {"path": files.join("directory")}});
    let listed = ask(&local, &sandbox, list).await.unwrap();
    let listed: Vec<Value> = serde_json::from_slice(&listed).unwrap();
    let names: Vec<&str> = listed
        .iter()
        .map(|entry| entry["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["file", "inner", "link"]);
    let file = &listed[0];
    assert_eq!(file["path"], json!(files.join("directory/file")));
    assert_eq!(file["type"], "file");
    assert_eq!(file["size"], 5);
    assert_eq!(file["mode"], 0o754);
    assert_eq!(file["permissions"], "rwxr-xr--");
    assert_eq!(file["symlink_target"], Value::Null);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let age = now.as_secs_f64() - file["modified_time"].as_f64().unwrap();
    assert!((0.0..600.0).contains(&age), "{age}");
    assert!(!file["owner"].as_str().unwrap().is_empty());
    assert_eq!(listed[1]["type"], "directory");
    assert_eq!(listed[2]["type"], "symlink");
    assert_eq!(listed[2]["symlink_target"], "file");
    // The same for one path; a link is not followed.
    for (number, name) in [(0, "file"), (2, "link")] {
        let stat = json!({"Stat": {"path": files.join("directory").join(name)}});
        let stat: Value =
            serde_json::from_slice(&ask(&local, &sandbox, stat).await.unwrap()).unwrap();
        assert_eq!(stat, listed[number]);
    }
    let root = ask(&local, &sandbox, json!({"Stat": {"path": files}}))
        .await
        .unwrap();
    let root: Value = serde_json::from_slice(&root).unwrap();
    assert_eq!(
        (root["name"].as_str(), root["type"].as_str()),
        (Some("files"), Some("directory"))
    );
    local.finish().await;
}

#[tokio::test]
async fn names_that_are_no_text_are_shown_as_far_as_they_are() {
    let local = Local::start().await;
    let (sandbox, files) = sandbox(&local).await;
    let name = OsStr::from_bytes(b"odd-\xff");
    fs::create_dir(files.join("directory")).unwrap();
    fs::write(files.join("directory").join(name), "x").unwrap();
    let list = json!({"ListFiles": {"path": files.join("directory")}});
    let listed = ask(&local, &sandbox, list).await.unwrap();
    let listed: Vec<Value> = serde_json::from_slice(&listed).unwrap();
    assert_eq!(listed[0]["name"], "odd-\u{fffd}");
    local.finish().await;
}

#[tokio::test]
async fn directories_are_made_and_removed() {
    let local = Local::start().await;
    let (sandbox, files) = sandbox(&local).await;
    let ask = async |request: Value| ask(&local, &sandbox, request).await.map(drop);
    let kind = |kind: &str| Err(kind.to_owned());
    let make = |path: &str, parents: bool| json!({"MakeDirectory": {"path": files.join(path), "parents": parents}});
    assert_eq!(ask(make("a/b", false)).await, kind("NotFound"));
    assert_eq!(ask(make("a/b", true)).await, Ok(()));
    assert_eq!(ask(make("a/b", true)).await, Ok(()));
    assert_eq!(ask(make("a/b", false)).await, kind("PathAlreadyExists"));
    fs::write(files.join("a/file"), "x").unwrap();
    assert_eq!(ask(make("a/file/b", false)).await, kind("NotDirectory"));
    let remove = |path: &str, recursive: bool| json!({"Remove": {"path": files.join(path), "recursive": recursive}});
    assert_eq!(ask(remove("no", false)).await, kind("NotFound"));
    assert_eq!(ask(remove("a", false)).await, kind("DirectoryNotEmpty"));
    assert_eq!(ask(remove("a/b", false)).await, Ok(()));
    assert_eq!(ask(remove("a/file", false)).await, Ok(()));
    fs::create_dir_all(files.join("a/deep/er")).unwrap();
    assert_eq!(ask(remove("a", true)).await, Ok(()));
    assert!(!files.join("a").exists());
    assert_eq!(ask(remove("", true)).await, kind("PermissionDenied"));
    assert!(files.exists());
    local.finish().await;
}

#[tokio::test]
async fn failures_have_the_kind_that_clients_expect() {
    let local = Local::start().await;
    let (sandbox, files) = sandbox(&local).await;
    fs::create_dir(files.join("directory")).unwrap();
    fs::write(files.join("file"), "x").unwrap();
    let one = |operation: &str, path: &str| json!({operation: {"path": files.join(path)}});
    for (request, kind) in [
        (one("ReadFile", "no"), "NotFound"),
        (one("ReadFile", "directory"), "IsDirectory"),
        (one("ReadFile", "file/x"), "NotDirectory"),
        (one("WriteFile", "directory"), "IsDirectory"),
        (one("WriteFile", ""), "IsDirectory"),
        (one("ListFiles", "no"), "NotFound"),
        (one("ListFiles", "file"), "NotDirectory"),
        (one("Stat", "no"), "NotFound"),
        (one("Stat", "file/x"), "NotDirectory"),
        (one("Watch", "no"), "NotFound"),
        (json!({"Stat": {"path": "relative"}}), "InvalidArgument"),
        (json!({"Stat": {}}), "InvalidArgument"),
        (json!({"Unknown": {"path": files}}), "InvalidArgument"),
        (json!("text"), "InvalidArgument"),
    ] {
        let refused = ask(&local, &sandbox, request.clone()).await;
        assert_eq!(refused, Err(kind.to_owned()), "{request}");
    }
    let parent = put(&local, &sandbox, &files.join("file/x"), &[0; 600_000]).await;
    assert!(matches!(
        parent.unwrap_err().as_str(),
        "NotDirectory" | "AlreadyExists"
    ));
    local.finish().await;
}

#[tokio::test]
async fn nothing_outside_of_the_sandboxs_directory_can_be_reached() {
    let local = Local::start().await;
    let (sandbox, files) = sandbox(&local).await;
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    symlink(&secret, files.join("absolute")).unwrap();
    symlink(outside.path(), files.join("directory")).unwrap();
    symlink("../../../../../../../../etc/passwd", files.join("relative")).unwrap();
    symlink("..", files.join("up")).unwrap();
    let paths = [
        secret.clone(),
        "/etc/passwd".into(),
        "/".into(),
        files.join("../process"),
        files.join("absolute"),
        files.join("relative"),
        files.join("up/process"),
        files.join("directory/secret"),
    ];
    for path in &paths {
        let read = ask(&local, &sandbox, json!({"ReadFile": {"path": path}})).await;
        assert_eq!(read, Err("PermissionDenied".to_owned()), "{path:?}");
        let written = put(&local, &sandbox, path, b"changed").await;
        assert_eq!(written, Err("PermissionDenied".to_owned()), "{path:?}");
    }
    for path in [&paths[0], &paths[1], &paths[3], &paths[6], &paths[7]] {
        for request in [
            json!({"Stat": {"path": path}}),
            json!({"Remove": {"path": path, "recursive": true}}),
            json!({"MakeDirectory": {"path": path.join("new"), "parents": true}}),
            json!({"ListFiles": {"path": path.parent()}}),
        ] {
            let refused = ask(&local, &sandbox, request.clone()).await;
            assert_eq!(refused, Err("PermissionDenied".to_owned()), "{request}");
        }
    }
    assert_eq!(fs::read(&secret).unwrap(), b"secret");
    // A link itself can go; what it leads to stays.
    let link = json!({"Remove": {"path": files.join("directory"), "recursive": true}});
    ask(&local, &sandbox, link).await.unwrap();
    assert!(secret.exists() && !files.join("directory").exists());
    // The reason is said.
    let exec = start(&local, &sandbox, json!({"Stat": {"path": "/etc/passwd"}})).await;
    exec.wait().await;
    let said = String::from_utf8(exec.stderr().await).unwrap();
    assert!(
        said.contains("outside of the sandbox's directory"),
        "{said}"
    );
    local.finish().await;
}

/// The events told so far that are not mere accesses.
fn events(text: &[u8]) -> Vec<(String, Vec<String>)> {
    let lines = std::str::from_utf8(text).unwrap().lines();
    let events = lines.map(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        let paths = event["paths"].as_array().unwrap().iter();
        let names = paths.map(|path| path.as_str().unwrap().to_owned());
        (
            event["event_type"].as_str().unwrap().to_owned(),
            names.collect(),
        )
    });
    events.filter(|(kind, _)| kind != "Access").collect()
}

#[tokio::test]
async fn what_happens_to_files_is_told_until_the_input_ends() {
    let local = Local::start().await;
    let (sandbox, files) = sandbox(&local).await;
    fs::create_dir(files.join("watched")).unwrap();
    fs::write(files.join("watched/old"), "").unwrap();
    symlink("watched", files.join("link")).unwrap();
    let path = |name: &str| files.join(name).to_str().unwrap().to_owned();
    let request = json!({"Watch": {
        "path": files.join("link"), "recursive": true, "filter": null, "timeout_secs": null,
    }});
    let exec = start(&local, &sandbox, request).await;
    // It has begun once its output can be read.
    let mut stream = exec.stream(Stdout, 0).await;
    fs::create_dir(files.join("watched/inner")).unwrap();
    fs::rename(files.join("watched/old"), files.join("watched/new")).unwrap();
    fs::remove_file(files.join("watched/new")).unwrap();
    let mut seen = Vec::new();
    while !events(&seen).contains(&("Remove".to_owned(), vec![path("watched/new")])) {
        seen.extend(in_time(stream.message()).await.unwrap().unwrap().data);
    }
    let told = events(&seen);
    assert_eq!(told[0], ("Create".to_owned(), vec![path("watched/inner")]));
    let moved = vec![path("watched/old"), path("watched/new")];
    assert!(told.contains(&("Rename".to_owned(), moved)), "{told:?}");
    // The new directory is watched too.
    fs::write(files.join("watched/inner/file"), "x").unwrap();
    let created = ("Create".to_owned(), vec![path("watched/inner/file")]);
    while !events(&seen).contains(&created) {
        seen.extend(in_time(stream.message()).await.unwrap().unwrap().data);
    }
    assert_eq!(exec.poll().await, None);
    exec.write(0, b"", true).await.unwrap();
    assert_eq!(exec.wait().await, ExitStatus::Code(0));
    assert_eq!(exec.stderr().await, b"");
    local.finish().await;
}

#[tokio::test]
async fn only_what_is_asked_for_is_told_and_for_as_long() {
    let local = Local::start().await;
    let (sandbox, files) = sandbox(&local).await;
    fs::write(files.join("file"), "").unwrap();
    let request = json!({"Watch": {
        "path": files.join("file"), "recursive": false, "filter": ["Remove"], "timeout_secs": 600,
    }});
    let exec = start(&local, &sandbox, request).await;
    let mut stream = exec.stream(Stdout, 0).await;
    fs::write(files.join("file"), "changed").unwrap();
    fs::remove_file(files.join("file")).unwrap();
    let mut seen = Vec::new();
    while events(&seen).is_empty() {
        seen.extend(in_time(stream.message()).await.unwrap().unwrap().data);
    }
    let file = files.join("file").to_str().unwrap().to_owned();
    assert_eq!(events(&seen), [("Remove".to_owned(), vec![file])]);
    sandbox.terminate().await;
    assert_eq!(exec.wait().await, ExitStatus::Signal(9));
    // Its time is over.
    let (sandbox, files) = self::sandbox(&local).await;
    let request = json!({"Watch": {"path": files, "timeout_secs": 0}});
    assert_eq!(ask(&local, &sandbox, request).await, Ok(Vec::new()));
    local.finish().await;
}
