//! Finds every process of a sandbox by the marker variable it inherited.
//!
//! A process that has left its group (a daemon) is found this way; only one
//! that removed the variable from its environment is not.

use std::{
    collections::BTreeMap,
    fs, io, mem,
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
    thread,
};

use rustix::{
    fs::{Dir, Mode, OFlags, open, openat, readlinkat_raw},
    io::read,
    process::{Pid, PidfdFlags, pidfd_open},
};
use tokio::sync::oneshot;

use super::identity::Stat;
use crate::{ids::SandboxId, limits, sync::lock};

/// The name of the marker variable. Its value is the state directory's own
/// text, a slash, and the id of the sandbox.
pub(super) const MARKER: &str = "MODAL_LOCAL_SANDBOX";

/// Searches the machine's processes for those of one state directory.
///
/// Searches that are asked for while one runs share the next one: with
/// hundreds of sandboxes ending at once, `/proc` is read a few times, not
/// hundreds.
#[derive(Debug)]
pub(super) struct Sweeper {
    search: Arc<Search>,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    running: bool,
    waiting: Vec<(SandboxId, oneshot::Sender<Vec<Found>>)>,
}

/// A process that carries a marker.
#[derive(Debug)]
pub(super) struct Found {
    /// The process group it is in now.
    pub(super) group: i32,
    pub(super) pidfd: OwnedFd,
}

impl Sweeper {
    /// `instance` is the text of the state directory.
    pub(super) fn new(instance: &str) -> Self {
        Self {
            search: Arc::new(Search {
                prefix: format!("{MARKER}={instance}/").into_bytes(),
            }),
            queue: Arc::default(),
        }
    }

    /// The value of the marker variable for a sandbox.
    pub(super) fn marker(&self, sandbox: &SandboxId) -> String {
        let prefix = self.search.prefix.get(MARKER.len() + 1..);
        let prefix = String::from_utf8_lossy(prefix.unwrap_or_default());
        format!("{prefix}{sandbox}")
    }

    /// The processes of a sandbox that exist now.
    pub(super) async fn find(&self, sandbox: &SandboxId) -> Vec<Found> {
        let (answer, found) = oneshot::channel();
        let start = {
            let mut queue = lock(&self.queue);
            queue.waiting.push((sandbox.clone(), answer));
            !mem::replace(&mut queue.running, true)
        };
        if start {
            let (search, queue) = (Arc::clone(&self.search), Arc::clone(&self.queue));
            tokio::task::spawn_blocking(move || search.serve(&queue));
        }
        found.await.unwrap_or_default()
    }

    /// The processes of every sandbox of this state directory.
    pub(super) fn find_all(&self) -> Vec<Found> {
        self.search.run().into_values().flatten().collect()
    }
}

/// The processes of a group that exist now, with or without a marker. Blocks.
pub(super) fn members(group: Pid) -> Vec<Found> {
    let group = group.as_raw_nonzero().get();
    let is_member = |pid: Pid| Stat::of(pid).is_some_and(|stat| stat.group == group);
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| parse_pid(entry.file_name().as_encoded_bytes()));
    pids.filter(|pid| is_member(*pid))
        .filter_map(|pid| {
            let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
            // Was it still the same process when the descriptor was opened?
            is_member(pid).then_some(Found { group, pidfd })
        })
        .collect()
}

#[derive(Debug)]
struct Search {
    /// What the marker variable of every sandbox starts with.
    prefix: Vec<u8>,
}

impl Search {
    /// Searches until nobody waits.
    fn serve(&self, queue: &Mutex<Queue>) {
        loop {
            let waiting = {
                let mut queue = lock(queue);
                if queue.waiting.is_empty() {
                    queue.running = false;
                    return;
                }
                mem::take(&mut queue.waiting)
            };
            let mut found = self.run();
            for (sandbox, answer) in waiting {
                let _ = answer.send(found.remove(sandbox.as_str()).unwrap_or_default());
            }
        }
    }

