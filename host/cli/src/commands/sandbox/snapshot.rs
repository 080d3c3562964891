//! `flavor sandbox snapshot`

use super::open;
use crate::args::SnapshotArgs;
use crate::exit::{Exit, Failure};
use crate::{remote, terminal};
use serde_json::json;

pub(crate) async fn snapshot(args: SnapshotArgs) -> Result<Exit, Failure> {
    let taking = async {
        let session = open(&args.known, &args.sandbox).await?;
        let snapshot = session.snapshot().await?;
        Ok((session.id().to_owned(), snapshot.image))
    };
    let left = "an image may have been kept all the same";
    let (sandbox, image) = remote::interruptible(taking, left).await?;
    terminal::say(&match args.json {
        true => json!({"image": image, "sandbox": sandbox}).to_string(),
        false => terminal::escape(&image),
    });
    Ok(Exit::Done)
}
