//! What the host keeps for one plugin instance.

use crate::credentials::Credentials;
use crate::credentials::modal::TokenPair;
use crate::http::{Gate, GateOptions, Resolver};
use crate::limits::Limits;
use crate::log::GuestLog;
use crate::redact::Redactor;
use crate::store::OwnRun;
use crate::surroundings::{Chance, Clocks, ImportCall, Observer, Seed, Surroundings};
use flavor_policy::Policy;
use std::sync::Arc;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// The state behind a store: everything that an instance's imports reach.
pub(crate) struct GuestState {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    pub(crate) gate: Gate,
    pub(crate) store_limits: Limiter,
    pub(crate) run: Option<Arc<OwnRun>>,
    pub(crate) forwardable: Option<TokenPair>,
    pub(crate) log: Arc<GuestLog>,
    /// The clocks that it reads.
    pub(crate) time: Clocks,
    /// Chance from a seed; none: the operating system's.
    pub(crate) chance: Option<Chance>,
    /// Random bytes in one call.
    pub(crate) random_bytes: u64,
    pub(crate) surroundings: Surroundings,
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
    /// Where it is.
    pub(crate) surroundings: Surroundings,
}

impl Grants {
    /// Nothing but a log.
    pub(crate) fn nothing(
        limits: &Limits,
        resolver: Arc<dyn Resolver>,
        surroundings: Surroundings,
    ) -> Self {
        let log = Arc::new(GuestLog::new(Redactor::default(), limits));
        Self {
            gate: Gate::new(GateOptions {
                policy: Policy::new([]),
                limits: flavor_policy::Limits::default(),
                credentials: Credentials::default(),
                resolver,
                log: Arc::clone(&log),
                surroundings: surroundings.clone(),
            }),
            run: None,
            forwardable: None,
            log,
            surroundings,
        }
    }
}

impl GuestState {
    pub(crate) fn new(grants: Grants, limits: &Limits) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.resources);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(limits.header_bytes);
        let clocks = Clocks::new(&grants.surroundings);
        let mut wasi = WasiCtxBuilder::new();
        // tokio's clock, so that whoever pauses that one pauses the guest too.
        wasi.monotonic_clock(clocks.clone())
            .wall_clock(clocks.clone())
            .max_random_size(limits.random_bytes)
            .allow_blocking_current_thread(false);
        Self {
            table,
            wasi: wasi.build(),
            http,
            gate: grants.gate,
            store_limits: Limiter {
                limits: StoreLimitsBuilder::new()
                    .memory_size(limits.memory_bytes)
                    .memories(limits.memories)
                    .table_elements(limits.table_elements)
                    .tables(limits.tables)
                    .instances(limits.instances)
                    .trap_on_grow_failure(false)
                    .build(),
                observer: grants.surroundings.observer.clone(),
            },
            run: grants.run,
            forwardable: grants.forwardable,
            log: grants.log,
            time: clocks,
            chance: grants.surroundings.seed.as_ref().map(Seed::next_instance),
            random_bytes: limits.random_bytes,
            surroundings: grants.surroundings,
        }
    }

    /// Tells whoever listens.
    pub(crate) fn observe(&self, call: ImportCall<'_>) {
        if let Some(observer) = &self.surroundings.observer {
            observer.observe(call);
        }
    }
}

/// What memories and tables of an instance may take.
pub(crate) struct Limiter {
    limits: StoreLimits,
    observer: Option<Arc<dyn Observer>>,
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grows = self.limits.memory_growing(current, desired, maximum)?;
        if let Some(observer) = self.observer.as_ref().filter(|_| grows) {
            observer.observe(ImportCall::Grown(desired));
        }
        Ok(grows)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.limits.table_growing(current, desired, maximum)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.limits.memory_grow_failed(error)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.limits.table_grow_failed(error)
    }

    fn instances(&self) -> usize {
        self.limits.instances()
    }

    fn tables(&self) -> usize {
        self.limits.tables()
    }

    fn memories(&self) -> usize {
        self.limits.memories()
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
