//! The host: loads plugins and calls them.

use crate::connection::Opened;
use crate::contract::bindings::{Flavor as Bindings, FlavorPre};
use crate::contract::{
    self, Checked, Context, DocumentKind, Flavor, FlavorKind, IntegrationFacts, Pipeline,
};
use crate::credentials::conceal;
use crate::digest::Digest;
use crate::engine::{self, CompiledCache, Ticker};
use crate::error::{Error, LoadError};
use crate::guest::{Grants, GuestState};
use crate::http::{Resolver, SystemResolver};
use crate::imports;
use crate::instance::Instance;
use crate::limits::Limits;
use crate::run::StartError;
use crate::surroundings::Surroundings;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use wasmtime::Engine;
use wasmtime::component::{Accessor, Component, Linker};

/// Loads plugins and gives them what they may have. Cheap to clone; clones share
/// the engine.
#[derive(Clone)]
pub struct Host {
    shared: Arc<Shared>,
    surroundings: Surroundings,
}

struct Shared {
    engine: Engine,
    linker: Linker<GuestState>,
    ticker: Ticker,
    cache: Option<CompiledCache>,
    limits: Limits,
    resolver: Arc<dyn Resolver>,
}

/// Settings of a host.
#[derive(Debug)]
pub struct HostBuilder {
    cache: Option<PathBuf>,
    limits: Limits,
    resolver: Arc<dyn Resolver>,
    surroundings: Surroundings,
}

impl Default for HostBuilder {
    fn default() -> Self {
        Self {
            cache: None,
            limits: Limits::default(),
            resolver: Arc::new(SystemResolver),
            surroundings: Surroundings::default(),
        }
    }
}

impl HostBuilder {
    /// Keeps compiled code in this directory. It is created for this user alone;
    /// one that others can write to is not used. Without it, every load
    /// compiles.
    #[must_use]
    pub fn cache(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cache = Some(directory.into());
        self
    }

    /// Sets other limits than the default ones.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Looks names up elsewhere than the system does. Every address is judged
    /// by the policy nevertheless.
    #[must_use]
    pub fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = resolver;
        self
    }

    /// Puts plugins elsewhere than on this machine. [`Plugin::within`] does so for
    /// one plugin.
    #[must_use]
    pub fn surroundings(mut self, surroundings: Surroundings) -> Self {
        self.surroundings = surroundings;
        self
    }

    /// The host.
    ///
    /// # Errors
    ///
    /// When the engine cannot be set up on this machine.
    pub fn build(self) -> anyhow::Result<Host> {
        let engine = Engine::new(&engine::config())?;
        let mut linker = Linker::new(&engine);
        imports::link(&mut linker)?;
        let cache = self.cache.and_then(|path| {
            CompiledCache::open(&path)
                .inspect_err(|error| tracing::warn!("{}: {error}", path.display()))
                .ok()
        });
        Ok(Host {
            shared: Arc::new(Shared {
                ticker: Ticker::start(&engine)?,
                engine,
                linker,
                cache,
                limits: self.limits,
                resolver: self.resolver,
            }),
            surroundings: self.surroundings,
        })
    }
}

impl Host {
    /// A host with default settings and no cache.
    ///
    /// # Errors
    ///
    /// As [`HostBuilder::build`].
    pub fn new() -> anyhow::Result<Self> {
        Self::builder().build()
    }

    /// Settings of a host.
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    /// The limits that its plugins live under.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Where names are looked up for its plugins.
    pub(crate) fn resolver(&self) -> Arc<dyn Resolver> {
        Arc::clone(&self.shared.resolver)
    }

    /// Where its plugins are.
    pub(crate) fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// Loads a plugin: from the cache, or by compiling it, which takes up to a
    /// second of CPU on a thread for such work.
    ///
    /// # Errors
    ///
    /// When it is no plugin that this host can run.
    pub async fn load(&self, component: &[u8]) -> Result<Plugin, LoadError> {
        let limit = self.shared.limits.component_bytes;
        if component.len() > limit {
            let size = component.len();
            return Err(LoadError::TooLarge { size, limit });
        }
        let digest = Digest::of(component);
        let cached = self
            .shared
            .cache
            .as_ref()
            .and_then(|cache| cache.load(&self.shared.engine, &digest));
        let compiled = match cached {
            Some(compiled) => compiled,
            None => self.compile(component.to_vec(), digest).await?,
        };
        let wrong_world = |error: wasmtime::Error| LoadError::WrongWorld(format!("{error:#}"));
        let pre = self
            .shared
            .linker
            .instantiate_pre(&compiled)
            .map_err(wrong_world)?;
        Ok(Plugin {
            host: self.clone(),
            pre: FlavorPre::new(pre).map_err(wrong_world)?,
            digest,
        })
    }

    async fn compile(&self, component: Vec<u8>, digest: Digest) -> Result<Component, LoadError> {
        let shared = Arc::clone(&self.shared);
        let compiling = tokio::task::spawn_blocking(move || {
            let compiled = Component::new(&shared.engine, component)
                .map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
            if let Some(cache) = &shared.cache {
                cache.store(&shared.engine, &digest, &compiled);
            }
            Ok(compiled)
        });
        match compiling.await {
            Ok(compiled) => compiled,
            Err(error) => Err(LoadError::Invalid(error.to_string())),
        }
    }
}

