//! One sandbox: what it is, and where it stands.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use modal_proto::client::{self as pb, GenericStatus};

use crate::{
    activity::Activity,
    clock::Timestamp,
    execs::Execs,
    executor::{Exit, Outputs},
    ids::{AppId, SandboxId, TaskId},
    limits,
    names::{IdempotencyKey, Name, Tags},
    snapshots::Asked,
    stdin::{NumberedWrite, Stdin},
    sync::{Watched, lock},
};

/// A sandbox from its creation until it is forgotten.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) id: SandboxId,
    pub(crate) task_id: TaskId,
    pub(crate) app_id: AppId,
    pub(crate) name: Option<Name>,
    /// Unique among all sandboxes, so that a listing can be cut at any of them.
    pub(crate) created_at: Timestamp,
    pub(crate) idempotency_key: Option<IdempotencyKey>,
    /// The request's definition, without command and variables.
    pub(crate) definition: pb::Sandbox,
    /// What its idle timeout goes by.
    pub(crate) activity: Activity,
    /// The newest of the numbered writes to the input of a V1 sandbox. Held while
    /// one is taken.
    pub(crate) newest_write: tokio::sync::Mutex<NumberedWrite>,
    /// The snapshots that were asked for.
    pub(crate) snapshots: Asked,
    tags: Mutex<Tags>,
    execs: Mutex<Execs>,
    phase: Watched<Phase>,
    terminate: Watched<bool>,
}

/// Where a sandbox stands. It only ever moves down this list.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// Not yet recorded; nobody outside knows of it.
    Recording,
    /// Recorded, and its command is being started.
    Starting,
    /// Its command runs.
    Running {
        started_at: Timestamp,
        outputs: Outputs,
        stdin: Arc<Stdin>,
    },
    /// Nothing of it runs any more.
    Ended(Arc<Ended>),
    /// It could not be recorded, and never was, for this reason.
    Discarded(Arc<str>),
}

/// The end of a sandbox.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    /// `None` when its command never ran.
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Timestamp,
    /// `None` when its command never ran, or ran under an earlier server.
    pub(crate) outputs: Option<Outputs>,
}

impl Phase {
    /// The end, if it has come.
    pub(crate) fn ended(&self) -> Option<&Arc<Ended>> {
        match self {
            Self::Ended(ended) => Some(ended),
            _ => None,
        }
    }

    /// Whether nothing will ever change again.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Ended(_) | Self::Discarded(_))
    }

    /// Whether a task stands, or stood, behind the sandbox: also one whose
    /// command could not be started, but not one ended while it waited.
    pub(crate) fn is_scheduled(&self) -> bool {
        match self {
            Self::Running { .. } => true,
            Self::Ended(ended) => {
                ended.started_at.is_some() || ended.exit.status == GenericStatus::InitFailure
            }
            _ => false,
        }
    }

    fn started_at(&self) -> Option<Timestamp> {
        match self {
            Self::Running { started_at, .. } => Some(*started_at),
            Self::Ended(ended) => ended.started_at,
            _ => None,
        }
    }

    /// What the command wrote, once it has started.
    pub(crate) fn outputs(&self) -> Option<&Outputs> {
        match self {
            Self::Running { outputs, .. } => Some(outputs),
            Self::Ended(ended) => ended.outputs.as_ref(),
            _ => None,
        }
    }
}

/// What makes a new sandbox.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) id: SandboxId,
    pub(crate) task_id: TaskId,
    pub(crate) app_id: AppId,
    pub(crate) name: Option<Name>,
    pub(crate) created_at: Timestamp,
    pub(crate) idempotency_key: Option<IdempotencyKey>,
    pub(crate) definition: pb::Sandbox,
    pub(crate) tags: Tags,
}

impl Sandbox {
    pub(crate) fn new(identity: Identity, phase: Phase) -> Self {
        Self {
            id: identity.id,
            task_id: identity.task_id,
            app_id: identity.app_id,
            name: identity.name,
            created_at: identity.created_at,
            idempotency_key: identity.idempotency_key,
            definition: identity.definition,
            activity: Activity::new(),
            newest_write: tokio::sync::Mutex::default(),
            snapshots: Asked::default(),
            tags: Mutex::new(identity.tags),
            execs: Mutex::default(),
            phase: Watched::new(phase),
            terminate: Watched::new(false),
        }
    }

