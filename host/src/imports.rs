//! What a plugin can call: the contract's own imports and the part of WASI that
//! holds no authority. A component that wants anything else does not link.

use crate::contract::bindings::Flavor;
use crate::contract::bindings::zenml::flavor::{credentials, log, run_store, types};
use crate::contract::{Change, Claim, CredentialPair, Refusal, StopMode, StoreError};
use crate::guest::GuestState;
use crate::store::OwnRun;
use crate::surroundings::ImportCall;
use crate::wasi;
use std::sync::Arc;
use wasmtime::Result;
use wasmtime::component::{Accessor, HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::p2::bindings::{cli, clocks};
use wasmtime_wasi_io::bindings::wasi::io::{self, poll};
use wasmtime_wasi_io::poll::DynPollable;

/// Marks the contract's own imports in the linker.
pub(crate) struct Contract;

impl HasData for Contract {
    type Data<'a> = &'a mut GuestState;
}

/// Everything that a plugin may import.
///
/// # Errors
///
/// When two definitions clash: a defect of the host.
pub(crate) fn link(linker: &mut Linker<GuestState>) -> Result<()> {
    Flavor::add_to_linker::<_, Contract>(linker, |state| state)?;
    wasi::link(linker)?;
    wasmtime_wasi_http::p3::add_to_linker(linker)?;
    link_standard_library(linker)
}

/// What Rust's standard library links by itself. There are no arguments, no
/// variables and no input; output goes nowhere; `exit` and waiting end the
/// instance.
fn link_standard_library(linker: &mut Linker<GuestState>) -> Result<()> {
    io::error::add_to_linker::<_, Streams>(linker, |state| state.ctx().table)?;
    poll::add_to_linker::<_, NoWaiting>(linker, |state| NoWaiting(state.ctx().table))?;
    io::streams::add_to_linker::<_, Streams>(linker, |state| state.ctx().table)?;
    clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(linker, GuestState::clocks)?;
    clocks::wall_clock::add_to_linker::<_, WasiClocks>(linker, GuestState::clocks)?;
    cli::environment::add_to_linker::<_, WasiCli>(linker, GuestState::cli)?;
    cli::exit::add_to_linker::<_, WasiCli>(linker, GuestState::cli)?;
    cli::stdin::add_to_linker::<_, WasiCli>(linker, GuestState::cli)?;
    cli::stdout::add_to_linker::<_, WasiCli>(linker, GuestState::cli)?;
    cli::stderr::add_to_linker::<_, WasiCli>(linker, GuestState::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(linker, GuestState::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(linker, GuestState::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, GuestState::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, GuestState::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, GuestState::cli)?;
    Ok(())
}

/// WASI 0.2's way of waiting, which holds up all of an instance: a guest that
/// waits there neither ends its sandboxes nor hears that it should.
struct NoWaiting<'t>(&'t mut ResourceTable);

impl HasData for NoWaiting<'static> {
    type Data<'a> = NoWaiting<'a>;
}

impl NoWaiting<'_> {
    fn refuse<T>() -> Result<T> {
        Err(wasmtime::Error::msg(
            "a plugin that waits must do so asynchronously, with WASI 0.3",
        ))
    }
}

impl poll::Host for NoWaiting<'_> {
    async fn poll(&mut self, _: Vec<Resource<DynPollable>>) -> Result<Vec<u32>> {
        Self::refuse()
    }
}

impl poll::HostPollable for NoWaiting<'_> {
    async fn ready(&mut self, pollable: Resource<DynPollable>) -> Result<bool> {
        poll::HostPollable::ready(self.0, pollable).await
    }

    async fn block(&mut self, _: Resource<DynPollable>) -> Result<()> {
        Self::refuse()
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> Result<()> {
        poll::HostPollable::drop(self.0, pollable)
    }
}

/// Marks WASI's streams in the linker.
struct Streams;

impl HasData for Streams {
    type Data<'a> = &'a mut ResourceTable;
}

impl types::Host for &mut GuestState {}

impl log::Host for &mut GuestState {
    fn emit(&mut self, level: log::Level, message: String) {
        let word = match level {
            log::Level::Trace => "trace",
            log::Level::Debug => "debug",
            log::Level::Info => "info",
            log::Level::Warn => "warn",
            log::Level::Error => "error",
        };
        if let Some(line) = self.log.emit(level, message) {
            let line = &line;
            self.observe(ImportCall::Log { level: word, line });
        }
    }
}

impl credentials::Host for &mut GuestState {
    fn forwardable(&mut self) -> Result<CredentialPair, Refusal> {
        self.observe(ImportCall::Credentials(self.forwardable.is_some()));
        match &self.forwardable {
            Some(pair) => Ok(CredentialPair {
                id: pair.id().to_owned(),
                secret: pair.secret().reveal().to_owned(),
            }),
            None => Err(Refusal {
                asked: "the credentials themselves".to_owned(),
                reason: "the grant `forward-credentials` is needed for that".to_owned(),
            }),
        }
    }
}

impl run_store::Host for &mut GuestState {}

impl run_store::HostWithStore<GuestState> for Contract {
    async fn open(accessor: &Accessor<GuestState, Self>, run: String) -> Result<Claim, StoreError> {
        run_of(accessor)?.open(&run).await
    }

    async fn commit(
        accessor: &Accessor<GuestState, Self>,
        run: String,
        epoch: u64,
        changes: Vec<Change>,
    ) -> Result<(), StoreError> {
        run_of(accessor)?.commit(&run, epoch, changes).await
    }

    async fn cached(
        accessor: &Accessor<GuestState, Self>,
        run: String,
        step: String,
    ) -> Result<bool, StoreError> {
        run_of(accessor)?.cached(&run, &step).await
    }

    async fn wait_for_stop(
        accessor: &Accessor<GuestState, Self>,
        run: String,
        known: Option<StopMode>,
    ) -> Result<StopMode, StoreError> {
        run_of(accessor)?.wait_for_stop(&run, known).await
    }
}

fn run_of(accessor: &Accessor<GuestState, Contract>) -> Result<Arc<OwnRun>, StoreError> {
    accessor.with(|mut access| {
        let state: &mut GuestState = access.get();
        state
            .run
            .clone()
            .ok_or_else(|| StoreError::Unavailable("there is no run store here".to_owned()))
    })
}
