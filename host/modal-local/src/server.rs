//! The server with its socket.

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    auth::Credentials,
    clock::Clock,
    core::{Core, Parts},
    error::Error,
    executor::process::{Prepare, ProcessExecutor, remove},
    journal::{Journal, Record},
    limits::{self, Limits},
    quota,
    random::Random,
    service::Service,
    snapshots,
    state_dir::{State, StateDir, StateDirError},
    token::Tokens,
};

/// How to start a [`Server`]. The default listens on a free port of 127.0.0.1,
/// makes up credentials and keeps its state in a temporary directory.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether `listen` may be anything but a loopback address. Whoever reaches
    /// the server and knows its token runs commands as you.
    pub allow_remote: bool,
    /// The token that clients must present; made up when `None`.
    pub credentials: Option<Credentials>,
    /// Where the state is kept.
    pub state: State,
    /// Called for every sandbox before its command starts.
    pub prepare: Option<Prepare>,
    /// Lifetime of the tokens of `AuthTokenGet`. Default: 20 minutes. On the
    /// wire it counts in whole seconds.
    pub auth_token_lifetime: Duration,
    /// Lifetime of the tokens for the worker plane. Default: 1 hour.
    pub router_token_lifetime: Duration,
    /// How much of everything.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            allow_remote: false,
            credentials: None,
            state: State::default(),
            prepare: None,
            auth_token_lifetime: limits::AUTH_TOKEN_LIFETIME,
            router_token_lifetime: limits::ROUTER_TOKEN_LIFETIME,
            limits: Limits::default(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("listen", &self.listen)
            .field("allow_remote", &self.allow_remote)
            .field("credentials", &self.credentials)
            .field("state", &self.state)
            .field("prepare", &self.prepare.is_some())
            .field("auth_token_lifetime", &self.auth_token_lifetime)
            .field("router_token_lifetime", &self.router_token_lifetime)
            .field("limits", &self.limits)
            .finish()
    }
}

/// A running local Modal.
///
/// Call [`shutdown`](Self::shutdown) to end it. Dropped instead, it stops
/// listening and asks its sandboxes to end, but nobody waits for them, and
/// their directories stay until the next start.
pub struct Server {
    address: SocketAddr,
    core: Arc<Core>,
    state: Arc<StateDir>,
    remove_state: Option<PathBuf>,
    closing: watch::Sender<bool>,
    /// Resolves when the last connection is closed.
    connections: JoinSet<()>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .field("state", &self.state.path())
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Takes the state directory into use, ends what a killed server left
    /// running there, and listens.
    ///
    /// It runs on the current tokio runtime, which needs I/O and time enabled.
    ///
    /// # Errors
    ///
    /// See [`Error`]. Nothing is left running after one.
    pub async fn start(options: Options) -> Result<Self, Error> {
        if !options.allow_remote && !options.listen.ip().is_loopback() {
            return Err(Error::RemoteAddress(options.listen));
        }
        let (state, remove_state) = open_state(&options.state).await?;
        let core = start_core(&state, &options).await?;
        let listener = TcpListener::bind(options.listen)
            .await
            .and_then(|listener| Ok((listener.local_addr()?, listener)))
            .map_err(|source| Error::Listen {
                address: options.listen,
                source,
            });
        let (address, listener) = match listener {
            Ok(listening) => listening,
            Err(error) => {
                clear_away(&core, &state, remove_state).await;
                return Err(error);
            }
        };
        let (closing, closed) = watch::channel(false);
        let mut connections = JoinSet::new();
        connections.spawn(accept(listener, Service::new(Arc::clone(&core)), closed));
        Ok(Self {
            address,
            core,
            state,
            remove_state,
            closing,
            connections,
        })
    }

    /// The address it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// What `MODAL_SERVER_URL` is to be set to: `http://HOST:PORT`. Where it
    /// listens on every address of the machine, the host is a loopback one.
    #[must_use]
    pub fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        format!("http://{address}")
    }

    /// The token that clients must present.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.core.credentials
    }

    /// The same server without a socket in between.
    #[must_use]
    pub fn service(&self) -> Service {
        Service::new(Arc::clone(&self.core))
    }

    /// Calls that were answered UNIMPLEMENTED, by path (`/package.Service/Method`).
    #[must_use]
    pub fn unimplemented(&self) -> BTreeMap<String, u64> {
        self.core.unimplemented.counts()
    }

    /// Ends every sandbox, answers the calls that waited for it, closes the
    /// socket, removes the sandboxes' directories, and frees the state
    /// directory for the next server.
    ///
    /// Takes as long as the most stubborn sandbox (the grace between SIGTERM
    /// and SIGKILL), and up to two seconds for clients to take their answers.
    pub async fn shutdown(mut self) {
        self.core.close();
        self.core.end_all().await;
        self.closing.send_replace(true);
        while self.connections.join_next().await.is_some() {}
        clear_away(&self.core, &self.state, self.remove_state.take()).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.core.close();
        self.closing.send_replace(true);
        for sandbox in self.core.store().sandboxes.all_running() {
            sandbox.terminate();
        }
    }
}

