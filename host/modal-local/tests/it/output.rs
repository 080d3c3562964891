//! Output, byte for byte, through the worker plane.

use modal_proto::{
    client::GenericStatus,
    task_command_router::{
        SandboxStdioFileDescriptor::{Stderr, Stdout},
        SandboxStdioReadV2Request,
    },
};

use crate::harness::{Fifo, Local, in_time};

#[tokio::test]
async fn the_streams_are_apart_and_exact() {
    let local = Local::start().await;
    let script = r"printf 'out\000\377\n'; printf 'err\n' >&2; printf last";
    for sandbox in [
        local.script(script).create().await,
        local.script(script).create_v1().await,
    ] {
        sandbox.ends_with(GenericStatus::Success, 0).await;
        assert_eq!(sandbox.stdout(&local).await, b"out\0\xff\nlast");
        assert_eq!(sandbox.stderr(&local).await, b"err\n");
        // Again, from anywhere, after the end.
        assert_eq!(sandbox.read(&local, Stdout, 6).await, (6, b"last".to_vec()));
        assert_eq!(sandbox.read(&local, Stderr, 4).await, (4, Vec::new()));
        assert_eq!(sandbox.read(&local, Stdout, 1_000).await.1, b"");
    }
    local.finish().await;
}

#[tokio::test]
async fn output_is_followed_as_it_comes() {
    let local = Local::start().await;
    let go = Fifo::new();
    let script = format!("echo one; read x < {}; echo two", go.path());
    let sandbox = local.script(&script).create().await;
    let request = SandboxStdioReadV2Request {
        task_id: sandbox.task.clone(),
        ..SandboxStdioReadV2Request::default()
    };
    let mut router = local.router(&sandbox.jwt);
    let mut stream = router
        .sandbox_stdio_read_v2(request)
        .await
        .unwrap()
        .into_inner();
    let chunk = in_time(stream.message()).await.unwrap().unwrap();
    assert_eq!(
        (chunk.data.as_slice(), chunk.starting_offset),
        (&b"one\n"[..], 0)
    );
    // Nothing follows until the command goes on.
    let mut next = Box::pin(stream.message());
    assert!(futures::poll!(&mut next).is_pending());
    go.write();
    let chunk = in_time(next).await.unwrap().unwrap();
    assert_eq!(
        (chunk.data.as_slice(), chunk.starting_offset),
        (&b"two\n"[..], 4)
    );
    assert!(in_time(stream.message()).await.unwrap().is_none());
    local.finish().await;
}

#[tokio::test]
async fn a_line_of_ten_megabytes_arrives_whole() {
    let local = Local::start().await;
    let length = 10_000_000;
    let script = format!("head -c {length} /dev/zero | tr '\\0' x");
    let sandbox = local.script(&script).create().await;
    let bytes = in_time(sandbox.stdout(&local)).await;
    assert_eq!(bytes.len(), length);
    assert!(bytes.iter().all(|byte| *byte == b'x'));
    sandbox.ends_with(GenericStatus::Success, 0).await;
    let (start, rest) = sandbox.read(&local, Stdout, 9_999_990).await;
    assert_eq!((start, rest.len()), (9_999_990, 10));
    local.finish().await;
}

#[tokio::test]
async fn the_oldest_output_goes_at_the_cap() {
    let cap = 64 * 1024;
    let local = Local::with(|options| options.limits.output_per_stream = cap).await;
    // Numbered lines of eight bytes: any part of it says where it is from.
    let sandbox = local.script("seq 1000000 1099999").create().await;
    sandbox.ends_with(GenericStatus::Success, 0).await;
    let total = 800_000;
    let (start, kept) = sandbox.read(&local, Stdout, 0).await;
    assert_eq!(start + kept.len() as u64, total);
    assert!(kept.len() as u64 <= cap && kept.len() as u64 > cap - cap / 8);
    let all: String = (1_000_000..1_100_000)
        .map(|number| format!("{number}\n"))
        .collect();
    assert_eq!(kept, all.as_bytes()[usize::try_from(start).unwrap()..]);
    // An offset that is still there is served from there.
    assert_eq!(
        sandbox.read(&local, Stdout, total - 8).await,
        (total - 8, b"1099999\n".to_vec())
    );
    local.finish().await;
}

#[tokio::test]
async fn many_readers_of_one_stream_read_the_same() {
    let local = Local::start().await;
    let go = Fifo::new();
    let script = format!("read x < {}; seq 100000", go.path());
    let sandbox = local.script(&script).create().await;
    let readers: Vec<_> = (0..10).map(|_| sandbox.stdout(&local)).collect();
    let readers = futures::future::join_all(readers);
    let (all, ()) = in_time(futures::future::join(readers, async { go.write() })).await;
    let expected: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    assert!(all.iter().all(|read| read == expected.as_bytes()));
    local.finish().await;
}

#[tokio::test]
async fn a_reader_that_comes_before_the_start_waits_for_it() {
    let local = Local::start().await;
    for _ in 0..20 {
        let sandbox = local.script("echo here").create().await;
        assert_eq!(in_time(sandbox.stdout(&local)).await, b"here\n");
    }
    local.finish().await;
}
