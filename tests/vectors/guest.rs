//! The component with the world for recorded cases, in an engine of its own.

use std::thread;
use std::time::Duration;
use wasmtime::component::{Accessor, Component, HasData, Linker, ResourceTable};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error as HttpError, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView,
};

#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::todo,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    unused_qualifications,
    reason = "generated code"
)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "conformance",
        exports: { default: async | store },
    });
}

pub(crate) use bindings::Conformance;
use bindings::exports::zenml::flavor::catalog::{Flavor, IntegrationFacts};
pub(crate) use bindings::exports::zenml::flavor::config::{Checked, DocumentKind};
pub(crate) use bindings::zenml::flavor::types::{Error, FieldError, FlavorKind};

/// How often the clock for hung cases ticks.
const TICK: Duration = Duration::from_millis(100);
/// How many ticks a case may compute before it counts as hung: a minute. Generous:
/// the machine may be busy.
const CASE: u64 = 600;

/// An instance that answers one case after the other, and a new one after one
/// that died.
pub(crate) struct Guest {
    engine: Engine,
    linker: Linker<State>,
    component: Component,
    instance: Option<(Store<State>, Conformance)>,
    catalog: Option<Catalog>,
}

/// What the component says about itself.
#[derive(Debug, Clone)]
pub(crate) struct Catalog {
    pub(crate) flavors: Vec<Flavor>,
    pub(crate) integration: IntegrationFacts,
}

impl Guest {
    /// Compiles the component.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let mut config = Config::new();
        config
            .wasm_component_model(true)
            .wasm_component_model_async(true)
            .epoch_interruption(true);
        let engine = Engine::new(&config)?;
        let ticking = engine.weak();
        thread::spawn(move || {
            while let Some(engine) = ticking.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(TICK);
            }
        });
        Ok(Self {
            linker: linker(&engine)?,
            component: Component::new(&engine, conformance_plugin::COMPONENT)?,
            engine,
            instance: None,
            catalog: None,
        })
    }

    /// Calls an export. The outer error is a trap or a hang: the instance is
    /// gone, the next call gets a new one.
    pub(crate) async fn call<T>(
        &mut self,
        call: impl AsyncFnOnce(&Accessor<State>, &Conformance) -> wasmtime::Result<T>,
    ) -> anyhow::Result<T> {
        let (mut store, bindings) = match self.instance.take() {
            Some(instance) => instance,
            None => self.instantiate().await?,
        };
        store.set_epoch_deadline(CASE);
        let result = store
            .run_concurrent(async |accessor| call(accessor, &bindings).await)
            .await
            .and_then(|result| result)?;
        self.instance = Some((store, bindings));
        Ok(result)
    }

    /// What the component says about itself, asked for once.
    pub(crate) async fn catalog(&mut self) -> anyhow::Result<Catalog> {
        if let Some(catalog) = &self.catalog {
            return Ok(catalog.clone());
        }
        let flavors = self.call(async |accessor, component| {
            component
                .zenml_flavor_catalog()
                .call_flavors(accessor)
                .await
        });
        let flavors = flavors
            .await?
            .map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let integration = self.call(async |accessor, component| {
            component
                .zenml_flavor_catalog()
                .call_integration(accessor)
                .await
        });
        let catalog = Catalog {
            flavors,
            integration: integration.await?,
        };
        Ok(self.catalog.insert(catalog).clone())
    }

    async fn instantiate(&self) -> anyhow::Result<(Store<State>, Conformance)> {
        let mut store = Store::new(&self.engine, State::new());
        store.set_epoch_deadline(CASE);
        let bindings =
            Conformance::instantiate_async(&mut store, &self.component, &self.linker).await?;
        Ok((store, bindings))
    }
}

/// What the component may import. Only what computes is answered; recorded cases
/// need nothing else.
fn linker(engine: &Engine) -> anyhow::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    Conformance::add_to_linker::<_, Contract>(&mut linker, |state| state)?;
    Ok(linker)
}

/// What the host keeps for an instance.
pub(crate) struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    network: NoNetwork,
}

impl State {
    fn new() -> Self {
        Self {
            table: ResourceTable::new(),
            wasi: WasiCtx::builder().build(),
            http: WasiHttpCtx::new(),
            network: NoNetwork,
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.network,
        }
    }
}

struct NoNetwork;

type IoFuture = Box<dyn Future<Output = Result<(), HttpError>> + Send>;

impl WasiHttpHooks for NoNetwork {
    fn send_request(
        &mut self,
        _: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: IoFuture,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, IoFuture), HttpError>> + Send>
    {
        Box::new(std::future::ready(Err(HttpError::HttpRequestDenied)))
    }
}

/// Marks the contract's own imports in the linker.
struct Contract;

impl HasData for Contract {
    type Data<'a> = &'a mut State;
}

mod imports {
    use super::bindings::zenml::flavor::{credentials, log, run_store, types};
    use super::{Contract, State};
    use wasmtime::component::Accessor;

    impl types::Host for &mut State {}

    impl log::Host for &mut State {
        fn emit(&mut self, _: log::Level, message: String) {
            eprintln!("component: {message}");
        }
    }

    impl credentials::Host for &mut State {
        fn forwardable(&mut self) -> Result<credentials::CredentialPair, types::Refusal> {
            Err(types::Refusal {
                asked: "credentials".to_owned(),
                reason: "there are none here".to_owned(),
            })
        }
    }

    impl run_store::Host for &mut State {}

    fn unavailable() -> types::StoreError {
        types::StoreError::Unavailable("there is no run store here".to_owned())
    }

    impl run_store::HostWithStore<State> for Contract {
        async fn open(
            _: &Accessor<State, Self>,
            _: String,
        ) -> Result<run_store::Claim, types::StoreError> {
            Err(unavailable())
        }

        async fn commit(
            _: &Accessor<State, Self>,
            _: String,
            _: u64,
            _: Vec<run_store::Change>,
        ) -> Result<(), types::StoreError> {
            Err(unavailable())
        }

        async fn cached(
            _: &Accessor<State, Self>,
            _: String,
            _: String,
        ) -> Result<bool, types::StoreError> {
            Err(unavailable())
        }

        async fn wait_for_stop(
            _: &Accessor<State, Self>,
            _: String,
            _: Option<types::StopMode>,
        ) -> Result<types::StopMode, types::StoreError> {
            Err(unavailable())
        }
    }
}
