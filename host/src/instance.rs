//! One instance of a plugin: a store, and calls into it under limits.

use crate::contract::bindings::{Flavor as Bindings, FlavorPre};
use crate::engine::{CpuMeter, Ticking};
use crate::error::Error;
use crate::guest::GuestState;
use crate::limits::Limits;
use std::time::Duration;
use wasmtime::Store;
use wasmtime::component::Accessor;

/// An instance. It serves one run, session or call; after anything but a result
/// it must not be used again.
pub(crate) struct Instance {
    store: Store<GuestState>,
    bindings: Bindings,
    meter: CpuMeter,
    cpu_limit: Duration,
    _ticking: Ticking,
}

impl Instance {
    pub(crate) async fn new(
        pre: &FlavorPre<GuestState>,
        state: GuestState,
        limits: &Limits,
        ticking: Ticking,
    ) -> Result<Self, Error> {
        let asked = state.gate.asked();
        let mut store = Store::new(pre.engine(), state);
        store.limiter(|state| &mut state.store_limits);
        store.set_hostcall_fuel(limits.call_bytes);
        store.set_max_component_handles(limits.handles);
        let meter = CpuMeter::new(limits.cpu_between_returns, asked);
        meter.govern(&mut store);
        let cpu_limit = limits.cpu_between_returns;
        let bindings = {
            let work = meter.metered(pre.instantiate_async(&mut store));
            within(limits.call_time, work).await?
        };
        match bindings {
            Ok(bindings) => Ok(Self {
                store,
                bindings,
                meter,
                cpu_limit,
                _ticking: ticking,
            }),
            Err(error) => Err(explain(&meter, cpu_limit, &error)),
        }
    }

    /// Calls into the instance, for at most this long.
    pub(crate) async fn call<T>(
        &mut self,
        limit: Duration,
        call: impl AsyncFnOnce(&Accessor<GuestState>, &Bindings) -> wasmtime::Result<T>,
    ) -> Result<T, Error> {
        within(limit, self.call_unlimited(call)).await?
    }

    /// Calls into the instance, for as long as it takes. Its CPU is bounded
    /// nevertheless.
    pub(crate) async fn call_unlimited<T>(
        &mut self,
        call: impl AsyncFnOnce(&Accessor<GuestState>, &Bindings) -> wasmtime::Result<T>,
    ) -> Result<T, Error> {
        let bindings = &self.bindings;
        let work = self
            .store
            .run_concurrent(async move |accessor| call(accessor, bindings).await);
        // The instance is one task in tokio's eyes and thousands in truth. tokio
        // lets a task do some hundred things in a row and then tells it to wait
        // whatever it tries: all requests of the instance would be polled again
        // and again, a hundred of them in earnest. That others get their turn is
        // the epoch's business.
        let work = tokio::task::unconstrained(work);
        let result = self.meter.metered(work).await;
        result
            .and_then(|result| result)
            .map_err(|error| explain(&self.meter, self.cpu_limit, &error))
    }
}

/// Time limits stand around all work of a store: a timeout within it does not
/// stop a guest that spins.
async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Error> {
    tokio::time::timeout(limit, work)
        .await
        .map_err(|_| Error::TooSlow { limit })
}

fn explain(meter: &CpuMeter, limit: Duration, error: &wasmtime::Error) -> Error {
    match meter.exceeded() {
        true => Error::Spinning { limit },
        false => Error::Trapped {
            message: format!("{error:#}"),
        },
    }
}
