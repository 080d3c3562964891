//! How runs and steps stand.

/// Where a step or a run stands, by ZenML's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExecutionStatus {
    /// Made known.
    Initializing,
    /// What it runs on is being made.
    Provisioning,
    /// Waits for its turn.
    Queued,
    /// At work.
    Running,
    /// Ended without a result.
    Failed,
    /// Ended with a result.
    Completed,
    /// An earlier result stands for it.
    Cached,
    /// Not run on purpose.
    Skipped,
    /// A step that failed and will be tried again.
    Retrying,
    /// A step that failed and was tried again since.
    Retried,
    /// About to be cut short.
    Cancelling,
    /// Cut short.
    Cancelled,
    /// Waits until somebody lets it go on.
    Paused,
    /// About to go on.
    Resuming,
    /// Ended by a stop.
    Stopped,
    /// Asked to stop.
    Stopping,
}

impl ExecutionStatus {
    const ALL: [Self; 16] = [
        Self::Initializing,
        Self::Provisioning,
        Self::Queued,
        Self::Running,
        Self::Failed,
        Self::Completed,
        Self::Cached,
        Self::Skipped,
        Self::Retrying,
        Self::Retried,
        Self::Cancelling,
        Self::Cancelled,
        Self::Paused,
        Self::Resuming,
        Self::Stopped,
        Self::Stopping,
    ];

    /// ZenML's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Provisioning => "provisioning",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Completed => "completed",
            Self::Cached => "cached",
            Self::Skipped => "skipped",
            Self::Retrying => "retrying",
            Self::Retried => "retried",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Paused => "paused",
            Self::Resuming => "resuming",
            Self::Stopped => "stopped",
            Self::Stopping => "stopping",
        }
    }

    /// The status that a word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }

    /// Whether nothing more is going to happen.
    pub fn is_finished(self) -> bool {
        matches!(
            self,
            Self::Failed
                | Self::Completed
                | Self::Cached
                | Self::Skipped
                | Self::Retried
                | Self::Stopped
                | Self::Cancelled
        )
    }
}

/// How a run with a fixed set of steps stands.
///
/// `run` is where it stood or what it is asked to become. `steps` holds a status
/// for each step that has begun, without attempts that were made again;
/// `number_of_steps` counts all of them.
///
/// A stop wins over everything, then a failure. A run whose steps have all begun
/// and none of which is at work counts as completed.
pub fn run_status(
    run: ExecutionStatus,
    steps: &[ExecutionStatus],
    number_of_steps: usize,
) -> ExecutionStatus {
    use ExecutionStatus as Status;
    let has = |status| steps.contains(&status);
    let stop = || match steps.iter().all(|step| step.is_finished()) {
        true => Status::Stopped,
        false => Status::Stopping,
    };
    if run == Status::Stopping {
        stop()
    } else if run == Status::Failed || has(Status::Failed) {
        Status::Failed
    } else if has(Status::Stopped) {
        stop()
    } else if has(Status::Running) || has(Status::Retrying) {
        Status::Running
    } else if steps.len() >= number_of_steps {
        Status::Completed
    } else if matches!(run, Status::Initializing | Status::Provisioning) {
        // Steps that are cached or skipped end before the run has begun.
        run
    } else {
        Status::Running
    }
}

#[cfg(test)]
mod tests {
    use super::{ExecutionStatus as Status, run_status};

    #[test]
    fn every_word_is_read_back() {
        for status in Status::ALL {
            assert_eq!(Status::from_word(status.word()), Some(status));
        }
        assert_eq!(Status::from_word("Running"), None);
    }

    #[test]
    fn a_stop_wins_over_a_failure_and_a_failure_over_all_else() {
        let steps = [Status::Failed, Status::Running, Status::Stopped];
        assert_eq!(run_status(Status::Stopping, &steps, 3), Status::Stopping);
        assert_eq!(run_status(Status::Running, &steps, 3), Status::Failed);
        let ended = [Status::Failed, Status::Stopped];
        assert_eq!(run_status(Status::Stopping, &ended, 3), Status::Stopped);
    }

    #[test]
    fn a_run_is_complete_when_every_step_has_begun_and_none_is_at_work() {
        let ended = [Status::Cached, Status::Completed];
        assert_eq!(run_status(Status::Running, &ended, 2), Status::Completed);
        assert_eq!(run_status(Status::Running, &ended, 3), Status::Running);
        assert_eq!(
            run_status(Status::Provisioning, &ended, 3),
            Status::Provisioning
        );
    }
}
