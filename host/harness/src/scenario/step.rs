//! What the commands of steps do.

use std::time::Duration;

use flavor_host::contract::OutputStream;

/// What happens to the sandbox of one attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour {
    /// From its creation to the start of its command. `None`: it never starts.
    pub starts_after: Option<Duration>,
    /// From the start to the end of its command. `None`: it goes on until it is
    /// ended.
    pub runs: Option<Duration>,
    /// How it ends by itself.
    pub end: End,
    /// What it writes, in the order of the times.
    pub output: Vec<Written>,
    /// How long it goes on after it was told to end.
    pub lingers: Duration,
}

impl Default for Behaviour {
    /// Starts at once, runs for a second and ends with code 0.
    fn default() -> Self {
        Self {
            starts_after: Some(Duration::ZERO),
            runs: Some(Duration::from_secs(1)),
            end: End::Exit(0),
            output: Vec::new(),
            lingers: Duration::ZERO,
        }
    }
}

/// How a sandbox comes to an end that nobody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Its command returns this code.
    Exit(i32),
    /// A signal ends its command.
    Signal(i32),
    /// The service loses it: INTERNAL_FAILURE.
    Lost,
    /// The service takes its machine away: TERMINATED.
    Evicted,
    /// Its command cannot be started: INIT_FAILURE. The run time does not count.
    NeverRan(String),
}

/// Something that a command writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// When, from the start of the command.
    pub after: Duration,
    /// Where to.
    pub stream: OutputStream,
    /// What.
    pub data: Vec<u8>,
}