    /// One pass over `/proc`: processes by the id of their sandbox.
    fn run(&self) -> BTreeMap<String, Vec<Found>> {
        match self.try_run() {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "cannot search /proc for left-over processes");
                BTreeMap::new()
            }
        }
    }

    fn try_run(&self) -> io::Result<BTreeMap<String, Vec<Found>>> {
        let proc = open(
            c"/proc",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mut environ = Vec::with_capacity(limits::ENVIRON_BUFFER);
        let mut found: BTreeMap<String, Vec<Found>> = BTreeMap::new();
        for entry in Dir::read_from(&proc)? {
            let entry = entry?;
            let Some(pid) = parse_pid(entry.file_name().to_bytes()) else {
                continue;
            };
            let Some(sandbox) = self.sandbox_of(&proc, pid, &mut environ) else {
                continue;
            };
            let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
                continue;
            };
            // Was it still the same process when the descriptor was opened?
            if self.sandbox_of(&proc, pid, &mut environ).as_ref() != Some(&sandbox) {
                continue;
            }
            let group = Stat::of(pid).map_or(0, |stat| stat.group);
            found
                .entry(sandbox)
                .or_default()
                .push(Found { group, pidfd });
        }
        Ok(found)
    }

    fn sandbox_of(&self, proc: &OwnedFd, pid: Pid, environ: &mut Vec<u8>) -> Option<String> {
        // Most of what a quiet machine runs are kernel threads, and the end of every
        // sandbox waits for this.
        if !has_program(proc, pid) {
            return None;
        }
        for _ in 0..limits::EXEC_TRIES {
            // Fails when it is gone, or somebody else's.
            read_environ(proc, pid, environ).ok()?;
            if !environ.is_empty() {
                return self.sandbox_in(environ);
            }
            if !is_inside_exec(proc, pid) {
                return None;
            }
            thread::sleep(limits::EXEC_PAUSE);
        }
        None
    }

    fn sandbox_in(&self, environ: &[u8]) -> Option<String> {
        let sandbox = environ
            .split(|byte| *byte == 0)
            .find_map(|variable| variable.strip_prefix(self.prefix.as_slice()))?;
        String::from_utf8(sandbox.to_vec()).ok()
    }
}

fn parse_pid(name: &[u8]) -> Option<Pid> {
    Pid::from_raw(std::str::from_utf8(name).ok()?.parse().ok()?)
}

fn read_environ(proc: &OwnedFd, pid: Pid, environ: &mut Vec<u8>) -> rustix::io::Result<()> {
    environ.clear();
    let path = format!("{pid}/environ");
    let file = openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    loop {
        environ.reserve(limits::ENVIRON_BUFFER);
        if read(&file, rustix::buffer::spare_capacity(environ))? == 0 {
            return Ok(());
        }
    }
}

/// Zombies and kernel threads have none.
fn has_program(proc: &OwnedFd, pid: Pid) -> bool {
    // Where it is does not matter, so the name may be cut off.
    let mut name = [0_u8; 1];
    readlinkat_raw(proc, format!("{pid}/exe"), &mut name).is_ok()
}

/// Whether a process without an environment is about to get one: one that cleared
/// it still has an address for it.
fn is_inside_exec(proc: &OwnedFd, pid: Pid) -> bool {
    has_program(proc, pid) && Stat::of(pid).is_some_and(|stat| stat.environ == 0)
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::CommandExt,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn finds_a_group() {
        let mut child = Command::new("sh")
            .args(["-c", "env -i sleep 100 & echo; wait"])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0];
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        let group = Pid::from_child(&child);
        assert_eq!(members(group).len(), 2);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn finds_the_marked_and_nobody_else() {
        let sweeper = Sweeper::new("unit-test-7f3a");
        let (one, two) = (SandboxId::from_text("sb-1"), SandboxId::from_text("sb-2"));
        let mut child = Command::new("cat")
            .env(MARKER, sweeper.marker(&one))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let (of_one, of_two) = tokio::join!(sweeper.find(&one), sweeper.find(&two));
        assert_eq!(of_one.len(), 1);
        assert!(of_two.is_empty());
        let others = Sweeper::new("unit-test-7f3b");
        assert!(others.find(&one).await.is_empty());
        assert_eq!(sweeper.find_all().len(), 1);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(sweeper.find(&one).await.is_empty());
    }
}
