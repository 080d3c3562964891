//! Tells what happens to files, a line of JSON for each event.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
};

use bytes::Bytes;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use serde::Serialize;
use tokio::{net::unix::pipe::Receiver, sync::watch};

use super::{
    blocking,
    failure::{Failure, Kind},
    operations::{refusal, text},
    output,
    place::{Inside, Place},
};
use crate::{executor::process::log::Appender, limits};

/// What is watched, and for whom.
pub(super) struct Watch {
    watched: Watched,
    queue: OwnedFd,
    filter: Option<Vec<String>>,
}

/// The directories, or the file, that events come from.
struct Watched {
    place: Place,
    /// What each watch descriptor stands for: a path in the place, and as it is
    /// shown.
    paths: BTreeMap<i32, (PathBuf, PathBuf)>,
    recursive: bool,
}

/// One event, as clients read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Line {
    event_type: &'static str,
    /// Names that are no text have marks in their place.
    paths: Vec<String>,
}

/// One event, as the system tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Event {
    watch: i32,
    flags: ReadFlags,
    /// The same for both ends of a move.
    cookie: u32,
    name: Vec<u8>,
}

impl Watch {
    /// Begins to watch. A link is followed, and events name what it leads to.
    /// Blocks.
    pub(super) fn begin(
        place: &Place,
        path: &Path,
        recursive: bool,
        filter: Option<Vec<String>>,
    ) -> Result<Self, Failure> {
        let failed = |error| refusal(place, error);
        let Inside { root, path } = place.inside(path)?;
        let path = root.canonicalize(path).map_err(failed)?;
        // Without the dot that stands for the directory itself.
        let path: PathBuf = path
            .components()
            .filter(|part| *part != Component::CurDir)
            .collect();
        let is_directory = root.metadata(non_empty(&path)).map_err(failed)?.is_dir();
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        let queue = queue.map_err(io::Error::from)?;
        let mut watched = Watched {
            place: place.clone(),
            paths: BTreeMap::new(),
            recursive,
        };
        if is_directory {
            watched.add_directory(&queue, &path, &mut Vec::new())?;
        } else {
            let inside = Inside {
                root,
                path: path.clone(),
            };
            let file = output::open(&inside).map_err(failed)?;
            watched.add(&queue, &file, &path)?;
        }
        Ok(Self {
            watched,
            queue,
            filter,
        })
    }

    /// Prints lines until the input ends.
    pub(super) async fn follow(
        self,
        mut ended: watch::Receiver<bool>,
        printed: &mut Appender,
    ) -> Result<(), Failure> {
        let Self {
            mut watched,
            queue,
            filter,
        } = self;
        // It is not a pipe, but as good.
        let mut queue = Receiver::from_owned_fd_unchecked(queue)?;
        let mut buffer = vec![0; limits::WATCH_BUFFER];
        loop {
            tokio::select! {
                biased;
                // Fails when the command was dropped, which ends this too.
                _ = ended.wait_for(|ended| *ended) => return Ok(()),
                ready = queue.readable() => ready?,
            }
            let read = match queue.try_read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            };
            let events = parse(buffer.get(..read).unwrap_or_default());
            // New directories are watched, and looked into, off this thread.
            let lines;
            (watched, queue, lines) = blocking(move || {
                let lines = watched.lines(&queue, &events)?;
                Ok((watched, queue, lines))
            })
            .await?;
            let mut text = Vec::new();
            for line in lines {
                let wanted = filter
                    .as_ref()
                    .is_none_or(|wanted| wanted.iter().any(|wanted| wanted == line.event_type));
                if wanted {
                    text.extend(serde_json::to_vec(&line).unwrap_or_default());
                    text.push(b'\n');
                }
            }
            if !text.is_empty() {
                printed.append(Bytes::from(text)).await;
            }
        }
    }
}

