//! One instance of a plugin: a store, and calls into it under limits.

use crate::contract::bindings::{Flavor as Bindings, FlavorPre};
use crate::engine::{CpuMeter, Ticking, Turns};
use crate::error::Error;
use crate::events::Malformed;
use crate::guest::GuestState;
use crate::limits::Limits;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use wasmtime::component::{Accessor, AccessorTask, ResourceAny};
use wasmtime::{Engine, Store};

/// An instance. It serves one run, session or call; after anything but a result
/// it must not be used again.
pub(crate) struct Instance {
    store: Store<GuestState>,
    bindings: Arc<Bindings>,
    meter: CpuMeter,
    cpu_limit: Duration,
    _ticking: Ticking,
}

/// What is to be done in an instance that serves.
pub(crate) enum Job {
    /// A call, side by side with others.
    Call(BoxedCall),
    /// The end of a resource that no call uses any more.
    Release(ResourceAny),
}

/// A call, and what is done with its result.
pub(crate) type BoxedCall = Box<
    dyn for<'a> FnOnce(
            &'a Accessor<GuestState>,
            &'a Bindings,
        ) -> BoxFuture<'a, wasmtime::Result<()>>
        + Send,
>;

/// A call in an instance. It lives in the store, so it goes on while that does
/// something else.
struct CallTask {
    bindings: Arc<Bindings>,
    call: BoxedCall,
}

impl AccessorTask<GuestState> for CallTask {
    async fn run(self, accessor: &Accessor<GuestState>) -> wasmtime::Result<()> {
        (self.call)(accessor, &self.bindings).await
    }
}

impl Instance {
    pub(crate) async fn new(
        pre: &FlavorPre<GuestState>,
        state: GuestState,
        limits: &Limits,
        ticking: Ticking,
    ) -> Result<Self, Error> {
        let asked = state.gate.asked();
        let turns = match state.surroundings.uninterrupted {
            true => Turns::Uninterrupted,
            false => Turns::Shared,
        };
        let meter = CpuMeter::new(limits.cpu_between_returns, asked, turns);
        let mut store = limited(pre.engine(), state, limits, &meter);
        let cpu_limit = limits.cpu_between_returns;
        let bindings = {
            let work = meter.metered(pre.instantiate_async(&mut store));
            within(limits.call_time, work).await?
        };
        match bindings {
            Ok(bindings) => Ok(Self {
                store,
                bindings: Arc::new(bindings),
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
        let bindings = Arc::clone(&self.bindings);
        let result = self
            .run(async move |accessor| call(accessor, &bindings).await)
            .await;
        self.explained(result.and_then(|result| result))
    }

    /// Does what it is asked for until nobody can ask any more, or until something
    /// fails. Then all calls that are under way are lost.
    pub(crate) async fn serve(
        &mut self,
        jobs: &mut mpsc::UnboundedReceiver<Job>,
    ) -> Result<(), Error> {
        loop {
            let queue = &mut *jobs;
            let bindings = Arc::clone(&self.bindings);
            let result = self
                .run(async move |accessor| {
                    while let Some(job) = queue.recv().await {
                        match job {
                            Job::Call(call) => {
                                let bindings = Arc::clone(&bindings);
                                accessor.spawn(CallTask { bindings, call })?;
                            }
                            Job::Release(resource) => return Ok(Some(resource)),
                        }
                    }
                    Ok(None)
                })
                .await;
            let Some(resource) = self.explained(result.and_then(|result| result))? else {
                return Ok(());
            };
            // A destructor needs the store for itself, so this is done outside.
            let work = resource.resource_drop_async(&mut self.store);
            let result = self.meter.metered(work).await;
            self.explained(result)?;
        }
    }

    async fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&Accessor<GuestState>) -> T,
    ) -> wasmtime::Result<T> {
        let work = self.store.run_concurrent(work);
        // The instance is one task in tokio's eyes and thousands in truth. tokio
        // lets a task do some hundred things in a row and then tells it to wait
        // whatever it tries: all requests of the instance would be polled again
        // and again, a hundred of them in earnest. That others get their turn is
        // the epoch's business.
        let work = tokio::task::unconstrained(work);
        self.meter.metered(work).await
    }

    fn explained<T>(&self, result: wasmtime::Result<T>) -> Result<T, Error> {
        result.map_err(|error| explain(&self.meter, self.cpu_limit, &error))
    }
}

/// A store under these limits.
fn limited(
    engine: &Engine,
    state: GuestState,
    limits: &Limits,
    meter: &CpuMeter,
) -> Store<GuestState> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.store_limits);
    store.set_hostcall_fuel(limits.call_bytes);
    store.set_max_component_handles(limits.handles);
    meter.govern(&mut store);
    store
}

