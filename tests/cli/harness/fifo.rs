//! A named pipe between a test and the steps of its pipeline.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::PathBuf,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{CWD, FileType, Mode, mknodat},
};

use super::{BOUND, Home};

/// A named pipe by which steps and a test tell each other a line, in one
/// direction. It is held open at both ends, so that neither side waits for the
/// other to open it, and a line waits for its reader.
///
/// A step says something with `echo a >PATH`, and waits with `read x <PATH`.
pub(crate) struct Fifo {
    path: PathBuf,
    file: File,
}

impl Fifo {
    pub(crate) fn new(home: &Home, name: &str) -> Self {
        let path = home.root().join(name);
        mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path);
        Self {
            path,
            file: file.unwrap(),
        }
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// The next line that a step says.
    pub(crate) fn line(&mut self) -> String {
        let time = Timespec::try_from(BOUND).unwrap();
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let mut polled = [PollFd::new(&self.file, PollFlags::IN)];
            let ready = poll(&mut polled, Some(&time)).unwrap();
            assert!(ready > 0, "nothing is said on {}", self.path());
            let mut byte = [0];
            self.file.read_exact(&mut byte).unwrap();
            line.extend(byte);
        }
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }

    /// Lets one step that waits go on.
    pub(crate) fn release(&mut self) {
        self.file.write_all(b"\n").unwrap();
    }
}
