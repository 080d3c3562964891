//! Ends a sandbox: asks, waits, kills, and looks for what is left.

use std::{os::fd::OwnedFd, time::Duration};

use futures::future::{join, join_all};
use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal,
    test_kill_process_group,
};
use tokio::time::{sleep, timeout};

use super::{
    identity::Identity,
    leader::{Child, Watched},
    room::Stray,
    sweep::{Found, Sweeper},
};
use crate::{ids::SandboxId, limits};

/// SIGTERM to everything in the sandbox, then up to `grace` for it to leave.
pub(super) async fn ask(
    sweeper: &Sweeper,
    sandbox: &SandboxId,
    leader: &Watched<Child>,
    grace: Duration,
) {
    leader.process().signal_group(Signal::TERM);
    let found = sweeper.find(sandbox).await;
    // The group has had its signal; one is enough.
    let group = leader.process().pid().as_raw_nonzero().get();
    for outsider in found.iter().filter(|process| process.group != group) {
        let _ = pidfd_send_signal(&outsider.pidfd, Signal::TERM);
    }
    let everyone = async {
        leader.exited().await;
        exited(&watch(found)).await;
    };
    // Whoever is left is killed.
    let _ = timeout(grace, everyone).await;
}

/// SIGKILL to everything in the sandbox, until nothing is found.
pub(super) async fn kill(sweeper: &Sweeper, sandbox: &SandboxId, leader: &Watched<Child>) {
    for _ in 0..limits::SWEEPS {
        let found = sweeper.find(sandbox).await;
        leader.process().signal_group(Signal::KILL);
        leader.process().kill();
        if found.is_empty() {
            break;
        }
        kill_found(found).await;
    }
    // One in uninterruptible sleep may never be gone.
    let _ = timeout(limits::KILL_WAIT, leader.exited()).await;
}

/// Waits until the killed members of a group are gone that have no marker, and
/// so were not waited for. The leader has been reaped: what exists under its
/// number now is the rest of its group.
pub(super) async fn group_gone(leader: Pid) {
    let gone = async {
        while test_kill_process_group(leader).is_ok() {
            sleep(limits::GROUP_POLL).await;
        }
    };
    let _ = timeout(limits::GROUP_WAIT, gone).await;
}

/// SIGTERM, then SIGKILL, to everything that an earlier server left: to the
/// groups of recorded leaders that still live, and to whatever carries a
/// marker.
pub(super) async fn reclaim(sweeper: &Sweeper, leaders: &[Identity], boot: &str, grace: Duration) {
    let mut groups = Vec::new();
    let mut held = Vec::new();
    for leader in leaders {
        // The descriptor first: what is alive after that is what it stands for.
        let pidfd = pidfd_open(leader.pid, PidfdFlags::empty());
        if leader.is_alive(boot) {
            let _ = kill_process_group(leader.pid, Signal::TERM);
            groups.push(leader.pid.as_raw_nonzero().get());
            held.extend(pidfd.ok().and_then(|pidfd| Watched::new(pidfd).ok()));
        }
    }
    let found = sweeper.find_all();
    for process in &found {
        if !groups.contains(&process.group) {
            let _ = pidfd_send_signal(&process.pidfd, Signal::TERM);
        }
    }
    let _ = timeout(grace, join(exited(&held), exited(&watch(found)))).await;
    for leader in leaders {
        if leader.is_alive(boot) {
            let _ = kill_process_group(leader.pid, Signal::KILL);
        }
    }
    for _ in 0..limits::SWEEPS {
        let found = sweeper.find_all();
        if found.is_empty() {
            break;
        }
        kill_found(found).await;
    }
    let _ = timeout(limits::KILL_WAIT, exited(&held)).await;
}

/// SIGKILL to what commands left behind in their groups when they ended. A
/// group of which nobody is left that was in it then may be somebody else's by
/// now.
pub(super) async fn kill_strays(strays: Vec<Stray>) {
    let mut members = Vec::new();
    for stray in strays {
        if stray.is_left() {
            let _ = kill_process_group(stray.group, Signal::KILL);
        }
        members.extend(stray.members);
    }
    kill_found(members).await;
}

async fn kill_found(found: Vec<Found>) {
    for process in &found {
        let _ = pidfd_send_signal(&process.pidfd, Signal::KILL);
    }
    let _ = timeout(limits::KILL_WAIT, exited(&watch(found))).await;
}

/// A descriptor that cannot be watched is left out: the next search finds its
/// process again.
fn watch(found: Vec<Found>) -> Vec<Watched<OwnedFd>> {
    found
        .into_iter()
        .filter_map(|process| Watched::new(process.pidfd).ok())
        .collect()
}

async fn exited(processes: &[Watched<OwnedFd>]) {
    join_all(processes.iter().map(Watched::exited)).await;
}
