//! `flavor sandbox restore`

use super::{PERHAPS, new_sandbox, tell};
use crate::args::RestoreArgs;
use crate::exit::{Exit, Failure};
use crate::{plugin, remote};
use flavor_host::contract::Snapshot;

pub(crate) async fn restore(args: RestoreArgs) -> Result<Exit, Failure> {
    let (connection, options) = new_sandbox(&args.new, None)?;
    let url = connection.target.url();
    let snapshot = Snapshot {
        image: args.image,
        component: None,
    };
    let plugin = plugin::load().await?;
    let restoring = async {
        let session = plugin.restore_session(connection, snapshot, options).await;
        session.map_err(|error| remote::failure(error, &url))
    };
    let session = remote::interruptible(restoring, PERHAPS).await?;
    tell(&session, args.new.json)?;
    Ok(Exit::Done)
}
