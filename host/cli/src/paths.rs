//! Where things are kept: the XDG directories, under HOME without them.

use crate::exit::{Exit, Failure};
use flavor_host::state::StateDir;
use std::path::{Path, PathBuf};

/// The state directory: runs and what they wrote.
pub(crate) fn state() -> Result<PathBuf, Failure> {
    xdg("XDG_STATE_HOME", ".local/state")
}

/// The cache directory: compiled plugins.
pub(crate) fn cache() -> Result<PathBuf, Failure> {
    xdg("XDG_CACHE_HOME", ".cache")
}

/// Opens the state directory.
pub(crate) fn open_state(durable: bool) -> Result<StateDir, Failure> {
    Ok(StateDir::open(&state()?, durable)?)
}

fn xdg(variable: &str, under_home: &str) -> Result<PathBuf, Failure> {
    let absolute = |variable: &str| {
        let path = PathBuf::from(std::env::var_os(variable)?);
        path.is_absolute().then_some(path)
    };
    absolute(variable)
        .or_else(|| Some(absolute("HOME")?.join(under_home)))
        .map(|directory| Path::new(&directory).join("flavor"))
        .ok_or_else(|| {
            let message =
                format!("neither {variable} nor HOME is an absolute path: set one of them");
            Failure::new(Exit::BadInput, message)
        })
}
