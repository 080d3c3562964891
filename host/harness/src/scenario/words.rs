//! The words that scenario files use for things that have no word elsewhere.

use super::{Moment, StoreCall};

/// Methods of the service that a run may call, and so may expect or have go
/// wrong.
pub(crate) const METHODS: &[&str] = &[
    "AppGetOrCreate",
    "AuthTokenGet",
    "EnvironmentGetOrCreate",
    "ImageFromId",
    "ImageGetOrCreate",
    "ImageJoinStreaming",
    "SandboxCreate",
    "SandboxCreateV2",
    "SandboxGetCommandRouterAccess",
    "SandboxGetFromName",
    "SandboxGetFromNameV2",
    "SandboxGetLogs",
    "SandboxGetTaskId",
    "SandboxGetTaskIdV2",
    "SandboxList",
    "SandboxListV2",
    "SandboxStdioReadV2",
    "SandboxTagsGet",
    "SandboxTagsGetV2",
    "SandboxTagsSet",
    "SandboxTagsSetV2",
    "SandboxTerminate",
    "SandboxTerminateV2",
    "SandboxWait",
    "SandboxWaitV2",
    "SecretGetOrCreate",
    "TaskExecStart",
    "TaskExecStdioRead",
    "TaskExecWait",
    "TaskGetCommandRouterAccess",
];

impl StoreCall {
    /// Operations of the run store.
    pub const ALL: [Self; 4] = [Self::Open, Self::Commit, Self::Cached, Self::WaitForStop];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Commit => "commit",
            Self::Cached => "cached",
            Self::WaitForStop => "wait_for_stop",
        }
    }
}

impl Moment {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Before, Self::After];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// The word nearest to one that is not known.
pub(crate) fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> &'w str {
    let word = word.to_lowercase();
    let similarity = |other: &&str| strsim::jaro_winkler(&word, &other.to_lowercase());
    let nearest = known
        .into_iter()
        .max_by(|one, other| similarity(one).total_cmp(&similarity(other)));
    nearest.unwrap_or_default()
}