impl Watched {
    /// Watches a directory, and those in it; what is already in them is told as
    /// found.
    fn add_directory(
        &mut self,
        queue: &impl AsFd,
        path: &Path,
        found: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let place = self.place.clone();
        let root = place.open()?;
        let mut below = vec![path.to_owned()];
        while let Some(path) = below.pop() {
            let directory = match root.open_dir(non_empty(&path)) {
                Ok(directory) => directory,
                // It is gone again, or closed: nothing can be told of it.
                Err(_) if !self.paths.is_empty() => continue,
                Err(error) => return Err(refusal(&place, error)),
            };
            self.add(queue, &directory, &path)?;
            for entry in directory.entries()?.flatten() {
                let inner = path.join(entry.file_name());
                found.push(text(&place.shown(&inner)));
                if self.recursive && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    below.push(inner);
                }
            }
        }
        Ok(())
    }

    /// Watches what a descriptor stands for, whatever its path leads to now.
    fn add(&mut self, queue: &impl AsFd, file: &impl AsRawFd, path: &Path) -> Result<(), Failure> {
        if self.paths.len() >= limits::WATCHED_DIRECTORIES {
            return Err(Failure::new(
                Kind::NotSupported,
                format!(
                    "more than {} directories to watch",
                    limits::WATCHED_DIRECTORIES
                ),
            ));
        }
        let descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
        let watch = inotify::add_watch(queue, descriptor, WATCH).map_err(io::Error::from)?;
        let shown = self.place.shown(path);
        self.paths.insert(watch, (path.to_owned(), shown));
        Ok(())
    }

    fn lines(&mut self, queue: &impl AsFd, events: &[Event]) -> Result<Vec<Line>, Failure> {
        let mut lines = Vec::new();
        let mut events = events.iter().peekable();
        while let Some(event) = events.next() {
            if event.flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                lines.push(Line {
                    event_type: "Unknown",
                    paths: self
                        .paths
                        .values()
                        .map(|(_, shown)| text(shown))
                        .take(1)
                        .collect(),
                });
                continue;
            }
            if event.flags.contains(ReadFlags::IGNORED) {
                self.paths.remove(&event.watch);
                continue;
            }
            let Some(path) = self.shown(event) else {
                continue;
            };
            let moved_to = events.next_if(|next| {
                event.flags.contains(ReadFlags::MOVED_FROM)
                    && next.flags.contains(ReadFlags::MOVED_TO)
                    && next.cookie == event.cookie
            });
            let target = moved_to.and_then(|target| self.shown(target));
            let paths = std::iter::once(path).chain(target).collect();
            if let Some(event_type) = event_type(event.flags, moved_to.is_some()) {
                lines.push(Line { event_type, paths });
            }
            self.add_new(queue, moved_to.unwrap_or(event), &mut lines)?;
        }
        Ok(lines)
    }

    /// Watches a new directory, and tells what was put into it before that.
    fn add_new(
        &mut self,
        queue: &impl AsFd,
        event: &Event,
        lines: &mut Vec<Line>,
    ) -> Result<(), Failure> {
        let is_new = event
            .flags
            .intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
        if !self.recursive || !is_new || !event.flags.contains(ReadFlags::ISDIR) {
            return Ok(());
        }
        let Some((directory, _)) = self.paths.get(&event.watch) else {
            return Ok(());
        };
        let path = directory.join(OsStr::from_bytes(&event.name));
        let mut found = Vec::new();
        self.add_directory(queue, &path, &mut found)?;
        lines.extend(found.into_iter().map(|path| Line {
            event_type: "Create",
            paths: vec![path],
        }));
        Ok(())
    }

    fn shown(&self, event: &Event) -> Option<String> {
        let (_, shown) = self.paths.get(&event.watch)?;
        Some(if event.name.is_empty() {
            text(shown)
        } else {
            text(&shown.join(OsStr::from_bytes(&event.name)))
        })
    }
}

/// Not that something is only opened: looking into new directories does that.
const WATCH: WatchFlags = WatchFlags::ATTRIB
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::MOVE);

/// The names that clients know. A move is both ends of it, or one.
fn event_type(flags: ReadFlags, is_whole_move: bool) -> Option<&'static str> {
    let is = |wanted: ReadFlags| flags.intersects(wanted);
    Some(if is(ReadFlags::CREATE) {
        "Create"
    } else if is(ReadFlags::DELETE | ReadFlags::DELETE_SELF) {
        "Remove"
    } else if is(ReadFlags::MODIFY | ReadFlags::ATTRIB) {
        "Modify"
    } else if is(ReadFlags::MOVED_FROM) {
        if is_whole_move {
            "Rename"
        } else {
            "RenameFrom"
        }
    } else if is(ReadFlags::MOVED_TO) {
        "RenameTo"
    } else if is(ReadFlags::CLOSE_WRITE) {
        "Access"
    } else {
        return None;
    })
}

/// Events as they lie in the buffer: four numbers of four bytes, and a name of
/// the length that the last one says, filled up with NUL bytes.
fn parse(mut bytes: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<16>() {
        let (numbers, _) = head.as_chunks::<4>();
        let [watch, flags, cookie, length] = numbers else {
            break;
        };
        let length = u32::from_ne_bytes(*length);
        let Some((name, rest)) =
            rest.split_at_checked(usize::try_from(length).unwrap_or(usize::MAX))
        else {
            break;
        };
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        events.push(Event {
            watch: i32::from_ne_bytes(*watch),
            flags: ReadFlags::from_bits_retain(u32::from_ne_bytes(*flags)),
            cookie: u32::from_ne_bytes(*cookie),
            name: name.to_vec(),
        });
        bytes = rest;
    }
    events
}

/// The directory itself is `.` for those who open it.
fn non_empty(path: &Path) -> &Path {
    if path == Path::new("") {
        Path::new(".")
    } else {
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_from_the_buffer() {
        let event = |watch: i32, flags: u32, cookie: u32, name: &[u8]| {
            let length = u32::try_from(name.len()).unwrap();
            let numbers = [
                watch.to_ne_bytes(),
                flags.to_ne_bytes(),
                cookie.to_ne_bytes(),
                length.to_ne_bytes(),
            ];
            [numbers.as_flattened(), name].concat()
        };
        let buffer = [
            event(1, ReadFlags::CREATE.bits(), 0, b"file\0\0\0\0"),
            event(-1, ReadFlags::QUEUE_OVERFLOW.bits(), 7, b""),
        ]
        .concat();
        let events = parse(&buffer);
        assert_eq!(events.len(), 2);
        assert_eq!(
            (events[0].watch, events[0].name.as_slice()),
            (1, &b"file"[..])
        );
        assert_eq!(events[0].flags, ReadFlags::CREATE);
        assert_eq!((events[1].watch, events[1].cookie), (-1, 7));
        // A part of an event is none.
        for length in 0..buffer.len() {
            assert!(parse(&buffer[..length]).len() < 2);
        }
    }
}
