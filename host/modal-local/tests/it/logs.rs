//! Output as text entries, the way V1 sandboxes are read.

use std::time::{Duration, Instant};

use modal_proto::client::{self as pb, FileDescriptor, GenericStatus};
use tonic::{Code, Streaming};

use crate::harness::{Fifo, Local, Sandbox, code, in_time};

fn request(sandbox: &Sandbox, descriptor: FileDescriptor) -> pb::SandboxGetLogsRequest {
    pb::SandboxGetLogsRequest {
        sandbox_id: sandbox.id.clone(),
        file_descriptor: descriptor.into(),
        timeout: 55.0,
        last_entry_id: String::new(),
    }
}

async fn open(local: &Local, request: pb::SandboxGetLogsRequest) -> Streaming<pb::TaskLogsBatch> {
    let stream = local.control().sandbox_get_logs(request).await;
    stream.unwrap().into_inner()
}

/// Everything up to the end of the stream: entries, their ids, and whether the
/// last batch was the last of all.
struct Read {
    entries: Vec<(FileDescriptor, String)>,
    ids: Vec<String>,
    eof: bool,
}

impl Read {
    fn text(&self) -> String {
        self.entries.iter().map(|(_, text)| text.as_str()).collect()
    }
}

async fn read(local: &Local, request: pb::SandboxGetLogsRequest) -> Read {
    let mut stream = open(local, request).await;
    let (mut entries, mut ids, mut eof) = (Vec::new(), Vec::new(), false);
    while let Some(batch) = in_time(stream.message()).await.unwrap() {
        assert!(!eof, "something follows the end");
        assert_eq!(batch.eof, batch.items.is_empty());
        eof = batch.eof;
        ids.push(batch.entry_id);
        for item in batch.items {
            assert!(!item.data.is_empty(), "an empty entry");
            entries.push((item.file_descriptor(), item.data));
        }
    }
    Read { entries, ids, eof }
}

#[tokio::test]
async fn one_descriptor_or_both() {
    let local = Local::start().await;
    let sandbox = local.script("echo out; echo err >&2").create_v1().await;
    sandbox.ends_with(GenericStatus::Success, 0).await;
    for (descriptor, text) in [
        (FileDescriptor::Stdout, "out\n"),
        (FileDescriptor::Stderr, "err\n"),
        (FileDescriptor::Info, ""),
    ] {
        let read = read(&local, request(&sandbox, descriptor)).await;
        assert_eq!(read.text(), text);
        assert!(read.entries.iter().all(|(of, _)| *of == descriptor));
        assert!(read.eof);
    }
    let both = read(&local, request(&sandbox, FileDescriptor::Unspecified)).await;
    let mut entries = both.entries;
    entries.sort();
    assert_eq!(
        entries,
        [
            (FileDescriptor::Stdout, "out\n".to_owned()),
            (FileDescriptor::Stderr, "err\n".to_owned())
        ]
    );
    local.finish().await;
}

#[tokio::test]
async fn a_stream_is_resumed_after_any_entry() {
    let local = Local::start().await;
    let script = "seq 100000; seq 3 >&2";
    let sandbox = local.script(script).create_v1().await;
    sandbox.ends_with(GenericStatus::Success, 0).await;
    let stdout = || request(&sandbox, FileDescriptor::Stdout);
    let whole = read(&local, stdout()).await;
    assert!(whole.entries.len() > 2 && whole.eof);
    for (place, id) in whole.ids.iter().enumerate() {
        let resumed = pb::SandboxGetLogsRequest {
            last_entry_id: id.clone(),
            ..stdout()
        };
        let resumed = read(&local, resumed).await;
        let rest: String = whole
            .entries
            .iter()
            .skip(place + 1)
            .map(|(_, text)| text.as_str())
            .collect();
        assert_eq!(resumed.text(), rest);
        assert!(resumed.eof);
    }
    // Where some clients start.
    let zero = pb::SandboxGetLogsRequest {
        last_entry_id: "0-0".into(),
        ..stdout()
    };
    assert_eq!(read(&local, zero).await.text(), whole.text());
    let foreign = pb::SandboxGetLogsRequest {
        last_entry_id: "yesterday".into(),
        ..stdout()
    };
    assert_eq!(
        code(local.control().sandbox_get_logs(foreign).await),
        Code::InvalidArgument
    );
    local.finish().await;
}

