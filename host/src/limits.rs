//! Every limit that the host sets a plugin, each with its reason. What a plugin
//! may ask of the network is bounded by [`flavor_policy::Limits`] besides.

use std::time::Duration;

/// Bounds for one plugin instance. An instance serves one run, one session or
/// one call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Size of a component, in bytes.
    ///
    /// Default 64 MiB: the largest of this project has 2 MiB; compiling needs a
    /// multiple of it.
    pub component_bytes: usize,
    /// One linear memory, in bytes.
    ///
    /// Default 512 MiB: a run of 20,000 steps needs less than half of it.
    pub memory_bytes: usize,
    /// Linear memories of an instance.
    ///
    /// Default 4: a component of one language has one, and each counts anew
    /// against [`Self::memory_bytes`].
    pub memories: usize,
    /// Elements of one table.
    ///
    /// Default 100,000: tables hold function pointers, of which large programs
    /// have some ten thousand.
    pub table_elements: usize,
    /// Tables of an instance.
    ///
    /// Default 16: a few per core module.
    pub tables: usize,
    /// Core instances of an instance.
    ///
    /// Default 64: adapters included, components of this project have 6.
    pub instances: usize,
    /// Handles and tasks that an instance holds at one time.
    ///
    /// Default 65,536: a request under way takes about ten.
    pub handles: usize,
    /// Host resources that an instance holds at one time.
    ///
    /// Default 32,768: a request under way takes about five, and a wide pipeline
    /// has some thousand under way. With header fields in all of them
    /// ([`Self::header_bytes`]) they take 2 GiB, which is the most that a guest can
    /// make the host hold.
    pub resources: usize,
    /// What one call from the guest may make the host copy, in bytes, and what
    /// may be on its way to the run store at one time.
    ///
    /// Default 64 MiB: recording the end of 100,000 steps at once.
    pub call_bytes: usize,
    /// Random bytes in one call.
    ///
    /// Default 64 KiB: keys and identifiers have some dozen.
    pub random_bytes: u64,
    /// Header fields of one request or response, as held in memory, in bytes.
    ///
    /// Default 64 KiB: what a request may send
    /// ([`request_header_bytes`](flavor_policy::Limits::request_header_bytes))
    /// takes about twice that in memory.
    pub header_bytes: usize,
    /// CPU that a guest may use before it returns to the host.
    ///
    /// Default 5 s: planning 20,000 steps takes a tenth of it.
    pub cpu_between_returns: Duration,
    /// Time for a call that only computes: catalog, validation, checks.
    ///
    /// Default 30 s: they take milliseconds.
    pub call_time: Duration,
    /// Time until a run has been accepted or refused.
    ///
    /// Default 60 s: the plugin itself gives up on an unreachable service
    /// after 17 s.
    pub start_time: Duration,
    /// Time for a call that asks the service and does not wait for the end of
    /// anything, and for opening a session.
    ///
    /// Default 30 min: creating a sandbox waits for its image to be built and for
    /// a GPU, for which Modal's own clients wait 21 min.
    pub service_time: Duration,
    /// Calls that a session has under way; more wait in line.
    ///
    /// Default 1,024: a command that is fed and waited for takes two.
    pub session_calls: usize,
    /// Bytes of one output of a command that wait for a reader.
    ///
    /// Default 512 KiB: beyond it the plugin is held up, and through it the
    /// command.
    pub output_bytes_waiting: usize,
    /// Lines of all outputs of a session that wait for readers, in bytes; one
    /// batch more can be on its way.
    ///
    /// Default 8 MiB.
    pub line_bytes_waiting: usize,
    /// Events that wait for a reader.
    ///
    /// Default 1,024: beyond it the plugin is held up, not the memory filled.
    pub events_waiting: usize,
    /// Events that wait for a reader, in bytes; one batch more can be on its way.
    ///
    /// Default 8 MiB: a second of the output of a busy pipeline.
    pub event_bytes_waiting: usize,
    /// Everything that a run records in the run store, in bytes.
    ///
    /// Default 512 MiB: 100,000 steps with ten attempts each take about that.
    pub record_bytes: u64,
    /// One line of a guest's log, in bytes; the rest is cut off.
    ///
    /// Default 8 KiB.
    pub log_line_bytes: usize,
    /// All lines of a guest's log together, in bytes, and those that the host
    /// writes about it; later ones are dropped.
    ///
    /// Default 16 MiB.
    pub log_bytes: usize,
    /// What is kept of the output of one attempt at a step, in bytes; the rest
    /// is counted and dropped.
    ///
    /// Default 64 MiB: a day of a line every ten milliseconds.
    pub step_output_bytes: u64,
    /// What is kept of the output of a whole run, in bytes.
    ///
    /// Default 2 GiB.
    pub run_output_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        const KIB: usize = 1024;
        const MIB: usize = 1024 * KIB;
        Self {
            component_bytes: 64 * MIB,
            memory_bytes: 512 * MIB,
            memories: 4,
            table_elements: 100_000,
            tables: 16,
            instances: 64,
            handles: 65_536,
            resources: 32_768,
            call_bytes: 64 * MIB,
            random_bytes: 64 * 1024,
            header_bytes: 64 * KIB,
            cpu_between_returns: Duration::from_secs(5),
            call_time: Duration::from_secs(30),
            start_time: Duration::from_secs(60),
            service_time: Duration::from_secs(30 * 60),
            session_calls: 1024,
            output_bytes_waiting: 512 * KIB,
            line_bytes_waiting: 8 * MIB,
            events_waiting: 1024,
            event_bytes_waiting: 8 * MIB,
            record_bytes: 512 * 1024 * 1024,
            log_line_bytes: 8 * KIB,
            log_bytes: 16 * MIB,
            step_output_bytes: 64 * 1024 * 1024,
            run_output_bytes: 2 * 1024 * 1024 * 1024,
        }
    }
}

