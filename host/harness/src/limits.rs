//! Every limit of the harness, each with its reason.

use std::time::Duration;

/// Virtual time after which a run that has not ended counts as stuck: no sandbox
/// lives longer than a day, and a chain of many long steps may take a month.
pub(crate) const LONGEST_RUN: Duration = Duration::from_secs(60 * 24 * 3600);

/// Import calls after which a run counts as going in circles. A pipeline of 20,000
/// steps needs less than a million.
pub(crate) const IMPORT_CALLS: u64 = 20_000_000;

/// Lines of a trace that are kept as text; all of it goes into the hash.
pub(crate) const TRACE_LINES: usize = 200_000;

/// Virtual time that is left after a run for what is still to end: as long as the
/// slowest commands are given to end.
pub(crate) const AFTER_RUN: Duration = Duration::from_secs(300);

/// How long a request that is to be overtaken waits for another one.
pub(crate) const OVERTAKING: Duration = Duration::from_secs(10);

/// Calls that a run may make without any step: the service is met, tokens are
/// refreshed.
pub(crate) const CALLS_PER_RUN: u64 = 200;

/// Calls that an attempt at a step may take on average, with repetitions.
pub(crate) const CALLS_PER_ATTEMPT: u64 = 40;

/// Calls that a run may make in a second of virtual time, for questions that are
/// asked again and again: the client's own rate for some dozen running sandboxes.
pub(crate) const CALLS_PER_SECOND: u64 = 10;

/// Largest memory of a plugin, in bytes: half of what the host would allow it.
pub(crate) const PLUGIN_MEMORY: usize = 256 * 1024 * 1024;

/// Longest delay that chance gives a call. Longer than the shortest patience of the
/// client, so that delays are told from losses, and shorter than the longest.
pub(crate) const LONGEST_DELAY_MILLIS: u64 = 30_000;

/// Longest retry information that chance gives.
pub(crate) const LONGEST_THROTTLE_MILLIS: u64 = 20_000;

/// Longest time without a controller after a kill by chance.
pub(crate) const LONGEST_ABSENCE_MILLIS: u64 = 120_000;

/// Import calls among which chance picks one to kill the controller at.
pub(crate) const KILL_WITHIN_CALLS: u64 = 400;

/// Span within which chance has the clock jump, and by how much at most.
pub(crate) const CLOCK_JUMP_WITHIN_MILLIS: u64 = 600_000;
pub(crate) const CLOCK_JUMP_SECONDS: u64 = 7_200;

/// How often a run is taken up again that could not be, and the pause before it: an
/// hour without the service is survived.
pub(crate) const RESUMES: u32 = 60;
pub(crate) const RESUME_PAUSE: Duration = Duration::from_secs(60);

/// Runs that shrinking a failure may take.
pub(crate) const SHRINKING_RUNS: usize = 400;

/// Violations that are kept of one run: what is wrong once is often wrong for every
/// step.
pub(crate) const VIOLATIONS: usize = 50;

/// The longest time that a scenario may name: a year.
///
/// Sandboxes live for a day, and timers take their times in whole milliseconds:
/// all of it fits.
pub const VIRTUAL_TIME: Duration = Duration::from_secs(365 * 86_400);

/// How often one thing of which a run has only a few happens by chance, such as
/// the death of its controller.
///
/// A controller that is killed time and again makes no progress that a run could
/// be judged by.
pub const RANDOM_EVENTS: u32 = 100;
