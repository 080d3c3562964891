//! What the host keeps for one plugin instance.

use crate::credentials::Credentials;
use crate::credentials::modal::TokenPair;
use crate::http::{Gate, GateOptions, Resolver};
use crate::limits::Limits;
use crate::log::GuestLog;
use crate::redact::Redactor;
use crate::store::OwnRun;
use flavor_policy::Policy;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime::{StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{
    HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView,
};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// The state behind a store: everything that an instance's imports reach.
pub(crate) struct GuestState {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    pub(crate) gate: Gate,
    pub(crate) store_limits: StoreLimits,
    pub(crate) run: Option<Arc<OwnRun>>,
    pub(crate) forwardable: Option<TokenPair>,
    pub(crate) log: Arc<GuestLog>,
}

/// What an instance may reach.
pub(crate) struct Grants {
    /// The network.
    pub(crate) gate: Gate,
    /// The run in the run store; none for instances that only compute.
    pub(crate) run: Option<Arc<OwnRun>>,
    /// The credentials, for handing on; none unless that was granted.
    pub(crate) forwardable: Option<TokenPair>,
    /// The log.
    pub(crate) log: Arc<GuestLog>,
}

impl Grants {
    /// Nothing but a log.
    pub(crate) fn nothing(limits: &Limits, resolver: Arc<dyn Resolver>) -> Self {
        let log = Arc::new(GuestLog::new(Redactor::default(), limits));
        Self {
            gate: Gate::new(GateOptions {
                policy: Policy::new([]),
                limits: flavor_policy::Limits::default(),
                credentials: Credentials::default(),
                resolver,
                log: Arc::clone(&log),
            }),
            run: None,
            forwardable: None,
            log,
        }
    }
}

impl GuestState {
    pub(crate) fn new(grants: Grants, limits: &Limits) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.resources);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(limits.header_bytes);
        let mut wasi = WasiCtxBuilder::new();
        // tokio's clock, so that whoever pauses that one pauses the guest too.
        wasi.monotonic_clock(TokioClock::now())
            .wall_clock(TokioClock::now())
            .max_random_size(limits.random_bytes)
            .allow_blocking_current_thread(false);
        Self {
            table,
            wasi: wasi.build(),
            http,
            gate: grants.gate,
            store_limits: StoreLimitsBuilder::new()
                .memory_size(limits.memory_bytes)
                .memories(limits.memories)
                .table_elements(limits.table_elements)
                .tables(limits.tables)
                .instances(limits.instances)
                .trap_on_grow_failure(false)
                .build(),
            run: grants.run,
            forwardable: grants.forwardable,
            log: grants.log,
        }
    }
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for GuestState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.gate,
        }
    }
}

/// Time as tokio has it: real, or paused by a test.
#[derive(Debug, Clone, Copy)]
struct TokioClock {
    start: Instant,
    unix: Duration,
}

impl TokioClock {
    fn now() -> Self {
        let unix = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            start: Instant::now(),
            unix,
        }
    }
}

impl HostMonotonicClock for TokioClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl HostWallClock for TokioClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        self.unix + self.start.elapsed()
    }
}
