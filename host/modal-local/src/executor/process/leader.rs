//! The main process of a sandbox, held by a descriptor.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    thread,
};

use rustix::{
    io::Errno,
    process::{
        Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open,
        pidfd_send_signal, waitid,
    },
};
use tokio::io::{Interest, unix::AsyncFd};

use crate::executor::ProcessExit;

/// A child that leads its own process group, and has not been reaped: while
/// this lives, neither its pid nor its group can mean anything else.
///
/// Dropping it kills the group.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    reaped: bool,
}

impl Child {
    /// Takes charge of a child of this process that nobody else waits for.
    pub(super) fn new(pid: Pid) -> io::Result<Self> {
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self {
                pid,
                pidfd,
                reaped: false,
            }),
            Err(error) => {
                let _ = kill_process_group(pid, Signal::KILL);
                let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
                Err(error.into())
            }
        }
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    pub(super) fn signal_group(&self, signal: Signal) {
        // Fails only when nobody is left to hear it.
        let _ = kill_process_group(self.pid, signal);
    }

    /// Kills it even when it moved to another group.
    pub(super) fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// How it exited, which leaves it a zombie; `None` while it runs.
    pub(super) fn exit(&self) -> io::Result<Option<ProcessExit>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let Some(status) = waitid(WaitId::PidFd(self.pidfd.as_fd()), options)? else {
            return Ok(None);
        };
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Ok(Some(ProcessExit::Code(code))),
            (_, Some(signal)) => Ok(Some(ProcessExit::Signal(signal))),
            _ => Err(io::Error::other("it ended in an unknown way")),
        }
    }

    /// Lets go of the zombie.
    pub(super) fn reap(&mut self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        self.reaped = match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(status) => status.is_some(),
            // Somebody else in this program reaps every child.
            Err(error) => error == Errno::CHILD,
        };
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        self.signal_group(Signal::KILL);
        let Ok(pidfd) = self.pidfd.try_clone() else {
            return;
        };
        // A millisecond, or for ever where the process cannot be killed: not on
        // a thread that others need. Without one a zombie stays.
        let _ = thread::Builder::new()
            .name("modal-local-reaper".to_owned())
            .spawn(move || waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED));
    }
}

/// A process whose exit can be waited for.
#[derive(Debug)]
pub(super) struct Watched<T: AsFd>(AsyncFd<WatchedFd<T>>);

#[derive(Debug)]
struct WatchedFd<T>(T);

impl<T: AsFd> AsRawFd for WatchedFd<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl<T: AsFd> Watched<T> {
    pub(super) fn new(process: T) -> io::Result<Self> {
        #[allow(
            deprecated,
            reason = "the replacement is unsafe because a type may lie about its descriptor; \
                      this one owns it"
        )]
        let watched = AsyncFd::with_interest(WatchedFd(process), Interest::READABLE)?;
        Ok(Self(watched))
    }

    /// Resolves once the process has exited.
    pub(super) async fn exited(&self) {
        // A pidfd is readable from the exit on. Waiting fails only while the
        // runtime shuts down.
        let _ = self.0.readable().await;
    }

    pub(super) fn process(&self) -> &T {
        &self.0.get_ref().0
    }

    pub(super) fn process_mut(&mut self) -> &mut T {
        &mut self.0.get_mut().0
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::CommandExt, process::Command};

    use super::*;

    #[allow(clippy::zombie_processes, reason = "what is tested waits for them")]
    fn spawn(script: &str) -> Pid {
        let child = Command::new("sh")
            .args(["-c", script])
            .process_group(0)
            .spawn();
        Pid::from_child(&child.unwrap())
    }

    #[tokio::test]
    async fn a_dropped_child_is_killed() {
        let pid = spawn("exec sleep 100");
        let watched = Watched::new(pidfd_open(pid, PidfdFlags::empty()).unwrap()).unwrap();
        drop(Child::new(pid).unwrap());
        watched.exited().await;
    }

    #[tokio::test]
    async fn an_exit_is_told_until_it_is_reaped() {
        let mut leader = Watched::new(Child::new(spawn("exit 7")).unwrap()).unwrap();
        leader.exited().await;
        for _ in 0..2 {
            let exit = leader.process().exit().unwrap();
            assert_eq!(exit, Some(ProcessExit::Code(7)));
        }
        leader.process_mut().reap();
        assert!(leader.process().reaped);
        assert!(leader.process().exit().is_err());
    }
}
