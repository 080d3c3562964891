//! A stream's output, kept for reading again: the first few KiB in memory, the
//! rest in segment files, the oldest of which goes when there is too much.

mod files;

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use tokio::{sync::watch, task::spawn_blocking};

use self::files::{Files, read_file};
use crate::{
    executor::{Chunk, Output, Pin, Pins},
    limits,
    sync::lock,
};

/// The readable side.
#[derive(Debug)]
pub(super) struct Log {
    segments: Mutex<VecDeque<Segment>>,
    extent: watch::Sender<Extent>,
    /// Readers that must not miss anything.
    pins: Option<Arc<Pins>>,
    /// What was written last, while they follow.
    recent: Mutex<VecDeque<Chunk>>,
}

/// The writing side; closes the stream when dropped.
#[derive(Debug)]
pub(super) struct Appender {
    log: Arc<Log>,
    /// Away while it writes, and for good when the runtime shuts down.
    files: Option<Files>,
}

#[derive(Clone, Copy, Debug)]
struct Extent {
    end: u64,
    closed: bool,
}

/// Consecutive bytes. Between two segments there is a gap only where the disk
/// refused to take output.
#[derive(Debug)]
struct Segment {
    start: u64,
    length: u64,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Memory(Vec<u8>),
    File(PathBuf),
}

/// A piece of the log, or where to read it.
enum Piece {
    Here(Chunk),
    OnDisk {
        path: PathBuf,
        skip: u64,
        start: u64,
        length: u64,
    },
}

impl Log {
    /// A log with segment files `name.OFFSET` in `directory`, and its writing
    /// side. `cap` is in bytes.
    pub(super) fn new(
        directory: PathBuf,
        name: impl Into<String>,
        cap: u64,
    ) -> (Arc<Self>, Appender) {
        Self::with_pins(directory, name.into(), cap, None)
    }

    /// As [`new`](Self::new), but at the cap the writer waits for readers that
    /// are behind.
    pub(super) fn pinned(directory: PathBuf, name: String, cap: u64) -> (Arc<Self>, Appender) {
        Self::with_pins(directory, name, cap, Some(Arc::default()))
    }

    fn with_pins(
        directory: PathBuf,
        name: String,
        cap: u64,
        pins: Option<Arc<Pins>>,
    ) -> (Arc<Self>, Appender) {
        let log = Arc::new(Self {
            segments: Mutex::default(),
            extent: watch::Sender::new(Extent {
                end: 0,
                closed: false,
            }),
            pins,
            recent: Mutex::default(),
        });
        let appender = Appender {
            log: Arc::clone(&log),
            files: Some(Files::new(directory, name, cap)),
        };
        (log, appender)
    }

    /// What an earlier server kept: the head that was recorded, and the segment
    /// files. Blocks.
    pub(super) fn reopen(directory: &Path, name: &str, head: &[u8]) -> io::Result<Arc<Self>> {
        let mut segments = Vec::new();
        if !head.is_empty() {
            segments.push(Segment {
                start: 0,
                length: head.len() as u64,
                data: Data::Memory(head.to_vec()),
            });
        }
        segments.extend(files::segments(directory, name)?);
        segments.sort_by_key(|segment| segment.start);
        let end = segments.last().map_or(0, |last| last.start + last.length);
        Ok(Arc::new(Self {
            segments: Mutex::new(segments.into()),
            extent: watch::Sender::new(Extent { end, closed: true }),
            pins: None,
            recent: Mutex::default(),
        }))
    }

    async fn next(&self, offset: u64) -> io::Result<Option<Chunk>> {
        let mut extent = self.extent.subscribe();
        loop {
            let closed = extent.borrow_and_update().closed;
            match self.piece(offset) {
                Some(Piece::Here(chunk)) => return Ok(Some(chunk)),
                Some(Piece::OnDisk {
                    path,
                    skip,
                    start,
                    length,
                }) => {
                    let file = path.clone();
                    match spawn_blocking(move || read_file(&file, skip, length)).await? {
                        Ok(bytes) => return Ok(Some(Chunk { start, bytes })),
                        // It went over the cap in the meantime.
                        Err(error)
                            if error.kind() == io::ErrorKind::NotFound && !self.has(&path) => {}
                        Err(error) => return Err(error),
                    }
                }
                None if closed => return Ok(None),
                None => {
                    // Fails when the sender is gone, which is part of self.
                    let _ = extent.changed().await;
                }
            }
        }
    }

