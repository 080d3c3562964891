//! `flavor step cancel`

use super::metadata;
use crate::args::StepCancelArgs;
use crate::exit::{Exit, Failure};
use crate::{plugin, remote};

pub(crate) async fn cancel(args: StepCancelArgs) -> Result<Exit, Failure> {
    let connection = remote::connection(&args.step.on, None)?;
    let url = connection.target.url();
    let metadata = metadata(&args.step)?;
    let plugin = plugin::load().await?;
    let ending = async {
        let ended = plugin.cancel_step(connection, metadata).await;
        ended.map_err(|error| remote::failure(error, &url))
    };
    remote::interruptible(ending, "the step may still run").await?;
    Ok(Exit::Done)
}