/// How often it is looked whether a guest has used up its CPU. The smallest step
/// of that limit; ticks only come while instances live.
pub(crate) const EPOCH_TICK: Duration = Duration::from_millis(10);

/// Stack of one guest task, in bytes.
pub(crate) const GUEST_STACK: usize = 1024 * 1024;

/// Connecting to a server. The guest's own deadlines lie above it.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);

/// A PING this often tells a dead connection from a quiet one, and this long is
/// waited for its answer. As the official SDKs do it.
pub(crate) const KEEP_ALIVE: (Duration, Duration) =
    (Duration::from_secs(30), Duration::from_secs(10));

/// Flow-control windows of HTTP/2, per stream and per connection, in bytes.
/// Large enough for 100 MB/s at 10 ms, and what a slow guest can make the host
/// hold: with all four lanes full of connections, 512 MiB.
pub(crate) const WINDOWS: (u32, u32) = (1024 * 1024, 4 * 1024 * 1024);

/// Requests under way on one connection before another one is opened: what
/// servers commonly allow. What a server does not allow waits in line there.
pub(crate) const STREAMS_PER_CONNECTION: usize = 100;

/// Connections that one lane opens to one server. With [`STREAMS_PER_CONNECTION`]
/// they carry 3,200 requests; more than that share them.
pub(crate) const CONNECTIONS_PER_LANE: usize = 32;

/// One piece of a request's body on its way out of a guest, in bytes: some frames of
/// HTTP/2. Each request holds about two of them, those that wait in line too; with
/// large bodies in all that are under way that is 512 MiB.
pub(crate) const REQUEST_PIECE: usize = 64 * 1024;

/// Turns that a guest gets to write the beginning of a body before its head is sent
/// alone. A small message and its end take it about four.
pub(crate) const GATHER_TURNS: usize = 16;

/// What a line of the log costs besides its text, in bytes: time, level and
/// origin, as they are usually written.
pub(crate) const LOG_LINE_OVERHEAD: usize = 64;

/// What the engine says about a crash, in bytes: its message and the innermost
/// functions, whose names are the guest's to choose.
pub(crate) const CRASH_TEXT: usize = 4 * 1024;

/// Calls to the run store that an instance has under way; more wait in line.
/// Each holds a thread for blocking work, of which a runtime has some hundred.
pub(crate) const STORE_CALLS: usize = 8;

/// Questions for a stop that an instance has under way; more wait in line. A
/// plugin needs one, and each of them reads the store all the time.
pub(crate) const STOP_QUESTIONS: usize = 4;

/// How often the run store is asked whether another process wants to stop a run.
/// The question reads one page that is in memory.
pub(crate) const STOP_POLL: Duration = Duration::from_millis(100);

/// How long a write waits for another process that writes to the run store.
pub(crate) const STORE_BUSY: Duration = Duration::from_secs(5);

/// A run store of up to this size is checked as a whole whenever it is opened, in
/// bytes. Reading it takes about a millisecond for each MiB; a run of ten steps adds
/// about 10 KiB.
pub(crate) const STORE_CHECKED_BYTES: i64 = 32 * 1024 * 1024;

/// Pause between two tries to open a run store that others are creating.
pub(crate) const STORE_BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Events that are taken from a plugin in one go.
pub(crate) const EVENT_BATCH: usize = 128;

/// How long a run that was dropped may take to stop. As long as one that is
/// stopped on request.
pub(crate) const DROPPED_RUN: Duration = Duration::from_secs(10);

/// Pieces that are kept of the output of one attempt; later ones are counted and
/// dropped. A day of a line every ten milliseconds; reading them takes 8 bytes of
/// memory each.
pub(crate) const STEP_OUTPUT_PIECES: u32 = 10_000_000;

/// How long a session that was dropped may take to end its sandbox, when it was
/// asked to. As long as a dropped run.
pub(crate) const DROPPED_SESSION: Duration = Duration::from_secs(10);

/// How long a plugin may take to give up a session. It has no need to ask anyone.
pub(crate) const CLOSING_SESSION: Duration = Duration::from_secs(10);

/// One piece of an output of a command on its way out of a guest, in bytes. Half of
/// what a plugin reads of an answer at most: large enough that handing it over costs
/// little beside copying it.
pub(crate) const OUTPUT_PIECE: usize = 128 * 1024;

/// One piece of what is read for a guest from the host app, in bytes: what Modal's
/// clients put into one message of an upload.
pub(crate) const INPUT_PIECE: usize = 256 * 1024;

/// Lines of an output that are taken from a plugin in one go, and batches of them
/// that wait for the reader.
pub(crate) const LINE_BATCH: usize = 128;

/// See [`LINE_BATCH`].
pub(crate) const LINE_BATCHES: usize = 8;

/// How long it is waited for the end of an instance whose stream broke off, which
/// is what an end looks like from there.
pub(crate) const BROKEN_OFF: Duration = Duration::from_secs(1);
