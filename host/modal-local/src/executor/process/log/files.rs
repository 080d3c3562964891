//! The segment files of a log.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use rustix::{buffer::spare_capacity, io::pread};

use super::{Data, Log, Segment};
use crate::{limits, sync::lock};

/// The segment files of one stream.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    name: String,
    segment_size: u64,
    cap: u64,
    /// The file of the last segment; none after a failed write.
    current: Option<File>,
}

impl Files {
    pub(super) fn new(directory: PathBuf, name: String, cap: u64) -> Self {
        let cap = cap.max(limits::OUTPUT_MIN);
        Self {
            directory,
            name,
            segment_size: cap / limits::OUTPUT_SEGMENTS,
            cap,
            current: None,
        }
    }

    pub(super) fn cap(&self) -> u64 {
        self.cap
    }

    pub(super) fn segment_size(&self) -> u64 {
        self.segment_size
    }

    /// Writes all of it. Blocks.
    pub(super) fn append(&mut self, log: &Log, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = self.write(log, rest).unwrap_or_else(|error| {
                tracing::warn!(
                    %error,
                    directory = %self.directory.display(),
                    stream = %self.name,
                    lost = rest.len(),
                    "output cannot be kept"
                );
                rest.len()
            });
            log.advance(written);
            rest = rest.get(written..).unwrap_or_default();
        }
    }

    /// Writes what fits into the last segment, or starts the next one.
    fn write(&mut self, log: &Log, bytes: &[u8]) -> io::Result<usize> {
        let used = lock(&log.segments)
            .back()
            .map_or(0, |segment| segment.length);
        let (mut file, used) = match self.current.take() {
            Some(file) if used < self.segment_size => (file, used),
            _ => (self.start_segment(log)?, 0),
        };
        let room = usize::try_from(self.segment_size - used).unwrap_or(usize::MAX);
        let part = bytes.get(..room).unwrap_or(bytes);
        file.write_all(part)?;
        let mut segments = lock(&log.segments);
        if let Some(segment) = segments.back_mut() {
            segment.length += part.len() as u64;
        }
        drop_oldest(&mut segments, self.cap);
        self.current = Some(file);
        Ok(part.len())
    }

    fn start_segment(&self, log: &Log) -> io::Result<File> {
        let start = log.end();
        let path = self.directory.join(format!("{}.{start}", self.name));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        lock(&log.segments).push_back(Segment {
            start,
            length: 0,
            data: Data::File(path),
        });
        Ok(file)
    }
}

fn drop_oldest(segments: &mut VecDeque<Segment>, cap: u64) {
    let mut kept: u64 = segments.iter().map(|segment| segment.length).sum();
    while kept > cap {
        let Some(oldest) = segments.pop_front() else {
            return;
        };
        kept -= oldest.length;
        oldest.remove();
    }
}

/// The segments that are there. Blocks.
pub(super) fn segments(directory: &Path, name: &str) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let file = entry.file_name();
        let start = file
            .to_str()
            .and_then(|file| file.strip_prefix(name)?.strip_prefix('.'))
            .and_then(|start| start.parse().ok());
        if let Some(start) = start {
            segments.push(Segment {
                start,
                length: entry.metadata()?.len(),
                data: Data::File(entry.path()),
            });
        }
    }
    Ok(segments)
}

/// Reads a part of a segment. Blocks.
pub(super) fn read_file(path: &Path, skip: u64, length: u64) -> io::Result<Bytes> {
    let file = File::open(path)?;
    let length = usize::try_from(length).unwrap_or(limits::READ_CHUNK);
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let position = skip + bytes.len() as u64;
        if pread(&file, spare_capacity(&mut bytes), position)? == 0 {
            break;
        }
    }
    // A vector may have more room than it was asked for.
    bytes.truncate(length);
    if bytes.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "recorded output is shorter than it was",
        ));
    }
    Ok(Bytes::from(bytes))
}
