//! The contents of files, by their hash.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, SystemTime},
};

use rustix::fs::{Stat, ioctl_ficlone};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::{executor::Hash, limits, state_dir, sync::lock};

/// Files named by their content. All methods block.
#[derive(Debug)]
pub(super) struct Blobs {
    directory: PathBuf,
    new: PathBuf,
    /// What files held when they were last read.
    known: Mutex<BTreeMap<FileId, Hash>>,
}

/// One version of one file of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FileId {
    device: u64,
    inode: u64,
    size: i64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileId {
    fn of(stat: &Stat) -> Self {
        #[allow(
            clippy::unnecessary_cast,
            clippy::cast_possible_wrap,
            reason = "the fields have other types on other processors"
        )]
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size as i64,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }

    /// Whether a later change would show in the times, which tick slower than
    /// commands write.
    fn is_settled(&self, now: SystemTime) -> bool {
        let seconds = u64::try_from(self.changed.0).unwrap_or(0);
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        now.duration_since(changed)
            .is_ok_and(|age| age > limits::FILE_TIME_PRECISION)
    }
}

impl Blobs {
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let (directory, new) = (root.join("blobs"), root.join("new"));
        // What an earlier server did not get to finish.
        crate::executor::process::remove(&new);
        state_dir::create(&directory, false)?;
        state_dir::create(&new, false)?;
        Ok(Self {
            directory,
            new,
            known: Mutex::default(),
        })
    }

    /// Keeps what a file holds. `stat` is the file's own.
    pub(super) fn keep(&self, file: &mut File, stat: &Stat) -> io::Result<Hash> {
        let id = FileId::of(stat);
        let known = lock(&self.known).get(&id).copied();
        if let Some(hash) = known.filter(|hash| self.path(*hash).exists()) {
            return Ok(hash);
        }
        let hash = self.copy(file)?;
        if id.is_settled(SystemTime::now()) {
            let mut known = lock(&self.known);
            if known.len() >= limits::KNOWN_FILES {
                known.clear();
            }
            known.insert(id, hash);
        }
        Ok(hash)
    }

    fn copy(&self, file: &mut File) -> io::Result<Hash> {
        let mut copy = NamedTempFile::new_in(&self.new)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; limits::COPY_BUFFER];
        // A clone is read back, so that the hash is of what is kept.
        let cloned = ioctl_ficlone(copy.as_file(), &*file).is_ok();
        loop {
            let read = if cloned {
                copy.as_file_mut().read(&mut buffer)?
            } else {
                file.read(&mut buffer)?
            };
            let bytes = buffer.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            hash.update(bytes);
            if !cloned {
                copy.write_all(bytes)?;
            }
        }
        let hash = Hash(hash.finalize().into());
        let path = self.path(hash);
        if !path.exists() {
            persist(copy, &path)?;
        }
        Ok(hash)
    }

    /// Writes something as a whole or not at all.
    pub(super) fn write(&self, bytes: &[u8], path: &Path) -> io::Result<()> {
        let mut copy = NamedTempFile::new_in(&self.new)?;
        copy.write_all(bytes)?;
        persist(copy, path)
    }

    /// Fills a new file.
    pub(super) fn restore(&self, hash: Hash, file: &mut File) -> io::Result<()> {
        let mut blob = File::open(self.path(hash))?;
        if ioctl_ficlone(&*file, &blob).is_err() {
            io::copy(&mut blob, file)?;
        }
        Ok(())
    }

    /// Drops every blob but some.
    pub(super) fn retain(&self, wanted: impl Fn(Hash) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if !name.and_then(Hash::parse).is_some_and(&wanted) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    pub(super) fn directories(&self) -> impl Iterator<Item = &Path> {
        [&self.directory, &self.new]
            .into_iter()
            .map(PathBuf::as_path)
    }

    fn path(&self, hash: Hash) -> PathBuf {
        self.directory.join(hash.to_string())
    }
}

fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.persist(path).map(drop).map_err(|error| error.error)
}