    pub(crate) fn tags(&self) -> Tags {
        lock(&self.tags).clone()
    }

    pub(crate) fn has_tags(&self, wanted: &Tags) -> bool {
        lock(&self.tags).contains_all(wanted)
    }

    pub(crate) fn set_tags(&self, tags: Tags) {
        *lock(&self.tags) = tags;
    }

    /// The commands executed in it.
    pub(crate) fn execs(&self) -> MutexGuard<'_, Execs> {
        lock(&self.execs)
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.look(Phase::clone)
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.set(phase);
    }

    /// Waits until the phase is as wanted, and returns it.
    pub(crate) async fn reaches(&self, wanted: impl FnMut(&Phase) -> bool) -> Phase {
        self.phase.wait_for(wanted).await
    }

    /// What the command wrote, once it has started; `None` if it never will.
    pub(crate) async fn outputs(&self) -> Option<Outputs> {
        self.reaches(|phase| phase.is_scheduled() || phase.is_final())
            .await
            .outputs()
            .cloned()
    }

    /// What its command reads, once it has started; `None` once it has ended, or
    /// if it never will start.
    pub(crate) async fn stdin(&self) -> Option<Arc<Stdin>> {
        let runs = |phase: &Phase| matches!(phase, Phase::Running { .. }) || phase.is_final();
        match self.reaches(runs).await {
            Phase::Running { stdin, .. } => Some(stdin),
            _ => None,
        }
    }

    /// Asks for the end. Asking again changes nothing.
    pub(crate) fn terminate(&self) {
        self.terminate.set(true);
    }

    /// Resolves once somebody asked for the end.
    pub(crate) async fn termination(&self) {
        self.terminate.wait_for(|asked| *asked).await;
    }

    /// How long its command may run.
    pub(crate) fn timeout(&self) -> Duration {
        let seconds = match self.definition.timeout_secs {
            0 => limits::DEFAULT_TIMEOUT_SECS,
            seconds => seconds,
        };
        Duration::from_secs(seconds.into())
    }

    /// How long nothing may happen in it; `None`: for ever.
    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        let seconds = self.definition.idle_timeout_secs?;
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }

    /// App and result, as several answers carry them.
    pub(crate) fn handle_metadata(&self) -> pb::SandboxHandleMetadata {
        pb::SandboxHandleMetadata {
            result: self.result(),
            app_id: self.app_id.to_string(),
        }
    }

    /// The result, unset while the sandbox runs: clients take an empty one for
    /// the end.
    pub(crate) fn result(&self) -> Option<pb::GenericResult> {
        self.phase
            .look(|phase| phase.ended().map(|ended| ended.exit.to_wire()))
    }

    /// One line of a listing.
    pub(crate) fn info(&self) -> pb::SandboxInfo {
        let phase = self.phase();
        let definition = &self.definition;
        let gpu = definition
            .resources
            .as_ref()
            .and_then(|resources| resources.gpu_config.clone());
        pb::SandboxInfo {
            id: self.id.to_string(),
            created_at: self.created_at.seconds(),
            task_info: Some(pb::TaskInfo {
                id: if phase.is_scheduled() {
                    self.task_id.to_string()
                } else {
                    String::new()
                },
                started_at: phase.started_at().map_or(0.0, Timestamp::seconds),
                finished_at: phase
                    .ended()
                    .map_or(0.0, |ended| ended.finished_at.seconds()),
                result: phase.ended().map(|ended| ended.exit.to_wire()),
                enqueued_at: self.created_at.seconds(),
                gpu_type: gpu
                    .as_ref()
                    .map_or_else(String::new, |gpu| gpu.gpu_type.clone()),
                sandbox_id: self.id.to_string(),
                gpu_config: gpu,
            }),
            app_id: self.app_id.to_string(),
            tags: lock(&self.tags).to_wire(),
            name: self.name.clone().map_or_else(String::new, String::from),
            image_id: definition.image_id.clone(),
            regions: definition
                .scheduler_placement
                .as_ref()
                .map_or_else(Vec::new, |placement| placement.regions.clone()),
            timeout_secs: definition.timeout_secs,
            idle_timeout_secs: definition.idle_timeout_secs,
            ready_at: phase.started_at().map(Timestamp::seconds),
            metadata: Some(self.handle_metadata()),
        }
    }
}
