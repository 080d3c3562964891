//! One more command in a sandbox that runs.

use std::{fs, io, os::fd::OwnedFd, sync::Arc};

use rustix::process::{Pid, Signal, test_kill_process_group};
use tokio::{sync::oneshot, task::spawn_blocking, time::timeout};

use super::{
    Inner, capture, directory, file_tool,
    leader::{Child, Watched},
    log::{Appender, Log},
    room::{Occupant, Stray},
    start::Started,
    stdio::CommandInput,
    sweep,
};
use crate::{
    executor::{ExecLaunch, NeverRan, Output, Outputs, ProcessExit, Stop, Streams},
    limits,
};

impl Inner {
    pub(super) async fn exec(
        self: Arc<Self>,
        launch: ExecLaunch,
        started: oneshot::Sender<Streams>,
        stop: Stop,
    ) -> Result<ProcessExit, NeverRan> {
        let room = self.room(&launch.sandbox).ok_or(NeverRan::SandboxEnded)?;
        let occupant = room.enter().ok_or(NeverRan::SandboxEnded)?;
        let number = room.next_number();
        if file_tool::is_asked_for(&launch.argv) {
            let cap = self.exec_output_cap;
            return Ok(file_tool::run(&occupant, number, &launch, cap, started, stop).await);
        }
        let record = directory::exec_record(&room.place.path, number);
        let start = {
            let (room, record) = (Arc::clone(&room), record.clone());
            move |inner: &Self| inner.surroundings.exec(&launch, &room.place, &record)
        };
        let exit = match Arc::clone(&self).start_with(start).await {
            Ok(command) => self.attend(occupant, number, command, started, stop).await,
            Err(never_ran) => Err(never_ran),
        };
        // Nobody waits for this.
        drop(spawn_blocking(move || fs::remove_file(record)));
        exit
    }

    /// Stays with a command until it has ended.
    async fn attend(
        &self,
        occupant: Occupant,
        number: u64,
        Started { child, channels }: Started,
        started: oneshot::Sender<Streams>,
        mut stop: Stop,
    ) -> Result<ProcessExit, NeverRan> {
        let lost = |error: io::Error| NeverRan::CannotStart {
            code: 1,
            reason: format!("cannot watch the command: {error}"),
        };
        let mut leader = Watched::new(child).map_err(lost)?;
        let input = CommandInput::new(channels.input, channels.end_of_input).map_err(lost)?;
        let output = |name: &str, source: Option<OwnedFd>| {
            self.output(&occupant, format!("exec-{number}-{name}"), source)
        };
        let _ = started.send(Streams {
            input: input.clone(),
            outputs: Outputs {
                stdout: output("stdout", channels.stdout),
                stderr: output("stderr", channels.stderr),
            },
        });
        tokio::select! {
            biased;
            () = leader.exited() => {}
            () = stop.requested() => kill(&leader).await,
            () = occupant.room().closing() => kill(&leader).await,
        }
        let exit = match leader.process().exit() {
            Ok(Some(exit)) => exit,
            // It cannot be killed at once, or somebody else in this program
            // reaps every child.
            Ok(None) | Err(_) => ProcessExit::Signal(Signal::KILL.as_raw()),
        };
        leader.process_mut().reap();
        input.release();
        leave_behind(leader.process().pid(), occupant);
        Ok(exit)
    }

    /// The log of a stream. Whoever holds the stream open may write to it until
    /// the sandbox ends.
    fn output(
        &self,
        occupant: &Occupant,
        name: String,
        source: Option<OwnedFd>,
    ) -> Arc<dyn Output> {
        let room = occupant.room();
        let (log, appender) = Log::pinned(room.place.path.clone(), name, self.exec_output_cap);
        tokio::spawn(follow(occupant.capture(), source, appender));
        log
    }
}

async fn follow(occupant: Occupant, source: Option<OwnedFd>, appender: Appender) {
    let captured = capture::capture(source, appender);
    tokio::pin!(captured);
    tokio::select! {
        biased;
        () = &mut captured => {}
        () = occupant.room().empty() => {
            let _ = timeout(limits::OUTPUT_DRAIN, captured).await;
        }
    }
}

/// Notes what is left of the group of a command that was reaped: mostly
/// nothing.
fn leave_behind(group: Pid, occupant: Occupant) {
    if test_kill_process_group(group).is_err() {
        return;
    }
    // Only the end of the sandbox waits for this.
    drop(spawn_blocking(move || {
        let members = sweep::members(group);
        occupant.room().add_stray(Stray { group, members });
    }));
}

/// Kills a command and its group, and waits until it is gone.
async fn kill(leader: &Watched<Child>) {
    leader.process().signal_group(Signal::KILL);
    leader.process().kill();
    // One in uninterruptible sleep may never be gone.
    let _ = timeout(limits::KILL_WAIT, leader.exited()).await;
}