#[tokio::test]
async fn characters_are_never_cut() {
    let local = Local::start().await;
    let go = Fifo::new();
    // A three-byte character, its bytes written apart from one another.
    let script = format!(
        r"printf 'a\342'; read x < {0}; printf '\202'; read x < {0}; printf '\254b\377c\342'",
        go.path()
    );
    let sandbox = local.script(&script).create_v1().await;
    let mut stream = open(&local, request(&sandbox, FileDescriptor::Stdout)).await;
    let first = in_time(stream.message()).await.unwrap().unwrap();
    assert_eq!(first.items[0].data, "a");
    go.write();
    go.write();
    let mut text = String::new();
    while let Some(batch) = in_time(stream.message()).await.unwrap() {
        text.extend(batch.items.into_iter().map(|item| item.data));
    }
    assert_eq!(text, "€b\u{fffd}c\u{fffd}");
    // Resumed after the first entry, the whole character is there again.
    let resumed = pb::SandboxGetLogsRequest {
        last_entry_id: first.entry_id,
        ..request(&sandbox, FileDescriptor::Stdout)
    };
    assert_eq!(read(&local, resumed).await.text(), text);
    local.finish().await;
}

#[tokio::test]
async fn a_held_stream_ends_without_an_end() {
    let local = Local::start().await;
    let go = Fifo::new();
    let script = format!("echo one; read x < {}; echo two", go.path());
    let sandbox = local.script(&script).create_v1().await;
    let short = pb::SandboxGetLogsRequest {
        timeout: 0.3,
        ..request(&sandbox, FileDescriptor::Stdout)
    };
    let asked = Instant::now();
    let part = read(&local, short).await;
    assert!(asked.elapsed() >= Duration::from_millis(300));
    assert_eq!((part.text().as_str(), part.eof), ("one\n", false));
    let resumed = pb::SandboxGetLogsRequest {
        last_entry_id: part.ids.last().unwrap().clone(),
        ..request(&sandbox, FileDescriptor::Stdout)
    };
    let (rest, ()) = futures::future::join(read(&local, resumed), async { go.write() }).await;
    assert_eq!((rest.text().as_str(), rest.eof), ("two\n", true));
    local.finish().await;
}

#[tokio::test]
async fn a_line_of_ten_megabytes_is_many_entries() {
    let local = Local::start().await;
    let script = "head -c 10000000 /dev/zero | tr '\\0' x";
    let sandbox = local.script(script).create_v1().await;
    let read = read(&local, request(&sandbox, FileDescriptor::Stdout)).await;
    assert_eq!(read.text().len(), 10_000_000);
    assert!(
        read.entries
            .iter()
            .all(|(_, text)| text.len() <= 256 * 1024)
    );
    local.finish().await;
}

#[tokio::test]
async fn what_was_dropped_is_skipped() {
    let local = Local::with(|options| options.limits.output_per_stream = 64 * 1024).await;
    let sandbox = local.script("seq 1000000 1099999").create_v1().await;
    sandbox.ends_with(GenericStatus::Success, 0).await;
    let read = read(&local, request(&sandbox, FileDescriptor::Stdout)).await;
    assert!(read.text().ends_with("1099999\n") && read.text().len() <= 64 * 1024);
    assert!(read.eof);
    local.finish().await;
}

#[tokio::test]
async fn a_sandbox_that_never_ran_has_an_empty_log() {
    let local = Local::start().await;
    let sandbox = local.sandbox(["no-such-command"]).create_v1().await;
    let read = read(&local, request(&sandbox, FileDescriptor::Stdout)).await;
    assert!(read.entries.is_empty() && read.eof);
    let unknown = pb::SandboxGetLogsRequest {
        sandbox_id: "sb-none".into(),
        ..pb::SandboxGetLogsRequest::default()
    };
    assert_eq!(
        code(local.control().sandbox_get_logs(unknown).await),
        Code::NotFound
    );
    local.finish().await;
}