    fn piece(&self, offset: u64) -> Option<Piece> {
        if let Some(chunk) = self.recent(offset) {
            return Some(Piece::Here(chunk));
        }
        let segments = lock(&self.segments);
        let segment = segments
            .iter()
            .find(|segment| segment.start + segment.length > offset)?;
        let start = offset.max(segment.start);
        let skip = start - segment.start;
        Some(match &segment.data {
            Data::Memory(bytes) => {
                let rest = usize::try_from(skip)
                    .ok()
                    .and_then(|skip| bytes.get(skip..));
                Piece::Here(Chunk {
                    start,
                    bytes: Bytes::copy_from_slice(rest.unwrap_or_default()),
                })
            }
            Data::File(path) => Piece::OnDisk {
                path: path.clone(),
                skip,
                start,
                length: (segment.length - skip).min(limits::READ_CHUNK as u64),
            },
        })
    }

    fn recent(&self, offset: u64) -> Option<Chunk> {
        let recent = lock(&self.recent);
        let chunk = recent
            .iter()
            .find(|chunk| (chunk.start..chunk.end()).contains(&offset))?;
        let skip = usize::try_from(offset - chunk.start).ok()?;
        Some(Chunk {
            start: offset,
            bytes: chunk.bytes.slice(skip..),
        })
    }

    /// Shows bytes to those who follow, before they are kept.
    fn show(&self, bytes: &Bytes) {
        let mut recent = lock(&self.recent);
        if !self.pins.as_ref().is_some_and(|pins| pins.any()) {
            recent.clear();
            return;
        }
        recent.push_back(Chunk {
            start: self.end(),
            bytes: bytes.clone(),
        });
        let mut held: usize = recent.iter().map(|chunk| chunk.bytes.len()).sum();
        while held > limits::RECENT_OUTPUT {
            let Some(oldest) = recent.pop_front() else {
                break;
            };
            held -= oldest.bytes.len();
        }
        drop(recent);
        self.extent.send_modify(|_| {});
    }

    /// The offset that every reader must have passed before so many more bytes
    /// may be appended; `None` when nothing has to go for them.
    fn about_to_drop(&self, more: usize, cap: u64) -> Option<u64> {
        let segments = lock(&self.segments);
        let mut kept = more as u64;
        kept += segments.iter().map(|segment| segment.length).sum::<u64>();
        let mut end = None;
        for segment in segments.iter() {
            if kept <= cap {
                break;
            }
            kept -= segment.length;
            end = Some(segment.start + segment.length);
        }
        drop(segments);
        // What was sent to a reader it need not have seen.
        let needed = end? + limits::UNSEEN_OUTPUT.min(cap / 2);
        Some(needed.min(self.end()))
    }

    fn has(&self, wanted: &Path) -> bool {
        lock(&self.segments)
            .iter()
            .any(|segment| matches!(&segment.data, Data::File(path) if path == wanted))
    }

    fn end(&self) -> u64 {
        self.extent.borrow().end
    }

    fn advance(&self, bytes: usize) {
        self.extent.send_modify(|extent| extent.end += bytes as u64);
    }
}

impl Output for Log {
    fn read(&self, offset: u64) -> BoxFuture<'_, io::Result<Option<Chunk>>> {
        self.next(offset).boxed()
    }

    fn pin(&self, offset: u64) -> Option<Pin> {
        self.pins.as_ref().map(|pins| pins.pin(offset))
    }

    fn head(&self) -> Bytes {
        match lock(&self.segments).front() {
            Some(Segment {
                data: Data::Memory(bytes),
                ..
            }) => Bytes::copy_from_slice(bytes),
            _ => Bytes::new(),
        }
    }

    fn kept(&self) -> u64 {
        lock(&self.segments)
            .iter()
            .map(|segment| segment.length)
            .sum()
    }

    fn discard(&self) -> BoxFuture<'_, ()> {
        let dropped: Vec<Segment> = lock(&self.segments).drain(..).collect();
        async move {
            // Fails only while the runtime shuts down; the files go with the
            // sandbox's directory.
            let _ = spawn_blocking(move || dropped.into_iter().for_each(Segment::remove)).await;
        }
        .boxed()
    }
}