/// Time limits stand around all work of a store: a timeout within it does not
/// stop a guest that spins.
async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Error> {
    tokio::time::timeout(limit, work)
        .await
        .map_err(|_| Error::TooSlow { limit })
}

fn explain(meter: &CpuMeter, limit: Duration, error: &wasmtime::Error) -> Error {
    match (meter.exceeded(), error.downcast_ref::<Malformed>()) {
        (true, _) => Error::Spinning { limit },
        (false, Some(malformed)) => Error::BrokenContract {
            what: malformed.to_string(),
        },
        (false, None) => Error::trapped(&format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::limited;
    use crate::engine::{self, CpuMeter, Turns};
    use crate::guest::{Grants, GuestState};
    use crate::http::SystemResolver;
    use crate::limits::Limits;
    use crate::surroundings::Surroundings;
    use std::sync::Arc;
    use wasmtime::Engine;
    use wasmtime::component::{Component, Linker};

    /// Instantiates a component of core modules, each made of these lines and
    /// as often as it says.
    async fn instantiate(modules: &[(usize, &str)]) -> wasmtime::Result<()> {
        let limits = Limits {
            memory_bytes: 1024 * 1024,
            memories: 3,
            tables: 3,
            table_elements: 1000,
            instances: 5,
            ..Limits::default()
        };
        let mut text = String::from("(component");
        for (number, (times, lines)) in modules.iter().enumerate() {
            text += &format!("(core module $m{number} {lines})");
            text += &format!("(core instance (instantiate $m{number}))").repeat(*times);
        }
        text.push(')');
        let engine = Engine::new(&engine::config())?;
        let component = Component::new(&engine, wat::parse_str(&text)?)?;
        let grants = Grants::nothing(&limits, Arc::new(SystemResolver), Surroundings::default());
        let asked = grants.gate.asked();
        let state = GuestState::new(grants, &limits);
        let meter = CpuMeter::new(limits.cpu_between_returns, asked, Turns::Shared);
        let mut store = limited(&engine, state, &limits, &meter);
        let linker = Linker::new(&engine);
        linker.instantiate_async(&mut store, &component).await?;
        Ok(())
    }

    #[tokio::test]
    async fn memories_tables_and_instances_are_bounded() {
        for (fits, modules) in [
            (true, (1, "(memory 16)")),
            (false, (1, "(memory 17)")),
            (false, (1, "(memory 65536)")),
            (false, (1, "(memory i64 0x1000000000000)")),
            (true, (3, "(memory 16)")),
            (false, (4, "(memory 0)")),
            (false, (1, "(memory 0) (memory 0) (memory 0) (memory 0)")),
            (true, (1, "(table 1000 funcref)")),
            (false, (1, "(table 1001 funcref)")),
            (false, (1, "(table 1 funcref) (table 0xffffffff externref)")),
            (true, (3, "(table 1000 externref)")),
            (false, (4, "(table 0 externref)")),
            (true, (5, "")),
            (false, (6, "")),
        ] {
            let result = instantiate(&[modules]).await;
            assert_eq!(result.is_ok(), fits, "{modules:?}: {result:?}");
        }
    }

    #[tokio::test]
    async fn growing_beyond_the_bounds_fails() {
        let grows = |what: &str, by: u32, to: i32| {
            format!(
                "(memory 1) (table 1 funcref)
                 (func $f (if (i32.ne ({what} (i32.const {by})) (i32.const {to})) (then unreachable)))
                 (start $f)"
            )
        };
        for (what, by, to) in [
            ("memory.grow", 15, 1),
            ("memory.grow", 16, -1),
            ("memory.grow", 65_535, -1),
            ("table.grow 0 (ref.null func)", 999, 1),
            ("table.grow 0 (ref.null func)", 1000, -1),
            ("table.grow 0 (ref.null func)", u32::MAX, -1),
        ] {
            let result = instantiate(&[(1, &grows(what, by, to))]).await;
            assert!(result.is_ok(), "{what} {by}: {result:?}");
        }
    }

    #[tokio::test]
    async fn what_no_plugin_needs_is_not_there() {
        for lines in [
            "(type (struct (field i32)))",
            "(type (array (mut i8)))",
            "(tag (param i32))",
            "(memory 1 1 shared)",
        ] {
            let result = instantiate(&[(1, lines)]).await;
            assert!(result.is_err(), "{lines}");
        }
    }
}
