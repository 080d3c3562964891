//! The life of a sandbox: recorded, started, ended, forgotten.

use std::{collections::BTreeMap, pin::pin, sync::Arc};

use futures::FutureExt;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep_until},
};

use crate::{
    clock::Timestamp,
    core::Core,
    executor::{Exit, Hash, Launch, Outputs, Stop, Streams},
    journal::{Receipt, Record},
    sandbox::{Ended, Phase, Sandbox},
    stdin::Stdin,
};

/// What its creator alone knows: kept only until the command has ended.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) argv: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) workdir: Option<String>,
    pub(crate) snapshot: Option<Hash>,
}

/// Lets a sandbox live, from the moment it is in the store. It does not depend
/// on the call that created it, which a client may abandon.
pub(crate) fn spawn(core: Arc<Core>, sandbox: Arc<Sandbox>, command: Command, recorded: Receipt) {
    tokio::spawn(async move {
        if let Err(status) = recorded.committed().await {
            discard(&core, &sandbox, status.message());
            return;
        }
        sandbox.set_phase(Phase::Starting);
        let (exit, ran) = run(&core, &sandbox, command).await;
        end(&core, &sandbox, exit, ran).await;
    });
}

/// Since when it ran, and what it wrote.
type Ran = Option<(Timestamp, Outputs)>;

async fn run(core: &Core, sandbox: &Arc<Sandbox>, command: Command) -> (Exit, Ran) {
    let (started, starting) = oneshot::channel();
    let mut starting = starting.fuse();
    let (stop, stopping) = watch::channel(false);
    let launch = Launch {
        sandbox: Arc::clone(sandbox),
        argv: command.argv,
        env: command.env,
        workdir: command.workdir,
        snapshot: command.snapshot,
    };
    let mut running = core.executor.run(launch, started, Stop::new(stopping));
    let mut terminated = pin!(sandbox.termination());
    let mut ran = None;
    let mut deadline = None;
    // Why it is being ended: the first reason counts.
    let mut cause: Option<Exit> = None;
    let exit = loop {
        let timed_out = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let idle = async {
            match sandbox.idle_timeout().filter(|_| deadline.is_some()) {
                Some(time) => sandbox.activity.idle_for(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            exit = &mut running => break exit,
            Ok(streams) = &mut starting => {
                deadline = Instant::now().checked_add(sandbox.timeout());
                sandbox.activity.touch();
                ran = Some(announce(core, sandbox, streams));
            }
            () = &mut terminated, if cause.is_none() => {
                cause = Some(Exit::terminated(""));
                stop.send_replace(true);
            }
            () = timed_out, if cause.is_none() => {
                cause = Some(Exit::timed_out());
                stop.send_replace(true);
            }
            () = idle, if cause.is_none() => {
                cause = Some(Exit::idle());
                stop.send_replace(true);
            }
        }
    };
    if let Some(Ok(streams)) = starting.now_or_never() {
        // Started and ended between two looks.
        ran = Some(announce(core, sandbox, streams));
    }
    // A command that was told to end may well return 0.
    (cause.unwrap_or(exit), ran)
}

fn announce(core: &Core, sandbox: &Sandbox, streams: Streams) -> (Timestamp, Outputs) {
    let started_at = core.clock.now();
    sandbox.set_phase(Phase::Running {
        started_at,
        outputs: streams.outputs.clone(),
        stdin: Arc::new(Stdin::new(streams.input)),
    });
    (started_at, streams.outputs)
}

async fn end(core: &Core, sandbox: &Sandbox, exit: Exit, ran: Ran) {
    let (started_at, outputs) = ran.unzip();
    let kept = outputs.as_ref().map_or(0, Outputs::kept) + sandbox.execs().kept();
    let ended = Arc::new(Ended {
        exit,
        started_at,
        finished_at: core.clock.now(),
        outputs,
    });
    // Recorded before anyone hears of it: a server killed in between must not
    // take back what it said.
    let recorded = {
        let _store = core.store();
        core.record(vec![Record::sandbox(sandbox, Some(&ended))])
    };
    // The journal has said so loudly, and tries again.
    let _ = recorded.committed().await;
    let forgotten = {
        let mut store = core.store();
        store.sandboxes.ended(sandbox, kept);
        sandbox.set_phase(Phase::Ended(ended));
        let limits = &core.limits;
        let forgotten = store
            .sandboxes
            .forget(limits.finished_sandboxes, limits.finished_output);
        if !forgotten.is_empty() {
            let records = forgotten
                .iter()
                .map(|old| Record::ForgetSandbox(old.id.clone()))
                .collect();
            // Remembering one too many after a restart does no harm.
            drop(core.record(records));
        }
        forgotten
    };
    for old in forgotten {
        core.executor.forget(old.id.clone()).await;
    }
}

fn discard(core: &Core, sandbox: &Sandbox, reason: &str) {
    let mut store = core.store();
    store.sandboxes.remove(&sandbox.id);
    drop(core.record(vec![Record::ForgetSandbox(sandbox.id.clone())]));
    sandbox.set_phase(Phase::Discarded(reason.into()));
}