/// Removes what only a living server needs, and frees the state directory.
async fn clear_away(core: &Core, state: &StateDir, remove_state: Option<PathBuf>) {
    core.finish().await;
    if let Some(path) = remove_state {
        let _ = tokio::task::spawn_blocking(move || remove(&path)).await;
    }
    state.release();
}

async fn open_state(state: &State) -> Result<(Arc<StateDir>, Option<PathBuf>), Error> {
    let path = match state {
        State::Temporary => std::env::temp_dir(),
        State::Kept(path) | State::Removed(path) => path.clone(),
    };
    let directory = StateDir::open(state).await.map_err(|error| match error {
        StateDirError::InUse => Error::StateInUse(path),
        StateDirError::Io(source) => Error::State { path, source },
    })?;
    let remove = match state {
        State::Kept(_) => None,
        State::Temporary | State::Removed(_) => Some(directory.path().to_owned()),
    };
    Ok((Arc::new(directory), remove))
}

async fn start_core(state: &Arc<StateDir>, options: &Options) -> Result<Arc<Core>, Error> {
    let random = Random::from_os().map_err(Error::Random)?;
    let executor =
        ProcessExecutor::new(Arc::clone(state), options.prepare.clone(), &options.limits)
            .await
            .map_err(|source| Error::State {
                path: state.path().to_owned(),
                source,
            })?;
    let (journal, recorded) =
        Journal::open(state).map_err(|error| Error::Database(Box::new(error)))?;
    let known_key = recorded
        .token_key
        .as_ref()
        .and_then(|key| key.as_slice().try_into().ok());
    let token_key = known_key.unwrap_or_else(|| {
        let key = random.bytes();
        // Tokens of this server would be refused by the next if this were
        // lost, and clients would fetch new ones.
        drop(journal.write(vec![Record::token_key(key)]));
        key
    });
    let core = Arc::new(Core::new(Parts {
        executor: Arc::new(executor),
        journal: Some((journal, recorded)),
        clock: Clock::System,
        credentials: options
            .credentials
            .clone()
            .unwrap_or_else(|| Credentials::fresh(&random)),
        random,
        tokens: Tokens::new(
            token_key,
            options.auth_token_lifetime,
            options.router_token_lifetime,
        ),
        limits: options.limits.clone(),
    }));
    snapshots::expire(&core).await;
    quota::measure(&core).await;
    Ok(core)
}

/// Accepts until the server closes, and then waits for what was accepted.
async fn accept(listener: TcpListener, service: Service, mut closing: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(limits::CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = closed(&mut closing) => break,
            Some(_) = connections.join_next() => continue,
            accepted = async {
                // Fails only when it is closed, which it never is.
                let slot = Arc::clone(&slots).acquire_owned().await.ok();
                (slot, listener.accept().await)
            } => accepted,
        };
        let (slot, stream) = match accepted {
            (slot, Ok((stream, _))) => (slot, stream),
            (_, Err(error)) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                sleep(limits::ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (service, closing) = (service.clone(), closing.clone());
        connections.spawn(async move {
            serve(stream, service, closing).await;
            drop(slot);
        });
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(limits::CONNECTION_DRAIN, drained).await;
}

/// Serves one connection: HTTP/2 with prior knowledge.
async fn serve(stream: TcpStream, service: Service, mut closing: watch::Receiver<bool>) {
    // Small answers must not wait for the next ones.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request| {
        tower_service::Service::call(&mut service.clone(), request)
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::STREAMS_PER_CONNECTION)
        .max_pending_accept_reset_streams(limits::PENDING_RESETS)
        .initial_stream_window_size(limits::STREAM_WINDOW)
        .initial_connection_window_size(limits::CONNECTION_WINDOW)
        .max_send_buf_size(limits::SEND_BUFFER)
        .max_header_list_size(limits::HEADER_LIST);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = closed(&mut closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        // Clients that hang up, and whatever does not speak HTTP/2.
        tracing::debug!(%error, "a connection ended");
    }
}

async fn closed(closing: &mut watch::Receiver<bool>) {
    // Fails when the server was dropped.
    let _ = closing.wait_for(|closing| *closing).await;
}
