//! The words that stand for statuses in the store and in what users see.

use crate::contract::{RunStatus, StepStatus, StopMode};

impl StepStatus {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::Cached => "cached",
        }
    }

    /// The status that a word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        const ALL: [StepStatus; 8] = [
            StepStatus::Pending,
            StepStatus::Starting,
            StepStatus::Running,
            StepStatus::Completed,
            StepStatus::Failed,
            StepStatus::Cancelled,
            StepStatus::Skipped,
            StepStatus::Cached,
        ];
        ALL.into_iter().find(|status| status.word() == word)
    }

    /// Whether there is no way back from it.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Starting | Self::Running)
    }
}

impl RunStatus {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// The status that a word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        const ALL: [RunStatus; 5] = [
            RunStatus::Running,
            RunStatus::Stopping,
            RunStatus::Completed,
            RunStatus::Failed,
            RunStatus::Stopped,
        ];
        ALL.into_iter().find(|status| status.word() == word)
    }

    /// Whether there is no way back from it.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Running | Self::Stopping)
    }
}

impl StopMode {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Graceful => "graceful",
            Self::Force => "force",
        }
    }

    /// The mode that a word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Graceful, Self::Force]
            .into_iter()
            .find(|mode| mode.word() == word)
    }

    /// Whether it goes further than another one.
    pub(crate) fn exceeds(self, other: Option<Self>) -> bool {
        match other {
            None => true,
            Some(Self::Graceful) => self == Self::Force,
            Some(Self::Force) => false,
        }
    }
}
