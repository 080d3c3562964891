//! What the host keeps for one plugin instance.

use crate::credentials::modal::TokenPair;
use crate::credentials::{Credentials, Secret};
use crate::http::{Gate, GateOptions};
use crate::limits::Limits;
use crate::redact::Redactor;
use crate::store::RunStore;
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
    pub(crate) run_store: Option<Arc<dyn RunStore>>,
    pub(crate) forwardable: Option<TokenPair>,
    pub(crate) redactor: Redactor,
    pub(crate) log: LogBudget,
}

/// What an instance may reach.
pub(crate) struct Grants {
    /// The network.
    pub(crate) gate: Gate,
    /// The run store; none for instances that only compute.
    pub(crate) run_store: Option<Arc<dyn RunStore>>,
    /// The credentials, for handing on; none unless that was granted.
    pub(crate) forwardable: Option<TokenPair>,
    /// Texts that must not appear in logs and errors.
    pub(crate) secrets: Vec<Secret>,
}

impl Grants {
    /// Nothing at all.
    pub(crate) fn nothing() -> Self {
        Self {
            gate: Gate::new(GateOptions {
                policy: Policy::new([]),
                limits: flavor_policy::Limits::default(),
                credentials: Credentials::default(),
            }),
            run_store: None,
            forwardable: None,
            secrets: Vec::new(),
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
            run_store: grants.run_store,
            forwardable: grants.forwardable,
            redactor: Redactor::new(grants.secrets),
            log: LogBudget {
                line: limits.log_line_bytes,
                left: limits.log_bytes,
            },
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

/// How much an instance may still write to the log, in bytes.
#[derive(Debug)]
pub(crate) struct LogBudget {
    pub(crate) line: usize,
    pub(crate) left: usize,
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