impl Segment {
    /// Blocks.
    fn remove(self) {
        if let Data::File(path) = self.data {
            // Else it goes with the sandbox's directory.
            let _ = fs::remove_file(path);
        }
    }
}

impl Appender {
    /// Appends bytes, and returns when they are kept: whoever captures output
    /// waits here, and the command waits for its pipe.
    ///
    /// What the disk refuses is lost, with a warning, and readers see the gap:
    /// a full disk must not stop the command for good.
    pub(super) async fn append(&mut self, bytes: Bytes) {
        if self.fits_in_memory(&bytes) {
            self.log.advance(bytes.len());
        } else if let Some(mut files) = self.files.take() {
            if let Some(pins) = &self.log.pins
                && let Some(needed) = self.log.about_to_drop(bytes.len(), files.cap())
            {
                pins.passed(needed).await;
            }
            self.log.show(&bytes);
            let log = Arc::clone(&self.log);
            let written = spawn_blocking(move || {
                files.append(&log, &bytes);
                files
            });
            self.files = written.await.ok();
        }
    }

    fn fits_in_memory(&self, bytes: &[u8]) -> bool {
        let limit = self.files.as_ref().map_or(0, |files| {
            files.segment_size().min(limits::OUTPUT_IN_MEMORY as u64)
        });
        let mut segments = lock(&self.log.segments);
        if segments.is_empty() && self.log.end() == 0 {
            segments.push_back(Segment {
                start: 0,
                length: 0,
                data: Data::Memory(Vec::new()),
            });
        }
        match segments.back_mut() {
            Some(Segment {
                length,
                data: Data::Memory(memory),
                ..
            }) if *length + bytes.len() as u64 <= limit => {
                memory.extend_from_slice(bytes);
                *length += bytes.len() as u64;
                true
            }
            _ => false,
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        lock(&self.log.recent).clear();
        self.log.extent.send_modify(|extent| extent.closed = true);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const CAP: u64 = 64 * 1024;

    async fn read_from(log: &Log, mut offset: u64) -> (u64, Vec<u8>) {
        let (mut first, mut bytes) = (None, Vec::new());
        while let Some(chunk) = log.read(offset).await.unwrap() {
            assert!(!chunk.bytes.is_empty());
            first.get_or_insert(chunk.start);
            offset = chunk.end();
            bytes.extend_from_slice(&chunk.bytes);
        }
        (first.unwrap_or(offset), bytes)
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..=250).cycle().take(length).collect()
    }

    #[tokio::test]
    async fn reads_back_from_every_offset() {
        let directory = tempfile::tempdir().unwrap();
        let (log, mut appender) = Log::new(directory.path().to_owned(), "stdout", CAP);
        let all = pattern(50_000);
        // From memory to files, across segments, in odd pieces.
        for piece in all.chunks(7_777) {
            appender.append(Bytes::copy_from_slice(piece)).await;
        }
        drop(appender);
        for offset in [0, 1, 7_776, 7_777, 8_192, 20_000, 49_999, 50_000, 60_000] {
            let expected = all.get(offset..).unwrap_or_default();
            let (start, bytes) = read_from(&log, offset as u64).await;
            assert_eq!((start, bytes.as_slice()), (offset as u64, expected));
        }
        assert_eq!(log.kept(), 50_000);
    }

    #[tokio::test]
    async fn the_oldest_goes_at_the_cap() {
        let directory = tempfile::tempdir().unwrap();
        let (log, mut appender) = Log::new(directory.path().to_owned(), "stdout", CAP);
        let all = pattern(1_000_000);
        for piece in all.chunks(64 * 1024) {
            appender.append(Bytes::copy_from_slice(piece)).await;
            assert!(log.kept() <= CAP);
        }
        drop(appender);
        assert!(log.kept() > CAP - CAP / 8, "{}", log.kept());
        let (start, bytes) = read_from(&log, 0).await;
        assert_eq!(start, 1_000_000 - log.kept());
        assert_eq!(bytes, all[usize::try_from(start).unwrap()..]);
        let on_disk: u64 = fs::read_dir(directory.path())
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum();
        assert_eq!(on_disk, log.kept());
    }

    #[tokio::test]
    async fn a_little_output_costs_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let (log, mut appender) = Log::new(directory.path().to_owned(), "stdout", CAP);
        appender.append(Bytes::from_static(b"hello")).await;
        drop(appender);
        assert_eq!(read_from(&log, 1).await, (1, b"ello".to_vec()));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn the_next_server_reads_the_same() {
        for length in [0, 5, 50_000, 200_000] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path();
            let (log, mut appender) = Log::new(path.to_owned(), "stdout", CAP);
            let (_other, mut beside) = Log::new(path.to_owned(), "stderr", CAP);
            beside.append(Bytes::from(pattern(20_000))).await;
            for piece in pattern(length).chunks(7_777) {
                appender.append(Bytes::copy_from_slice(piece)).await;
            }
            drop(appender);
            let again = Log::reopen(path, "stdout", &log.head()).unwrap();
            assert_eq!(read_from(&again, 0).await, read_from(&log, 0).await);
            assert_eq!(again.kept(), log.kept());
        }
    }

