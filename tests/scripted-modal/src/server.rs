//! The server and the thread it runs on.

use crate::methods::World;
use crate::sandboxes::Ended;
use crate::{Gate, Script};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Ipv4Addr, TcpListener as StdListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How often each method was called.
pub type Counts = BTreeMap<String, u64>;

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    world: Arc<World>,
    thread: Option<JoinHandle<()>>,
    end: Option<oneshot::Sender<()>>,
    /// Where the kernel says what the thread has used.
    usage: PathBuf,
}

impl Server {
    /// Starts one on a free port of loopback.
    ///
    /// # Errors
    ///
    /// When the system gives no port or no thread.
    pub fn start(script: Script) -> io::Result<Self> {
        Self::behind(Gate::default(), script)
    }

    /// The same, with a gate before every call.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub fn behind(gate: Gate, script: Script) -> io::Result<Self> {
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        let world = Arc::new(World::new(script, gate, url));
        let of_thread = Arc::clone(&world);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (end, ended) = oneshot::channel();
        let (told, usage) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("scripted-modal".to_owned())
            .spawn(move || {
                let own = std::fs::read_link("/proc/thread-self").unwrap_or_default();
                let _ = told.send(PathBuf::from("/proc").join(own).join("schedstat"));
                runtime.block_on(async {
                    tokio::select! {
                        _ = serve(listener, of_thread) => {}
                        _ = ended => {}
                    }
                });
            })?;
        Ok(Self {
            world,
            thread: Some(thread),
            end: Some(end),
            usage: usage.recv().map_err(io::Error::other)?,
        })
    }

    /// Where it is: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.world.url
    }

    /// How often each method was called so far.
    pub fn counts(&self) -> Counts {
        self.world.state().counts.clone()
    }

    /// How many connections were opened so far.
    pub fn connections(&self) -> usize {
        self.world.state().connections
    }

    /// How many sandboxes were created so far.
    pub fn created(&self) -> usize {
        self.world.state().sandboxes.all().len()
    }

    /// How many of them have not ended.
    pub fn running(&self) -> usize {
        let state = self.world.state();
        let all = state.sandboxes.all().iter();
        all.filter(|sandbox| sandbox.result().is_none()).count()
    }

    /// When and how each sandbox ended, by its name.
    pub fn ended(&self) -> HashMap<String, Ended> {
        let state = self.world.state();
        let all = state.sandboxes.all().iter();
        all.filter_map(|sandbox| Some((sandbox.name.clone(), sandbox.ended()?)))
            .collect()
    }

    /// CPU that the server has used so far, to be taken off that of the process.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell.
    pub fn cpu(&self) -> io::Result<Duration> {
        let text = std::fs::read_to_string(&self.usage)?;
        let first = text.split_whitespace().next().unwrap_or_default();
        let nanoseconds = first.parse().map_err(io::Error::other)?;
        Ok(Duration::from_nanos(nanoseconds))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: StdListener, world: Arc<World>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        world.state().connections += 1;
        let streams = world.script.streams;
        let world = Arc::clone(&world);
        let service = service_fn(move |request| Arc::clone(&world).answer(request));
        tokio::spawn(
            http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(streams)
                .serve_connection(TokioIo::new(socket), service),
        );
    }
}
