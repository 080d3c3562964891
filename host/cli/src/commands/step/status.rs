//! `flavor step status`

use super::{metadata, tell};
use crate::args::StepStatusArgs;
use crate::exit::{Exit, Failure};
use crate::{plugin, remote};

pub(crate) async fn status(args: StepStatusArgs) -> Result<Exit, Failure> {
    let connection = remote::connection(&args.step.on, None)?;
    let url = connection.target.url();
    let metadata = metadata(&args.step)?;
    let status = plugin::load()
        .await?
        .step_status(connection, metadata)
        .await;
    tell(
        status.map_err(|error| remote::failure(error, &url))?,
        args.json,
    );
    Ok(Exit::Done)
}
