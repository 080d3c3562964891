//! Pipes, processes and printed items.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;
use tokio::net::unix::pipe::{OpenOptions, Receiver, Sender};
use tonic::{Code, Status};

pub(crate) fn marker(state: &Path) -> String {
    let instance = fs::read_to_string(state.join("instance")).unwrap();
    format!("MODAL_LOCAL_SANDBOX={instance}/")
}

/// Processes with a text in their environment.
pub(crate) fn marked(marker: &str) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap();
    pids.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            String::from_utf8_lossy(&environ).contains(marker)
        })
        .collect()
}

/// A named pipe by which a command and a test tell each other a line, in one
/// direction. It is held open at both ends, so that neither side waits for the
/// other to open it, and a line waits for its reader.
pub(crate) struct Fifo {
    path: PathBuf,
    receiver: Receiver,
    sender: Sender,
    _directory: TempDir,
}

impl Fifo {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let mut open = OpenOptions::new();
        open.read_write(true);
        Self {
            receiver: open.open_receiver(&path).unwrap(),
            sender: open.open_sender(&path).unwrap(),
            path,
            _directory: directory,
        }
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// The next line.
    pub(crate) async fn read(&self) -> String {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            in_time(self.receiver.readable()).await.unwrap();
            let mut byte = [0];
            match self.receiver.try_read(&mut byte) {
                Ok(_) => line.extend(byte),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        String::from_utf8(line).unwrap().trim().to_owned()
    }

    /// Lets a reader of a line go on.
    pub(crate) fn write(&self) {
        assert_eq!(self.sender.try_write(b"\n").unwrap(), 1);
    }
}

/// Whether a process exists and is no zombie.
pub(crate) fn is_running(pid: &str) -> bool {
    let pid: i32 = pid.parse().unwrap();
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    !rest.starts_with(['Z', 'X'])
}

/// Nothing in these tests takes a minute.
pub(crate) async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("to happen within a minute")
}

pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, Status>) -> Code {
    result.expect_err("a refusal").code()
}

/// Splits what was printed with NUL bytes after every item.
pub(crate) fn items(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let mut items: Vec<String> = text.split('\0').map(str::to_owned).collect();
    assert_eq!(items.pop().as_deref(), Some(""));
    items
}

/// Variables printed by `env -0`.
pub(crate) fn variables(bytes: &[u8]) -> BTreeMap<String, String> {
    items(bytes)
        .iter()
        .map(|item| {
            let (key, value) = item.split_once('=').unwrap();
            (key.to_owned(), value.to_owned())
        })
        .collect()
}
