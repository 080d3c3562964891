//! A command in a sandbox.

use super::files::TransferError;
use super::streams::{self, Bytestream, Lines};
use super::worker::{Handle, Worker};
use crate::contract::{self, Collected, OutputStream};
use crate::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::sync::watch;
use wasmtime::AsContextMut as _;
use wasmtime::component::StreamReader;

/// A command in a sandbox. Clones are handles on the same command.
///
/// The command does not depend on this handle: dropping it leaves the command
/// running, and its outputs and its end unknown. The sandbox goes on living too.
#[derive(Clone)]
pub struct Process {
    worker: Arc<Worker>,
    handle: Arc<Handle>,
    exit: Arc<Exit>,
}

/// The end of a command, asked for once, however many wait for it.
struct Exit {
    is_asked_for: AtomicBool,
    known: watch::Sender<Option<Result<i32, contract::Error>>>,
}

/// Why a wait for the end of a command gave no exit code.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The command still runs.
    #[error("the command still runs after {0:?}")]
    StillRunning(Duration),
    /// It cannot be told.
    #[error(transparent)]
    Plugin(#[from] Error),
}

impl Process {
    pub(super) fn new(worker: Arc<Worker>, handle: Arc<Handle>) -> Self {
        Self {
            worker,
            handle,
            exit: Arc::new(Exit {
                is_asked_for: AtomicBool::new(false),
                known: watch::Sender::new(None),
            }),
        }
    }

    /// What the command writes to its standard output, from the beginning. Once.
    ///
    /// # Errors
    ///
    /// When it was taken already, or the plugin fails.
    pub async fn stdout(&self) -> Result<Bytestream, Error> {
        self.bytes(OutputStream::Stdout).await
    }

    /// What the command writes to its standard error, from the beginning. Once.
    ///
    /// # Errors
    ///
    /// As [`Self::stdout`].
    pub async fn stderr(&self) -> Result<Bytestream, Error> {
        self.bytes(OutputStream::Stderr).await
    }

    async fn bytes(&self, stream: OutputStream) -> Result<Bytestream, Error> {
        let limits = self.worker.limits();
        let (taken, given) = streams::bytes(limits);
        let handle = Arc::clone(&self.handle);
        let call = self
            .worker
            .call(limits.service_time, move |accessor, plugin| {
                Box::pin(async move {
                    let process = plugin.zenml_flavor_sandbox().process();
                    let output = process.call_output(accessor, handle.resource(), stream);
                    Ok(match output.await? {
                        Ok(output) => Ok(accessor
                            .with(|mut store| taken.take(store.as_context_mut(), output))?),
                        Err(error) => Err(error),
                    })
                })
            });
        call.await?;
        Ok(given.with(&self.worker))
    }

    /// The lines of one output, without their ends. Once, and instead of its bytes.
    ///
    /// # Errors
    ///
    /// As [`Self::stdout`].
    pub async fn lines(&self, stream: OutputStream) -> Result<Lines, Error> {
        let (taken, given) = streams::lines(self.worker.lines());
        let handle = Arc::clone(&self.handle);
        let limit = self.worker.limits().service_time;
        let call = self.worker.call(limit, move |accessor, plugin| {
            Box::pin(async move {
                let process = plugin.zenml_flavor_sandbox().process();
                let lines = process.call_lines(accessor, handle.resource(), stream);
                Ok(match lines.await? {
                    Ok(lines) => {
                        Ok(accessor.with(|mut store| taken.take(store.as_context_mut(), lines))?)
                    }
                    Err(error) => Err(error),
                })
            })
        });
        call.await?;
        Ok(given.with(&self.worker))
    }

    /// Feeds the standard input; the end of what is read closes it. Returns when
    /// the sandbox has all of it, or takes no more. Dropping the future ends the
    /// input where it is, which closes it too.
    ///
    /// # Errors
    ///
    /// When it cannot be read here, or cannot be handed on. What was read before
    /// has arrived or may have.
    pub async fn input(
        &self,
        reader: impl AsyncRead + Send + 'static,
    ) -> Result<(), TransferError> {
        let (producer, feed) = streams::feed(reader);
        let handle = Arc::clone(&self.handle);
        let fed = self.worker.call_unlimited(|accessor, plugin| {
            Box::pin(async move {
                let data = accessor.with(|store| StreamReader::new(store, producer))?;
                let process = plugin.zenml_flavor_sandbox().process();
                process.call_input(accessor, handle.resource(), data).await
            })
        });
        fed.await?;
        // A command may well end before it has read all of it.
        feed.taken().map_err(TransferError::Local)?;
        Ok(())
    }

