//! Commands executed in a sandbox beside its own: registered, started, ended,
//! forgotten.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep_until},
};
use tonic::Status;

use crate::{
    core::Core,
    executor::{ExecLaunch, NeverRan, Outputs, ProcessExit, Stop, Text},
    limits,
    sandbox::Sandbox,
    stdin::Stdin,
};

/// The id that a client gives a command: the same for every attempt to start
/// it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ExecId(String);

impl ExecId {
    pub(crate) fn parse(text: String) -> Result<Self, Status> {
        if text.is_empty() || text.len() > limits::EXEC_ID {
            return Err(Status::invalid_argument(format!(
                "exec_id must have 1 to {} bytes",
                limits::EXEC_ID
            )));
        }
        Ok(Self(text))
    }

    /// An id that is only looked up.
    pub(crate) fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// One command.
#[derive(Debug)]
pub(crate) struct Exec {
    id: ExecId,
    /// The SHA-256 of the request that started it.
    request: [u8; 32],
    phase: watch::Sender<ExecPhase>,
}

/// Where a command stands. It only ever moves down this list.
#[derive(Clone, Debug)]
enum ExecPhase {
    Starting,
    Running(Attached),
    Ended {
        exit: ProcessExit,
        /// With the reason as its stderr when it never ran.
        outputs: Outputs,
        /// `None` when it never ran.
        stdin: Option<Arc<Stdin>>,
    },
}

#[derive(Clone, Debug)]
struct Attached {
    stdin: Arc<Stdin>,
    outputs: Outputs,
}

impl Exec {
    /// How it ended; `None` while it runs.
    pub(crate) fn exit(&self) -> Option<ProcessExit> {
        match &*self.phase.borrow() {
            ExecPhase::Ended { exit, .. } => Some(*exit),
            _ => None,
        }
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self) -> Option<ProcessExit> {
        self.reaches(|phase| matches!(phase, ExecPhase::Ended { .. }))
            .await;
        self.exit()
    }

    /// What it writes, once it has started.
    pub(crate) async fn outputs(&self) -> Option<Outputs> {
        match self.settled().await {
            ExecPhase::Starting => None,
            ExecPhase::Running(Attached { outputs, .. }) | ExecPhase::Ended { outputs, .. } => {
                Some(outputs)
            }
        }
    }

    /// What it reads, once it has started; `None` when it never ran.
    pub(crate) async fn stdin(&self) -> Option<Arc<Stdin>> {
        match self.settled().await {
            ExecPhase::Starting => None,
            ExecPhase::Running(Attached { stdin, .. }) => Some(stdin),
            ExecPhase::Ended { stdin, .. } => stdin,
        }
    }

    async fn settled(&self) -> ExecPhase {
        self.reaches(|phase| !matches!(phase, ExecPhase::Starting))
            .await
    }

    async fn reaches(&self, wanted: impl FnMut(&ExecPhase) -> bool) -> ExecPhase {
        let mut phases = self.phase.subscribe();
        match phases.wait_for(wanted).await {
            Ok(phase) => phase.clone(),
            // The sender lives as long as self.
            Err(_) => self.phase.borrow().clone(),
        }
    }

    fn kept(&self) -> u64 {
        match &*self.phase.borrow() {
            ExecPhase::Starting => 0,
            ExecPhase::Running(Attached { outputs, .. }) | ExecPhase::Ended { outputs, .. } => {
                outputs.kept()
            }
        }
    }
}

/// The commands of one sandbox.
#[derive(Debug, Default)]
pub(crate) struct Execs {
    by_id: BTreeMap<ExecId, Arc<Exec>>,
    /// In the order of their end, with the bytes of output that each kept then.
    ended: VecDeque<(ExecId, u64)>,
    kept: u64,
}

impl Execs {
    pub(crate) fn get(&self, id: &ExecId) -> Option<&Arc<Exec>> {
        self.by_id.get(id)
    }

    /// Bytes of output that they keep.
    pub(crate) fn kept(&self) -> u64 {
        self.by_id.values().map(|exec| exec.kept()).sum()
    }

