//! Where a run or a step of ZenML stands.

use std::fmt;

/// All statuses that ZenML knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExecutionStatus {
    /// Being set up.
    Initializing,
    /// Waits for what it runs on.
    Provisioning,
    /// Waits for its turn.
    Queued,
    /// Runs.
    Running,
    /// Did not do what it should.
    Failed,
    /// Did what it should.
    Completed,
    /// An earlier result stands for it.
    Cached,
    /// Never ran.
    Skipped,
    /// Failed, and is going to be tried again.
    Retrying,
    /// Failed, and has been tried again.
    Retried,
    /// Is being cut short.
    Cancelling,
    /// Was cut short.
    Cancelled,
    /// Waits for somebody to go on.
    Paused,
    /// About to go on.
    Resuming,
    /// Was stopped on request.
    Stopped,
    /// Is being stopped on request.
    Stopping,
}

impl ExecutionStatus {
    /// All of them.
    pub const ALL: [Self; 16] = [
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

    /// Understands ZenML's word for it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// ZenML's word for it.
    pub fn name(self) -> &'static str {
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

    /// The status of what runs in a sandbox, from the exit code of the sandbox;
    /// none while it runs.
    pub fn of_exit_code(code: Option<i32>) -> Self {
        match code {
            None => Self::Running,
            Some(0) => Self::Completed,
            Some(_) => Self::Failed,
        }
    }

    /// Whether nothing more comes.
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

    /// Whether what comes after it may go on.
    pub fn is_successful(self) -> bool {
        matches!(self, Self::Completed | Self::Cached | Self::Skipped)
    }

    /// Whether it is to be told as a failure.
    pub fn is_failed(self) -> bool {
        matches!(self, Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for ExecutionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::ExecutionStatus;

    #[test]
    fn every_status_has_a_name_of_its_own() {
        for status in ExecutionStatus::ALL {
            assert_eq!(ExecutionStatus::from_name(status.name()), Some(status));
        }
        assert_eq!(ExecutionStatus::from_name("done"), None);
    }

    #[test]
    fn success_and_failure_exclude_each_other() {
        for status in ExecutionStatus::ALL {
            assert!(!(status.is_successful() && status.is_failed()), "{status}");
            assert!(status.is_finished() || !status.is_successful(), "{status}");
        }
    }
}