/// A loaded plugin. Cheap to clone.
#[derive(Clone)]
pub struct Plugin {
    host: Host,
    pre: FlavorPre<GuestState>,
    digest: Digest,
}

impl Plugin {
    /// What identifies the component.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The same plugin elsewhere: its instances from now on are in these
    /// surroundings. Costs nothing; the compiled code is shared.
    #[must_use]
    pub fn within(&self, surroundings: Surroundings) -> Self {
        let mut plugin = self.clone();
        plugin.host.surroundings = surroundings;
        plugin
    }

    /// The host that loaded it.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The flavors that it offers.
    ///
    /// # Errors
    ///
    /// When the plugin gives no answer.
    pub async fn flavors(&self) -> Result<Vec<Flavor>, Error> {
        self.compute(async |accessor, plugin| {
            plugin.zenml_flavor_catalog().call_flavors(accessor).await
        })
        .await
    }

    /// The integration that they come from.
    ///
    /// # Errors
    ///
    /// When the plugin gives no answer.
    pub async fn integration(&self) -> Result<IntegrationFacts, Error> {
        self.compute(async |accessor, plugin| {
            let catalog = plugin.zenml_flavor_catalog();
            catalog.call_integration(accessor).await.map(Ok)
        })
        .await
    }

    /// The document that registers a flavor with a ZenML server, as JSON text.
    /// `integration` is absent for a flavor of one's own.
    ///
    /// # Errors
    ///
    /// When the plugin has no such flavor or gives no answer.
    pub async fn registration(
        &self,
        flavor: FlavorKind,
        integration: Option<String>,
        is_custom: bool,
    ) -> Result<String, Error> {
        self.compute(async move |accessor, plugin| {
            plugin
                .zenml_flavor_catalog()
                .call_registration(accessor, flavor, integration, is_custom)
                .await
        })
        .await
    }

    /// Checks one document of a flavor. Token values in it do not reach the
    /// plugin: they read `credential:0` and so on, in the result too.
    ///
    /// # Errors
    ///
    /// When it is not acceptable: [`contract::Error::Invalid`] holds all that is
    /// wrong with it.
    pub async fn validate(
        &self,
        flavor: FlavorKind,
        kind: DocumentKind,
        document: Value,
    ) -> Result<Checked, Error> {
        let document = conceal(document).document.to_string();
        self.compute(async move |accessor, plugin| {
            plugin
                .zenml_flavor_config()
                .call_validate(accessor, flavor, kind, document)
                .await
        })
        .await
    }

    /// Checks a pipeline without running anything, and gives warnings.
    ///
    /// # Errors
    ///
    /// When it is not acceptable: [`contract::Error::Invalid`] holds all that is
    /// wrong with it.
    pub async fn check(&self, context: Context, pipeline: Pipeline) -> Result<Vec<String>, Error> {
        self.compute(async move |accessor, plugin| {
            plugin
                .zenml_flavor_orchestrator()
                .call_check(accessor, context, pipeline)
                .await
        })
        .await
    }

    /// Calls an export that only computes: the instance reaches nothing.
    pub(crate) async fn compute<T>(
        &self,
        call: impl AsyncFnOnce(
            &Accessor<GuestState>,
            &Bindings,
        ) -> wasmtime::Result<Result<T, contract::Error>>,
    ) -> Result<T, Error> {
        let limits = self.host.limits();
        let grants = Grants::nothing(
            limits,
            self.host.resolver(),
            self.host.surroundings().clone(),
        );
        let mut instance = self.instantiate(grants).await?;
        Ok(instance.call(limits.call_time, call).await??)
    }

    /// Calls an export that asks the service, in an instance of its own, for at most
    /// [`Limits::service_time`].
    pub(crate) async fn ask<T>(
        &self,
        opened: Opened,
        call: impl AsyncFnOnce(
            &Accessor<GuestState>,
            &Bindings,
            Opened,
        ) -> wasmtime::Result<Result<T, contract::Error>>,
    ) -> Result<T, StartError> {
        let limit = self.host.limits().service_time;
        let voice = opened.voice();
        let answer = tokio::time::timeout(limit, self.ask_unlimited(opened, call)).await;
        answer.unwrap_or_else(|_| Err(voice.error(Error::TooSlow { limit }).into()))
    }

    /// The same, for as long as it takes.
    pub(crate) async fn ask_unlimited<T>(
        &self,
        opened: Opened,
        call: impl AsyncFnOnce(
            &Accessor<GuestState>,
            &Bindings,
            Opened,
        ) -> wasmtime::Result<Result<T, contract::Error>>,
    ) -> Result<T, StartError> {
        let voice = opened.voice();
        let answer = async {
            let mut instance = self.instantiate(opened.grants()).await?;
            let call = async |accessor: &Accessor<GuestState>, plugin: &Bindings| {
                call(accessor, plugin, opened).await
            };
            Ok(instance.call_unlimited(call).await??)
        };
        answer
            .await
            .map_err(|error: Error| voice.error(error).into())
    }

    /// A fresh instance.
    pub(crate) async fn instantiate(&self, grants: Grants) -> Result<Instance, Error> {
        let shared = &self.host.shared;
        let state = GuestState::new(grants, &shared.limits);
        Instance::new(&self.pre, state, &shared.limits, shared.ticker.tick()).await
    }
}
