//! `flavor sandbox create`

use super::{PERHAPS, new_sandbox, tell};
use crate::args::CreateArgs;
use crate::exit::{Exit, Failure};
use crate::{plugin, remote};

pub(crate) async fn create(args: CreateArgs) -> Result<Exit, Failure> {
    let (connection, options) = new_sandbox(&args.new, args.image)?;
    let url = connection.target.url();
    let plugin = plugin::load().await?;
    let creating = async {
        let session = plugin.create_session(connection, options).await;
        session.map_err(|error| remote::failure(error, &url))
    };
    let session = remote::interruptible(creating, PERHAPS).await?;
    tell(&session, args.new.json)?;
    Ok(Exit::Done)
}
