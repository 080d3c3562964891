//! `flavor sandbox destroy`

use super::open;
use crate::args::DestroyArgs;
use crate::exit::{Exit, Failure};
use crate::{remote, terminal};

/// Ends all that it can, and fails with the first failure.
pub(crate) async fn destroy(args: DestroyArgs) -> Result<Exit, Failure> {
    let mut failed = None;
    for sandbox in &args.sandboxes {
        let ending = async {
            let session = open(&args.known, sandbox).await?;
            Ok(session.destroy().await?)
        };
        let left = format!("{sandbox} may still run");
        match remote::interruptible(ending, &left).await {
            Ok(()) => {}
            Err(failure) if failure.exit == Exit::Stopped => return Err(failure),
            Err(failure) => {
                if let Some(earlier) = failed.replace(failure) {
                    terminal::complain(&format!("error: {}", earlier.message()));
                }
            }
        }
    }
    match failed {
        None => Ok(Exit::Done),
        Some(failure) => Err(failure),
    }
}