    #[tokio::test]
    async fn a_reader_waits_for_more() {
        let directory = tempfile::tempdir().unwrap();
        let (log, mut appender) = Log::new(directory.path().to_owned(), "stdout", CAP);
        let mut early = log.read(3);
        assert!(futures::poll!(&mut early).is_pending());
        appender.append(Bytes::from_static(b"abc")).await;
        assert!(futures::poll!(&mut early).is_pending());
        appender.append(Bytes::from_static(b"d")).await;
        let chunk = early.await.unwrap().unwrap();
        assert_eq!((chunk.start, chunk.bytes.as_ref()), (3, b"d".as_slice()));
        let mut last = log.read(4);
        assert!(futures::poll!(&mut last).is_pending());
        drop(appender);
        assert_eq!(last.await.unwrap(), None);
    }

    #[tokio::test]
    async fn followers_are_sent_what_was_just_written() {
        let directory = tempfile::tempdir().unwrap();
        // Nothing can be read back.
        let gone = directory.path().join("gone");
        let (log, mut appender) = Log::pinned(gone, "stdout".to_owned(), CAP);
        let pin = log.pin(0).unwrap();
        let all = pattern(limits::RECENT_OUTPUT * 2);
        let mut read = Vec::new();
        for piece in all.chunks(100_000) {
            appender.append(Bytes::copy_from_slice(piece)).await;
            let offset = read.len() as u64 + 10;
            let chunk = log.read(offset).await.unwrap().unwrap();
            assert_eq!((chunk.start, &chunk.bytes[..]), (offset, &piece[10..]));
            read.extend_from_slice(piece);
            pin.advance(read.len() as u64);
        }
        assert!(read == all);
        // Not for ever, and not when nobody follows.
        assert!(log.recent(0).is_none());
        drop(pin);
        appender.append(Bytes::from_static(&[0; 10_000])).await;
        assert!(log.recent(all.len() as u64 - 1).is_none());
    }

    #[tokio::test]
    async fn a_refusing_disk_leaves_a_gap() {
        let directory = tempfile::tempdir().unwrap();
        let gone = directory.path().join("gone");
        let (log, mut appender) = Log::new(gone.clone(), "stdout", CAP);
        appender.append(Bytes::from_static(b"kept")).await;
        appender.append(Bytes::from(vec![b'x'; 10_000])).await;
        fs::create_dir(&gone).unwrap();
        appender.append(Bytes::from(vec![b'y'; 10_000])).await;
        drop(appender);
        assert_eq!(log.read(0).await.unwrap().unwrap().bytes.as_ref(), b"kept");
        let next = log.read(4).await.unwrap().unwrap();
        assert_eq!((next.start, next.bytes[0]), (10_004, b'y'));
        // Forgotten altogether: an error, not an endless search.
        fs::remove_dir_all(&gone).unwrap();
        assert!(log.read(10_004).await.is_err());
    }
}
