//! Files on their way into a sandbox and out of it.

use super::Session;
use super::streams::{self, Bytestream};
use crate::error::Error;
use std::io;
use std::sync::Arc;
use tokio::io::AsyncRead;
use wasmtime::AsContextMut as _;
use wasmtime::component::StreamReader;

/// Why data did not get from one side to the other.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// It cannot be read on this side.
    #[error(transparent)]
    Local(io::Error),
    /// The plugin, the service or the policy said no.
    #[error(transparent)]
    Plugin(#[from] Error),
}

impl Session {
    /// Writes a file in the sandbox, and says how many bytes it has now. Parents are
    /// created, an existing file is replaced. It need not fit into memory.
    ///
    /// # Errors
    ///
    /// When what it is to hold cannot be read here, or it cannot be written there.
    /// The file may be there with a part of its contents then. So it may when the
    /// future is dropped.
    pub async fn upload(
        &self,
        path: &str,
        reader: impl AsyncRead + Send + 'static,
    ) -> Result<u64, TransferError> {
        let (producer, feed) = streams::feed(reader);
        let handle = Arc::clone(&self.handle);
        let path = path.to_owned();
        let written = self.worker.call_unlimited(|accessor, plugin| {
            Box::pin(async move {
                let data = accessor.with(|store| StreamReader::new(store, producer))?;
                let session = plugin.zenml_flavor_sandbox().session();
                let resource = handle.resource();
                session.call_upload(accessor, resource, path, data).await
            })
        });
        let written = written.await?;
        let taken = feed.taken().map_err(TransferError::Local)?;
        let broken = |what| Err(TransferError::Plugin(Error::BrokenContract { what }));
        match (taken.is_whole, taken.bytes) {
            (true, bytes) if bytes == written => Ok(written),
            (true, bytes) => broken(format!("a file of {bytes} bytes was written as {written}")),
            (false, bytes) => broken(format!("a file was not read beyond {bytes} bytes")),
        }
    }

    /// Reads a file in the sandbox.
    ///
    /// # Errors
    ///
    /// When it cannot be read. That may also come out later, while it is read.
    pub async fn download(&self, path: &str) -> Result<Bytestream, Error> {
        let limits = self.worker.limits();
        let (taken, given) = streams::bytes(limits);
        let handle = Arc::clone(&self.handle);
        let path = path.to_owned();
        let call = self.worker.call(limits.service_time, |accessor, plugin| {
            Box::pin(async move {
                let session = plugin.zenml_flavor_sandbox().session();
                let file = session.call_download(accessor, handle.resource(), path);
                Ok(match file.await? {
                    Ok(file) => {
                        Ok(accessor.with(|mut store| taken.take(store.as_context_mut(), file))?)
                    }
                    Err(error) => Err(error),
                })
            })
        });
        call.await?;
        Ok(given.with(&self.worker))
    }
}
