//! Processes, as the system shows them.

use std::{fmt, fs, os::fd::OwnedFd, path::Path, process::Child, thread, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::BOUND;

/// Tries to read an environment. The moment in which there is none is well under
/// a millisecond; a few programs of the system never have one.
const EXEC_TRIES: usize = 100;

/// One process: what it stands for never changes, as a pid's may.
pub(crate) struct Process {
    pid: i32,
    pidfd: OwnedFd,
}

impl Process {
    /// The process of a pid, if there is one.
    pub(crate) fn find(pid: i32) -> Option<Self> {
        let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        Some(Self { pid, pidfd })
    }

    pub(crate) fn of_child(child: &Child) -> Self {
        Self::find(i32::try_from(child.id()).unwrap()).unwrap()
    }

    /// Those with a text in their environment.
    pub(super) fn mentioning(text: &str) -> Vec<Self> {
        let pids = fs::read_dir("/proc").unwrap();
        pids.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
            .filter_map(|pid| {
                let process = Self::find(pid)?;
                let found = process.environment().contains(text);
                found.then_some(process)
            })
            .collect()
    }

    /// Its variables; empty when it is gone, or somebody else's.
    pub(crate) fn environment(&self) -> String {
        for _ in 0..EXEC_TRIES {
            let environment = fs::read(format!("/proc/{}/environ", self.pid));
            let environment = environment.unwrap_or_default();
            if !environment.is_empty() {
                return String::from_utf8_lossy(&environment).into_owned();
            }
            // One that is about to run another program has none for a moment.
            if fs::read_link(format!("/proc/{}/exe", self.pid)).is_err() {
                break;
            }
            thread::yield_now();
        }
        String::new()
    }

    /// Whether it is one of the program under test.
    pub(crate) fn is_flavor(&self) -> bool {
        let program = fs::read_link(format!("/proc/{}/exe", self.pid));
        program.is_ok_and(|program| program == Path::new(env!("CARGO_BIN_EXE_flavor")))
    }

    /// Program and arguments, with blanks between.
    pub(crate) fn command_line(&self) -> String {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ")
    }

    /// The most memory that it ever used, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
        kilobytes.parse::<u64>().unwrap() * 1024
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&self) -> bool {
        !self.is_gone_within(Duration::ZERO)
    }

    /// Waits for its end.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone_within(BOUND)
    }

    pub(super) fn is_gone_within(&self, time: Duration) -> bool {
        let time = Timespec::try_from(time).unwrap();
        let mut polled = [PollFd::new(&self.pidfd, PollFlags::IN)];
        poll(&mut polled, Some(&time)).unwrap() > 0
    }
}

impl PartialEq for Process {
    fn eq(&self, other: &Self) -> bool {
        self.pid == other.pid
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pid, self.command_line())
    }
}
