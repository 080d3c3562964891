//! Why a server could not be started.

use std::{io, net::SocketAddr, path::PathBuf};

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is not a loopback one, and [`allow_remote`] is not set.
    ///
    /// [`allow_remote`]: crate::Options::allow_remote
    #[error(
        "{0} is not a loopback address: whoever reaches the local Modal and knows its token \
         runs commands as you; allow remote addresses explicitly if that is meant"
    )]
    RemoteAddress(SocketAddr),
    /// Another server uses the state directory.
    #[error("{0} is in use by another local Modal: stop that one, or use another directory")]
    StateInUse(PathBuf),
    /// The state directory cannot be used.
    #[error("the state directory {path} cannot be used: {source}")]
    State {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The database in the state directory cannot be used, or was written by
    /// another version of this program; the message names it.
    #[error(transparent)]
    Database(Box<dyn std::error::Error + Send + Sync>),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(io::Error),
}
