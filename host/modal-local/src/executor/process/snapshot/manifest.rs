//! What a directory looked like.

use std::io;

use prost::{Message, Oneof};

use crate::executor::Hash;

/// Everything in a directory: each directory before what is in it, in the order
/// of names, so that the same directory gives the same bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Manifest {
    pub(super) entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// Relative to the directory; empty for itself. Not necessarily text.
    pub(super) path: Vec<u8>,
    /// Permission bits. Symbolic links have none.
    pub(super) mode: u32,
    pub(super) modified: Time,
    pub(super) kind: Kind,
}

/// Since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time {
    pub(super) seconds: i64,
    pub(super) nanoseconds: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Directory,
    File(Hash),
    /// Another name of an earlier file.
    HardLink(Vec<u8>),
    Symlink(Vec<u8>),
    Fifo,
}

impl Manifest {
    pub(super) fn blobs(&self) -> impl Iterator<Item = Hash> {
        self.entries.iter().filter_map(|entry| match entry.kind {
            Kind::File(hash) => Some(hash),
            _ => None,
        })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let entries = self.entries.iter().map(Entry::to_wire).collect();
        ManifestWire { entries }.encode_to_vec()
    }

    pub(super) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a snapshot is damaged");
        let manifest = ManifestWire::decode(bytes).map_err(|_| damaged())?;
        let entries = manifest.entries.into_iter().map(Entry::parse);
        let entries = entries.collect::<Option<_>>().ok_or_else(damaged)?;
        Ok(Self { entries })
    }
}

impl Entry {
    fn to_wire(&self) -> EntryWire {
        EntryWire {
            path: self.path.clone(),
            mode: self.mode,
            seconds: self.modified.seconds,
            nanoseconds: self.modified.nanoseconds,
            kind: Some(match &self.kind {
                Kind::Directory => KindWire::Directory(true),
                Kind::File(hash) => KindWire::File(hash.as_bytes().to_vec()),
                Kind::HardLink(path) => KindWire::HardLink(path.clone()),
                Kind::Symlink(target) => KindWire::Symlink(target.clone()),
                Kind::Fifo => KindWire::Fifo(true),
            }),
        }
    }

    fn parse(wire: EntryWire) -> Option<Self> {
        Some(Self {
            path: wire.path,
            mode: wire.mode,
            modified: Time {
                seconds: wire.seconds,
                nanoseconds: wire.nanoseconds,
            },
            kind: match wire.kind? {
                KindWire::Directory(_) => Kind::Directory,
                KindWire::File(hash) => Kind::File(Hash::from_slice(&hash)?),
                KindWire::HardLink(path) => Kind::HardLink(path),
                KindWire::Symlink(target) => Kind::Symlink(target),
                KindWire::Fifo(_) => Kind::Fifo,
            },
        })
    }
}

#[derive(Clone, PartialEq, Message)]
struct ManifestWire {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<EntryWire>,
}

#[derive(Clone, PartialEq, Message)]
struct EntryWire {
    #[prost(bytes = "vec", tag = "1")]
    path: Vec<u8>,
    #[prost(uint32, tag = "2")]
    mode: u32,
    #[prost(sint64, tag = "3")]
    seconds: i64,
    #[prost(uint32, tag = "4")]
    nanoseconds: u32,
    #[prost(oneof = "KindWire", tags = "5, 6, 7, 8, 9")]
    kind: Option<KindWire>,
}

#[derive(Clone, PartialEq, Oneof)]
enum KindWire {
    #[prost(bool, tag = "5")]
    Directory(bool),
    #[prost(bytes = "vec", tag = "6")]
    File(Vec<u8>),
    #[prost(bytes = "vec", tag = "7")]
    HardLink(Vec<u8>),
    #[prost(bytes = "vec", tag = "8")]
    Symlink(Vec<u8>),
    #[prost(bool, tag = "9")]
    Fifo(bool),
}
