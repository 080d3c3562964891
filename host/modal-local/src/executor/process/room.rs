//! Who is in a sandbox beside its command, and how all of them leave.

use std::{
    mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::Pid,
};
use tokio::sync::watch;

use super::{start::Place, sweep::Found};
use crate::sync::lock;

/// A sandbox whose command runs.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) place: Place,
    state: watch::Sender<State>,
    commands: AtomicU64,
    strays: Mutex<Vec<Stray>>,
}

/// What a command that ended left running in its group.
#[derive(Debug)]
pub(super) struct Stray {
    pub(super) group: Pid,
    /// Who was in it then.
    pub(super) members: Vec<Found>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    stage: Stage,
    /// Commands that are being started or run.
    commands: usize,
    /// Outputs that are being read.
    captures: usize,
}

/// Where the end of a sandbox stands. It only ever moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Commands may be started.
    Open,
    /// None may be started, and those that run are killed.
    Closing,
    /// Nothing runs any more.
    Empty,
}

/// A command in a room, or the reading of its output.
#[derive(Debug)]
pub(super) struct Occupant {
    room: Arc<Room>,
    captures: bool,
}

impl Room {
    pub(super) fn new(place: Place) -> Arc<Self> {
        Arc::new(Self {
            place,
            state: watch::Sender::new(State {
                stage: Stage::Open,
                commands: 0,
                captures: 0,
            }),
            commands: AtomicU64::new(0),
            strays: Mutex::default(),
        })
    }

    /// A number that no other command of this sandbox has.
    pub(super) fn next_number(&self) -> u64 {
        self.commands.fetch_add(1, Ordering::Relaxed)
    }

    /// A place for a command, unless the sandbox is ending.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Occupant> {
        let entered = self.state.send_if_modified(|state| {
            let open = state.stage == Stage::Open;
            state.commands += usize::from(open);
            open
        });
        entered.then(|| Occupant {
            room: Arc::clone(self),
            captures: false,
        })
    }

    /// Notes what a command left running, to be ended with the sandbox.
    pub(super) fn add_stray(&self, stray: Stray) {
        let mut strays = lock(&self.strays);
        strays.retain(Stray::is_left);
        strays.push(stray);
    }

    pub(super) fn take_strays(&self) -> Vec<Stray> {
        mem::take(&mut lock(&self.strays))
    }

    /// Resolves when the commands in it are to be killed.
    pub(super) async fn closing(&self) {
        self.reaches(|state| state.stage >= Stage::Closing).await;
    }

    /// Lets nobody in, and waits until every command has left.
    pub(super) async fn close(&self) {
        self.state.send_modify(|state| state.stage = Stage::Closing);
        self.reaches(|state| state.commands == 0).await;
    }

    /// Resolves when nothing runs in it any more.
    pub(super) async fn empty(&self) {
        self.reaches(|state| state.stage == Stage::Empty).await;
    }

    /// Says that nothing runs in it any more, and waits until all output is
    /// read.
    pub(super) async fn vacate(&self) {
        self.state.send_modify(|state| state.stage = Stage::Empty);
        self.reaches(|state| state.captures == 0).await;
    }

    async fn reaches(&self, wanted: impl FnMut(&State) -> bool) {
        // Fails when the sender is gone, which is part of self.
        let _ = self.state.subscribe().wait_for(wanted).await;
    }
}

impl Stray {
    /// Whether anybody is left who was in the group, so that its number still
    /// means this one.
    pub(super) fn is_left(&self) -> bool {
        let now = Timespec::default();
        self.members.iter().any(|member| {
            let mut exited = [PollFd::new(&member.pidfd, PollFlags::IN)];
            matches!(poll(&mut exited, Some(&now)), Ok(0))
        })
    }
}

impl Occupant {
    pub(super) fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// The same for the output of this command, which may outlive it.
    pub(super) fn capture(&self) -> Self {
        self.room.state.send_modify(|state| state.captures += 1);
        Self {
            room: Arc::clone(&self.room),
            captures: true,
        }
    }
}

impl Drop for Occupant {
    fn drop(&mut self) {
        self.room.state.send_modify(|state| {
            let number = if self.captures {
                &mut state.captures
            } else {
                &mut state.commands
            };
            *number = number.saturating_sub(1);
        });
    }
}
