//! `flavor step wait`

use super::{metadata, tell};
use crate::args::StepWaitArgs;
use crate::exit::{Exit, Failure};
use crate::{plugin, remote};
use flavor_host::contract::StepStatus;

pub(crate) async fn wait(args: StepWaitArgs) -> Result<Exit, Failure> {
    let connection = remote::connection(&args.step.on, None)?;
    let url = connection.target.url();
    let metadata = metadata(&args.step)?;
    let plugin = plugin::load().await?;
    let waiting = async {
        let status = plugin.wait_for_step(connection, metadata).await;
        status.map_err(|error| remote::failure(error, &url))
    };
    let status = remote::interruptible(waiting, "the step goes on").await?;
    tell(status, args.json);
    Ok(match status {
        StepStatus::Completed => Exit::Done,
        _ => Exit::Failed,
    })
}
