//! The local Modal without sockets, processes and waiting: its calls in-process,
//! its commands scripted, its clock tokio's.
//!
//! With that clock paused a day takes no time, and everything follows from the
//! [`Setup`]: no thread, no wall time and no chance of the machine has a part in
//! it. Nothing outlives the process.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! use modal_local::simulated::{Behaviour, Launched, Script, Setup, Simulated};
//! use std::{sync::Arc, time::Duration};
//!
//! /// Every command takes an hour.
//! #[derive(Debug)]
//! struct Slow;
//!
//! impl Script for Slow {
//!     fn behaviour(&self, _: &Launched) -> Behaviour {
//!         Behaviour {
//!             runs: Some(Duration::from_secs(3600)),
//!             ..Behaviour::default()
//!         }
//!     }
//! }
//!
//! let modal = Simulated::new(Setup::new([1; 32], Arc::new(Slow)));
//! let service = modal.service(); // A tower service of gRPC calls.
//! assert!(modal.sandboxes().is_empty());
//! # let _ = service;
//! # }
//! ```

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use modal_proto::client::GenericStatus;

use crate::{
    Credentials, Limits, Service,
    clock::{Clock, Timestamp},
    core::{Core, Parts},
    executor::scripted::ScriptedExecutor,
    limits,
    random::Random,
    sandbox::{Phase, Sandbox},
    token::Tokens,
};

/// Says what the commands of sandboxes do.
pub trait Script: fmt::Debug + Send + Sync + 'static {
    /// What the command of a sandbox does that is about to be started. Called once
    /// per sandbox.
    fn behaviour(&self, sandbox: &Launched) -> Behaviour;
}

/// A sandbox that is about to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launched {
    /// Empty when it has none.
    pub name: String,
    /// Its tags at its creation.
    pub tags: BTreeMap<String, String>,
    /// Its command and arguments.
    pub command: Vec<String>,
    /// Its variables.
    pub environment: BTreeMap<String, String>,
}

/// What happens in a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// From its creation, or from when its GPUs are free, to the start of its
    /// command. `None`: it never starts.
    pub starts_after: Option<Duration>,
    /// From the start to the end of its command. `None`: it goes on until it is
    /// ended.
    pub runs: Option<Duration>,
    /// How it ends by itself.
    pub end: End,
    /// What its command writes, in the order of the times.
    pub output: Vec<Written>,
    /// How long its command goes on after it was told to end.
    pub lingers: Duration,
}

impl Default for Behaviour {
    /// Starts and ends at once, with code 0.
    fn default() -> Self {
        Self {
            starts_after: Some(Duration::ZERO),
            runs: Some(Duration::ZERO),
            end: End::Exit(0),
            output: Vec::new(),
            lingers: Duration::ZERO,
        }
    }
}

/// How a sandbox comes to an end that nobody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Its command returns this code.
    Exit(i32),
    /// A signal ends its command.
    Signal(i32),
    /// The service loses it: INTERNAL_FAILURE.
    Lost,
    /// The service takes its machine away: TERMINATED.
    Evicted,
    /// Its command cannot be started, for this reason: INIT_FAILURE.
    NeverRan(String),
}

/// Something that a command writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// When, from the start of the command.
    pub after: Duration,
    /// Where to.
    pub stream: Stream,
    /// What.
    pub data: Bytes,
}

pub use crate::executor::Stream;

/// How images come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// How long one is built that was not asked for before.
    pub build_time: Duration,
    /// Why builds fail, if they do.
    pub failure: Option<String>,
}

/// What a simulated Modal is like.
#[derive(Debug)]
pub struct Setup {
    /// Fixes ids and tokens.
    pub seed: [u8; 32],
    /// The time of day at the start: time since 1970.
    pub now: Duration,
    /// The token that clients must present.
    pub credentials: Credentials,
    /// Says what commands do.
    pub script: Arc<dyn Script>,
    /// GPUs by kind. A sandbox waits until those that it asks for are free. A kind
    /// that is not named is never short.
    pub gpus: BTreeMap<String, u32>,
    /// How images come about.
    pub images: Images,
    /// Lifetime of the tokens of `AuthTokenGet`, in whole seconds.
    pub auth_token_lifetime: Duration,
    /// How much of everything; `running_sandboxes` is the account's quota.
    pub limits: Limits,
}

