//! How much of the disk the state may take.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;
use tonic::Status;

use crate::{core::Core, limits, snapshots, sync::lock};

/// What was last measured.
///
/// What commands write cannot be counted as it comes: the state directory is
/// measured from time to time, away from the calls, which go by the last
/// measurement.
#[derive(Debug, Default)]
pub(crate) struct Quota(Mutex<Measured>);

#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    bytes: u64,
    /// When it may be measured again.
    next: Option<Instant>,
    running: bool,
}

impl Quota {
    /// The bytes of the last measurement, and whether it is time for another.
    fn look(&self) -> (u64, bool) {
        let mut measured = lock(&self.0);
        let due = measured.next.is_none_or(|next| next <= Instant::now());
        let start = due && !measured.running;
        measured.running |= start;
        (measured.bytes, start)
    }

    fn note(&self, bytes: Option<u64>, took: Duration) {
        let pause = limits::DISK_PAUSE.max(took * limits::DISK_PAUSE_FACTOR);
        let mut measured = lock(&self.0);
        measured.bytes = bytes.unwrap_or(measured.bytes);
        measured.next = Instant::now().checked_add(pause);
        measured.running = false;
    }
}

/// Refuses what would take more of the disk when too much of it is taken.
pub(crate) fn check(core: &Arc<Core>) -> Result<(), Status> {
    let (bytes, due) = core.quota.look();
    if due {
        let core = Arc::clone(core);
        tokio::spawn(async move {
            snapshots::expire(&core).await;
            measure(&core).await;
        });
    }
    let quota = core.limits.disk;
    if bytes < quota {
        return Ok(());
    }
    Err(Status::resource_exhausted(format!(
        "the local Modal keeps {} of sandboxes and snapshots on its disk, and may keep {}: remove \
         files in sandboxes, end some, let snapshots expire, or start it with a larger quota",
        mebibytes(bytes),
        mebibytes(quota)
    )))
}

pub(crate) async fn measure(core: &Core) {
    let begin = Instant::now();
    let measured = core.executor.disk_usage().await;
    if let Err(error) = &measured {
        tracing::warn!(%error, "the state directory cannot be measured");
    }
    core.quota.note(measured.ok(), begin.elapsed());
}

/// Rounded up.
fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1024 * 1024))
}