    /// Waits for the end of the command, and gives its exit code: 128 and the
    /// signal's number for one that was ended by a signal. Without a timeout it
    /// waits as long as it takes.
    ///
    /// # Errors
    ///
    /// When the command still runs after that time, or its end cannot be told. The
    /// first is no harm to the command; it can be waited for again.
    pub async fn wait(&self, timeout: Option<Duration>) -> Result<i32, WaitError> {
        let Some(timeout) = timeout else {
            return Ok(self.ended().await?);
        };
        match tokio::time::timeout(timeout, self.ended()).await {
            Ok(ended) => Ok(ended?),
            Err(_) => Err(WaitError::StillRunning(timeout)),
        }
    }

    async fn ended(&self) -> Result<i32, Error> {
        if let Some(Ok(code)) = &*self.exit.known.borrow() {
            return Ok(*code);
        }
        if !self.exit.is_asked_for.load(Ordering::Acquire) {
            self.ask().await?;
        }
        let mut known = self.exit.known.subscribe();
        loop {
            if let Some(ended) = known.borrow_and_update().clone() {
                return ended.map_err(|error| self.worker.shown(Error::Plugin(error)));
            }
            tokio::select! {
                _ = known.changed() => {}
                reason = self.worker.gone() => return Err(reason),
            }
        }
    }

    /// Has the guest wait, unless it does already.
    async fn ask(&self) -> Result<(), Error> {
        let place = self.worker.place().await;
        if self.exit.is_asked_for.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.exit.known.send_replace(None);
        let handle = Arc::clone(&self.handle);
        let exit = Arc::clone(&self.exit);
        let wait = self.worker.submit(
            place,
            |accessor, plugin| {
                Box::pin(async move {
                    let process = plugin.zenml_flavor_sandbox().process();
                    process.call_wait(accessor, handle.resource(), None).await
                })
            },
            move |ended| {
                // After a failure it may be asked for again.
                exit.is_asked_for.store(ended.is_ok(), Ordering::Release);
                exit.known.send_replace(Some(ended));
            },
        );
        wait.await
    }

    /// The exit code, when the command has ended.
    ///
    /// # Errors
    ///
    /// When it cannot be told.
    pub async fn exit_code(&self) -> Result<Option<i32>, Error> {
        if let Some(Ok(code)) = &*self.exit.known.borrow() {
            return Ok(Some(*code));
        }
        let handle = Arc::clone(&self.handle);
        let limit = self.worker.limits().service_time;
        let call = self.worker.call(limit, |accessor, plugin| {
            Box::pin(async move {
                let process = plugin.zenml_flavor_sandbox().process();
                process.call_exit_code(accessor, handle.resource()).await
            })
        });
        call.await
    }

    /// Both outputs and the exit code, once the command has ended. `limit`: characters
    /// of each output that are kept, about a million by default. Once, and instead of
    /// [`Self::stdout`] and its like.
    ///
    /// # Errors
    ///
    /// When an output cannot be read, or the end cannot be told.
    pub async fn collect(&self, limit: Option<u64>) -> Result<Collected, Error> {
        let handle = Arc::clone(&self.handle);
        let call = self.worker.call_unlimited(move |accessor, plugin| {
            Box::pin(async move {
                let process = plugin.zenml_flavor_sandbox().process();
                let resource = handle.resource();
                process.call_collect(accessor, resource, limit).await
            })
        });
        call.await
    }

    /// Asks for the end of the command. Modal cannot end a single command, so this
    /// is always refused; destroying the session ends all of them.
    ///
    /// # Errors
    ///
    /// Always with Modal, saying so.
    pub async fn kill(&self) -> Result<(), Error> {
        let handle = Arc::clone(&self.handle);
        let limit = self.worker.limits().service_time;
        let call = self.worker.call(limit, |accessor, plugin| {
            Box::pin(async move {
                let process = plugin.zenml_flavor_sandbox().process();
                process.call_kill(accessor, handle.resource()).await
            })
        });
        call.await
    }
}
