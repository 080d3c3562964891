//! `flavor sandbox destroy`

use super::{attached, connection};
use crate::args::{DestroyArgs, Known};
use crate::exit::{Exit, Failure};
use crate::{plugin, remote, terminal};
use flavor_host::{Error, Plugin, StartError, contract};

/// Ends all that it can, and fails with the last failure.
pub(crate) async fn destroy(args: DestroyArgs) -> Result<Exit, Failure> {
    let plugin = plugin::load().await?;
    let mut failed: Option<Failure> = None;
    for sandbox in &args.sandboxes {
        let left = format!("{sandbox} may still run");
        let ended = end(&plugin, &args.known, sandbox);
        let Err(failure) = remote::interruptible(ended, &left).await else {
            continue;
        };
        if failure.exit == Exit::Stopped {
            return Err(failure);
        }
        if let Some(earlier) = failed.replace(failure) {
            terminal::complain(&format!("error: {}", earlier.message()));
        }
    }
    failed.map_or(Ok(Exit::Done), Err)
}

async fn end(plugin: &Plugin, known: &Known, sandbox: &str) -> Result<(), Failure> {
    let connection = connection(known)?;
    let url = connection.target.url();
    match attached(plugin, connection, sandbox).await {
        Ok(session) => Ok(session.destroy().await?),
        Err(StartError::Run(Error::Plugin(contract::Error::NotFound(_))))
            if has_ended(plugin, known, sandbox).await? =>
        {
            terminal::complain(&format!("{sandbox} has ended already"));
            Ok(())
        }
        Err(error) => Err(remote::failure(error, &url)),
    }
}

/// Whether it was there, so that there is nothing left to do.
async fn has_ended(plugin: &Plugin, known: &Known, sandbox: &str) -> Result<bool, Failure> {
    let listed = plugin.list_sandboxes(connection(known)?, Vec::new(), true);
    Ok(listed
        .await?
        .iter()
        .any(|listed| listed.finished && listed.sandbox == sandbox))
}
