//! The plugin that comes with this program.

use crate::exit::{Exit, Failure};
use crate::paths;
use flavor_host::{Host, Plugin};

/// Loads it, from compiled code if there is any.
pub(crate) async fn load() -> Result<Plugin, Failure> {
    let host = Host::builder()
        .cache(paths::cache()?.join("compiled"))
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("{error:#}")))?;
    Ok(host.load(default_plugin::COMPONENT).await?)
}