    /// Registers a command, or finds the one that an earlier attempt
    /// registered: then there is nothing to start.
    pub(crate) fn register(
        &mut self,
        id: &ExecId,
        request: [u8; 32],
        limit: usize,
    ) -> Result<Option<Arc<Exec>>, Status> {
        if let Some(known) = self.by_id.get(id) {
            if known.request == request {
                return Ok(None);
            }
            return Err(Status::already_exists(format!(
                "exec_id {:?} is in use by another command",
                id.0
            )));
        }
        if self.by_id.len().saturating_sub(self.ended.len()) >= limit {
            return Err(Status::resource_exhausted(format!(
                "the local Modal runs at most {limit} executed commands at once in a sandbox: \
                 wait for one to end"
            )));
        }
        let exec = Arc::new(Exec {
            id: id.clone(),
            request,
            phase: watch::Sender::new(ExecPhase::Starting),
        });
        self.by_id.insert(id.clone(), Arc::clone(&exec));
        Ok(Some(exec))
    }

    /// Notes that a command has ended, and drops the longest ended ones above
    /// a number or a sum of bytes kept, but not this one.
    fn end(&mut self, exec: &Exec, kept: u64) -> Vec<Arc<Exec>> {
        let bytes = exec.kept();
        self.ended.push_back((exec.id.clone(), bytes));
        self.kept = self.kept.saturating_add(bytes);
        let mut dropped = Vec::new();
        while self.ended.len() > limits::ENDED_EXECS || (self.kept > kept && self.ended.len() > 1) {
            let Some((id, bytes)) = self.ended.pop_front() else {
                break;
            };
            self.kept = self.kept.saturating_sub(bytes);
            dropped.extend(self.by_id.remove(&id));
        }
        dropped
    }
}

/// Lets a registered command live. It does not depend on the call that started
/// it, which a client may abandon.
pub(crate) fn spawn(
    core: Arc<Core>,
    sandbox: Arc<Sandbox>,
    exec: Arc<Exec>,
    launch: ExecLaunch,
    timeout: Option<Duration>,
) {
    let busy = sandbox.activity.busy();
    tokio::spawn(async move {
        run(&core, &exec, launch, timeout).await;
        drop(busy);
        let dropped = sandbox.execs().end(&exec, core.limits.ended_exec_output);
        for old in dropped {
            if let Some(outputs) = old.outputs().await {
                outputs.stdout.discard().await;
                outputs.stderr.discard().await;
            }
        }
    });
}

async fn run(core: &Core, exec: &Exec, launch: ExecLaunch, timeout: Option<Duration>) {
    let (started, starting) = oneshot::channel();
    let mut starting = starting.fuse();
    let (stop, stopping) = watch::channel(false);
    let mut running = core.executor.exec(launch, started, Stop::new(stopping));
    let mut attached = None;
    let mut deadline = None;
    let ended = loop {
        let timed_out = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ended = &mut running => break ended,
            Ok(streams) = &mut starting => {
                deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
                let now = Attached {
                    stdin: Arc::new(Stdin::new(streams.input)),
                    outputs: streams.outputs,
                };
                attached = Some(now.clone());
                exec.phase.send_replace(ExecPhase::Running(now));
            }
            () = timed_out => {
                deadline = None;
                stop.send_replace(true);
            }
        }
    };
    if let Some(Ok(streams)) = starting.now_or_never() {
        // Started and ended between two looks.
        attached = Some(Attached {
            stdin: Arc::new(Stdin::new(streams.input)),
            outputs: streams.outputs,
        });
    }
    exec.phase.send_replace(phase_of(ended, attached));
}

fn phase_of(ended: Result<ProcessExit, NeverRan>, attached: Option<Attached>) -> ExecPhase {
    let (exit, reason) = match ended {
        Ok(exit) => (exit, String::new()),
        Err(NeverRan::CannotStart { code, reason }) => {
            (ProcessExit::Code(code), format!("{reason}\n"))
        }
        Err(NeverRan::SandboxEnded) => (
            // As if it had been killed with the sandbox, a moment later.
            ProcessExit::Signal(9),
            "the sandbox ended before the command started\n".to_owned(),
        ),
    };
    match attached {
        Some(Attached { stdin, outputs }) => ExecPhase::Ended {
            exit,
            outputs,
            stdin: Some(stdin),
        },
        None => ExecPhase::Ended {
            exit,
            outputs: Outputs {
                stdout: Arc::new(Text::default()),
                stderr: Arc::new(Text::new(reason)),
            },
            stdin: None,
        },
    }
}