impl Setup {
    /// A Modal that is never short of anything and remembers every sandbox. Its
    /// day is the first of January 2026.
    pub fn new(seed: [u8; 32], script: Arc<dyn Script>) -> Self {
        Self {
            seed,
            now: Duration::from_secs(1_767_225_600),
            credentials: Credentials {
                token_id: "ak-simulated".to_owned(),
                token_secret: "as-simulated".to_owned(),
            },
            script,
            gpus: BTreeMap::new(),
            images: Images::default(),
            auth_token_lifetime: limits::AUTH_TOKEN_LIFETIME,
            limits: Limits {
                running_sandboxes: usize::MAX,
                finished_sandboxes: usize::MAX,
                finished_output: u64::MAX,
                ..Limits::default()
            },
        }
    }
}

/// A simulated Modal.
#[derive(Clone, Debug)]
pub struct Simulated {
    core: Arc<Core>,
    service: Service,
}

impl Simulated {
    /// A Modal without sandboxes. Its clock starts now, on the current tokio
    /// runtime.
    pub fn new(setup: Setup) -> Self {
        let executor = ScriptedExecutor::new(setup.script, &setup.gpus, setup.images);
        let random = Random::seeded(setup.seed);
        let micros = i64::try_from(setup.now.as_micros()).unwrap_or(i64::MAX);
        let core = Arc::new(Core::new(Parts {
            executor: Arc::new(executor),
            journal: None,
            clock: Clock::tokio(Timestamp::from_micros(micros)),
            credentials: setup.credentials,
            tokens: Tokens::new(
                random.bytes(),
                setup.auth_token_lifetime,
                limits::ROUTER_TOKEN_LIFETIME,
            ),
            random,
            limits: setup.limits,
        }));
        Self {
            service: Service::new(Arc::clone(&core)),
            core,
        }
    }

    /// What answers its calls.
    pub fn service(&self) -> Service {
        self.service.clone()
    }

    /// Every sandbox that was created, in the order of creation.
    pub fn sandboxes(&self) -> Vec<SandboxState> {
        let store = self.core.store();
        store
            .sandboxes
            .all()
            .map(|sandbox| state(sandbox))
            .collect()
    }

    /// Sandboxes that have not ended.
    pub fn running(&self) -> usize {
        self.core.store().sandboxes.running()
    }
}

/// A sandbox as the service sees it. Times are since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxState {
    /// Its id.
    pub id: String,
    /// Empty when it has none.
    pub name: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// When it was created; different for all of them.
    pub created_at: Duration,
    /// When its command was started.
    pub started_at: Option<Duration>,
    /// How it ended, if it has.
    pub ended: Option<SandboxEnd>,
}

/// The end of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxEnd {
    /// When.
    pub at: Duration,
    /// How.
    pub status: GenericStatus,
    /// With which code.
    pub code: i32,
}

fn state(sandbox: &Sandbox) -> SandboxState {
    let since_1970 =
        |time: Timestamp| Duration::from_micros(u64::try_from(time.micros()).unwrap_or(0));
    let phase = sandbox.phase();
    let started_at = match &phase {
        Phase::Running { started_at, .. } => Some(*started_at),
        Phase::Ended(ended) => ended.started_at,
        _ => None,
    };
    SandboxState {
        id: sandbox.id.to_string(),
        name: sandbox.name.clone().map_or_else(String::new, String::from),
        tags: sandbox.tags().into(),
        created_at: since_1970(sandbox.created_at),
        started_at: started_at.map(since_1970),
        ended: phase.ended().map(|ended| SandboxEnd {
            at: since_1970(ended.finished_at),
            status: ended.exit.status,
            code: ended.exit.code,
        }),
    }
}
