//! What goes wrong.

use std::time::Duration;

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Calls to the service go wrong.
    Call {
        /// Which.
        calls: Calls,
        /// How.
        what: CallFault,
    },
    /// Calls to the run store go wrong.
    Store {
        /// Which operation; `None` for any.
        call: Option<StoreCall>,
        /// Which of its calls.
        when: Occasion,
        /// How.
        what: StoreFault,
    },
    /// The sandbox of an attempt comes to another end than its behaviour says.
    Sandbox {
        /// Of this step.
        step: String,
        /// Of this attempt, counted from 0; `None` for all of them.
        attempt: Option<u32>,
        /// How.
        what: SandboxFault,
    },
    /// The controller is killed, and another one takes its place.
    Kill {
        /// At one of its import calls, all of them counted, those to the service and
        /// those to the run store.
        at: When,
        /// Whether that call is made.
        moment: Moment,
        /// How long nobody is there.
        restart_after: Duration,
    },
    /// The wall clock jumps, forwards or backwards. What waits is not affected.
    ClockJump {
        /// When, from the start of the run.
        at: Duration,
        /// By how many seconds.
        by_seconds: f64,
    },
}

/// When a controller is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before the call leaves.
    Before,
    /// After the call was carried out, before its answer is there.
    After,
}

/// Some calls to the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calls {
    /// Of this method.
    pub rpc: Rpc,
    /// Which of them.
    pub when: When,
}

/// A method of the service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rpc {
    /// Each of them.
    Any,
    /// One, by its name such as `SandboxCreateV2`.
    Named(String),
}

/// Some of the calls of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// By number.
    Nth(Occasion),
    /// Those that leave within a time, from the start of the run.
    Between {
        /// The first moment.
        from: Duration,
        /// The first moment after it.
        to: Duration,
    },
}

/// Calls in a row, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occasion {
    /// The first of them, counted from 1.
    pub nth: u64,
    /// How many, at least 1.
    pub times: u64,
}

impl Occasion {
    /// One call, counted from 1.
    #[must_use]
    pub fn only(nth: u64) -> Self {
        Self { nth, times: 1 }
    }

    /// Whether a call, counted from 1, is among them.
    #[must_use]
    pub fn includes(self, call: u64) -> bool {
        call >= self.nth && call - self.nth < self.times
    }
}

/// How a call to the service goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallFault {
    /// The request never arrives, and nothing comes back.
    LostRequest,
    /// The request is answered, and the answer never arrives.
    LostReply,
    /// The request arrives twice. The second answer comes back.
    Duplicate,
    /// The request is on its way for so long.
    DelayedRequest(Duration),
    /// The answer is on its way for so long.
    DelayedReply(Duration),
    /// The request arrives after the next one.
    Overtaken,
    /// The connection breaks before the request arrives.
    ResetRequest,
    /// The connection breaks while the answer comes.
    ResetReply,
    /// RESOURCE_EXHAUSTED, nothing is done. With retry information when there is a
    /// time.
    Throttled(Option<Duration>),
    /// UNAVAILABLE, nothing is done.
    Unavailable,
    /// UNAUTHENTICATED, nothing is done: the token has run out.
    ExpiredToken,
}

/// An operation of the run store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreCall {
    /// Taking charge of a run.
    Open,
    /// Recording changes.
    Commit,
    /// Asking for a step's earlier result.
    Cached,
    /// Waiting for a stop.
    WaitForStop,
}

/// How a call to the run store goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFault {
    /// It cannot be written or read.
    Fails,
    /// It takes so long.
    Stalls(Duration),
}

/// How the sandbox of an attempt comes to another end. Times count from the start
/// of its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxFault {
    /// Its command is never started.
    NeverStarts,
    /// Its command goes on until it is ended.
    Hangs,
    /// A signal kills its command after so long.
    Dies(Duration),
    /// The service takes its machine away after so long.
    Evicted(Duration),
    /// The service loses it after so long.
    Lost(Duration),
}
