//! Every queue, buffer, retry, wait and size of the server, in one place.
//!
//! What a user or a test may want to change is in [`Limits`]; the rest are
//! constants.

use std::time::Duration;

/// The limits that can be set at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of output kept on disk per stream (stdout and stderr each) of one
    /// sandbox. Above it the oldest part goes, an eighth at a time.
    /// At least 4 KiB. Default: 64 MiB.
    pub output_per_stream: u64,
    /// The same for one command executed in a sandbox. Its readers are not told
    /// of gaps, so that at the cap it waits for those that are behind; output
    /// that nobody has begun to read is dropped, and asking for it an error.
    /// At least 1 MiB. Default: 256 MiB.
    pub exec_output_per_stream: u64,
    /// Sandboxes that may run at once; one more is answered RESOURCE_EXHAUSTED.
    /// Default: 4,096.
    pub running_sandboxes: usize,
    /// Bytes of output that the ended commands of one sandbox together may keep;
    /// beyond it the longest ended are forgotten. Default: 1 GiB.
    pub ended_exec_output: u64,
    /// Commands that may be executed at once in one sandbox; one more is
    /// answered RESOURCE_EXHAUSTED. Default: 1,024.
    pub running_execs: usize,
    /// Finished sandboxes that are remembered, with result, output and
    /// directory; beyond it the oldest is forgotten and answered NOT_FOUND.
    /// Default: 1,000.
    pub finished_sandboxes: usize,
    /// Bytes of output that all finished sandboxes together may keep; beyond it
    /// the oldest are forgotten. Default: 4 GiB.
    pub finished_output: u64,
    /// Bytes that sandboxes, their output and snapshots together may take of the
    /// disk. While they take more, what would take more still is answered
    /// RESOURCE_EXHAUSTED: creations, snapshots, uploads. It is measured every
    /// second at most, and commands that run are not stopped. Default: 100 GiB.
    pub disk: u64,
    /// Sandboxes in one page of a listing, 1 or more. Default: 100.
    pub list_page: usize,
    /// Time between SIGTERM and SIGKILL when a sandbox is ended. Default: 2 s.
    pub ending_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            output_per_stream: 64 * MIB,
            exec_output_per_stream: 256 * MIB,
            ended_exec_output: 1024 * MIB,
            running_sandboxes: 4_096,
            running_execs: 1_024,
            finished_sandboxes: 1_000,
            finished_output: 4 * 1024 * MIB,
            disk: 100 * 1024 * MIB,
            list_page: 100,
            ending_grace: Duration::from_secs(2),
        }
    }
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

// Connections

/// TCP connections at once. A client holds one or two.
pub(crate) const CONNECTIONS: usize = 1_024;

/// HTTP/2 streams at once per connection. A client that long-polls every
/// sandbox on one connection must not starve its own creates and terminates.
pub(crate) const STREAMS_PER_CONNECTION: u32 = 4_096;

/// Cancelled streams not yet seen by the server, per connection. Dropping
/// hundreds of long polls at once is ordinary here, not an attack.
pub(crate) const PENDING_RESETS: usize = 4_096;

/// Bytes a client may send ahead on one stream, and on the whole connection:
/// as much as the official clients grant in the other direction.
pub(crate) const STREAM_WINDOW: u32 = 1024 * 1024;
pub(crate) const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;

/// Response bytes buffered per stream. Bounds what a slow reader of output
/// costs.
pub(crate) const SEND_BUFFER: usize = 256 * 1024;

/// Bytes of request headers, as the official clients announce it themselves.
pub(crate) const HEADER_LIST: u32 = 64 * 1024;

/// Bytes of one request message. Image context files travel inside.
pub(crate) const REQUEST_MESSAGE: usize = 16 * 1024 * 1024;

/// Pause after a failed accept (out of descriptors, say), so that it does not
/// spin.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Time that open calls get at shutdown after every sandbox has ended.
pub(crate) const CONNECTION_DRAIN: Duration = Duration::from_secs(2);

/// Distinct paths counted as unimplemented; more are counted under `other`.
pub(crate) const COUNTED_PATHS: usize = 1_000;

/// Open file descriptors asked for at start. A running sandbox holds four, and
/// so does a command executed in it.
pub(crate) const DESCRIPTORS: u64 = 65_536;

// Calls

/// Default lifetime of the short-lived token of `AuthTokenGet`: what clients
/// assume where a token does not say.
pub(crate) const AUTH_TOKEN_LIFETIME: Duration = Duration::from_secs(20 * 60);

/// Default lifetime of a router token. Clients renew it only near its end.
pub(crate) const ROUTER_TOKEN_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Lifetime of the token that the handle of a new sandbox carries: longer than
/// any handle lives.
pub(crate) const SANDBOX_TOKEN_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Longest hold of a long poll, whatever the client asks for.
pub(crate) const WAIT_HOLD: Duration = Duration::from_secs(600);

/// Longest and shortest hold of a stream of logs. Clients ask for the longest
/// and reopen; the shortest is for reading what is on disk.
pub(crate) const LOG_HOLD: Duration = Duration::from_secs(55);
pub(crate) const LOG_HOLD_MIN: Duration = Duration::from_millis(100);

/// Hold of a question for the task of a sandbox that is not yet scheduled.
/// Clients sleep half a second between two questions; a start takes a
/// millisecond or two, so that holding saves most of that pause.
pub(crate) const TASK_ID_HOLD: Duration = Duration::from_secs(1);

/// Characters of an idempotency key. Clients send a UUID (36).
pub(crate) const IDEMPOTENCY_KEY: usize = 256;

/// Characters of the name of an app, environment, secret or sandbox; the
/// official clients check the same.
pub(crate) const NAME: usize = 64;

// State

/// Apps, secrets and images remembered, each. Beyond it the oldest goes; an app
/// only when no sandbox of it is remembered.
pub(crate) const APPS: usize = 10_000;
pub(crate) const SECRETS: usize = 10_000;
pub(crate) const IMAGES: usize = 10_000;

/// Environments. They come into being when named and are never dropped, so
/// that one more is refused.
pub(crate) const ENVIRONMENTS: usize = 1_000;

/// Records kept for another try after the database refused them (disk full).
pub(crate) const JOURNAL_BACKLOG: usize = 10_000;

/// How long the start waits for the lock of the state directory. A command
/// between fork and exec holds a copy of its dead server's lock for
/// microseconds.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(1);
pub(crate) const LOCK_POLL: Duration = Duration::from_millis(10);

/// Shortest pause between two measurements of the disk; and how many times as
/// long as the last one took, so that a huge directory costs 5 % of one core.
pub(crate) const DISK_PAUSE: Duration = Duration::from_secs(1);
pub(crate) const DISK_PAUSE_FACTOR: u32 = 20;

// Sandboxes

/// Lifetime of a sandbox whose request names none, in seconds: Modal's default.
pub(crate) const DEFAULT_TIMEOUT_SECS: u32 = 300;

/// Commands started at once. Forking is bound by the processor.
pub(crate) const STARTS_AT_ONCE: usize = 4;

/// Bytes read from a pipe, and read back from disk, at once. A pipe holds
/// 64 KiB; what is read back is one message to a client.
pub(crate) const CAPTURE_BUFFER: usize = 64 * 1024;
pub(crate) const READ_CHUNK: usize = 256 * 1024;

/// The size of a pipe that was found full once.
pub(crate) const FULL_PIPE: usize = 256 * 1024;

/// Bytes just written that stay in memory for those who follow a command's
/// output, per stream that somebody follows: what they are sent is not read
/// back from the disk.
pub(crate) const RECENT_OUTPUT: usize = 1024 * 1024;

/// Bytes at the start of each stream that stay in memory. Most commands print
/// little: they cost no file, and a thousand of them 16 MB at most.
pub(crate) const OUTPUT_IN_MEMORY: usize = 8 * 1024;

/// Segments per stream: what goes at once when output is over the cap is an
/// eighth of it.
pub(crate) const OUTPUT_SEGMENTS: u64 = 8;

/// Smallest cap on output, so that a segment is never empty; for executed
/// commands, so that what is read from a pipe at once is a small part of it.
pub(crate) const OUTPUT_MIN: u64 = 4 * KIB;
pub(crate) const EXEC_OUTPUT_MIN: u64 = MIB;

/// How long output is still read after everything in the sandbox was killed.
/// Only a process that hid from the search can hold a pipe open that long.
pub(crate) const OUTPUT_DRAIN: Duration = Duration::from_millis(250);

/// Searches for left-over processes until one finds none. Only a program that
/// forks faster than it is killed needs more than two.
pub(crate) const SWEEPS: usize = 50;

/// How long a killed process may take to be gone before the search goes on
/// (one in uninterruptible sleep can take forever).
pub(crate) const KILL_WAIT: Duration = Duration::from_secs(1);

/// How long the last members of a killed group may take to be gone, and how
/// often that is looked at. A kill takes well under a millisecond; where nobody
/// reaps orphans, their zombies stay for ever.
pub(crate) const GROUP_WAIT: Duration = Duration::from_millis(100);
pub(crate) const GROUP_POLL: Duration = Duration::from_millis(1);

/// Tries to read the environment of a process that is inside `execve`, with a
/// pause between; the window is well under a millisecond.
pub(crate) const EXEC_TRIES: usize = 20;
pub(crate) const EXEC_PAUSE: Duration = Duration::from_micros(200);

/// Bytes of `/proc/PID/environ` read at once; it grows for larger ones.
pub(crate) const ENVIRON_BUFFER: usize = 16 * 1024;

/// Bytes of the id that a client gives a command. Clients send a UUID (36).
pub(crate) const EXEC_ID: usize = 256;

/// Ended commands remembered per sandbox, with exit and output; beyond it the
/// longest ended is forgotten, and answered NOT_FOUND.
pub(crate) const ENDED_EXECS: usize = 1_000;

/// Writes to a file that may wait for the disk, per upload. Official clients
/// send 256 KiB at a time.
pub(crate) const UPLOAD_QUEUE: usize = 8;

/// Directories watched by one request, and bytes of events read at once. The
/// system grants a user 128 queues or so.
pub(crate) const WATCHED_DIRECTORIES: usize = 1_000;
pub(crate) const WATCH_BUFFER: usize = 16 * 1024;

/// Bytes of a file read, and sent, at once.
pub(crate) const FILE_CHUNK: usize = 512 * 1024;

/// Snapshots taken at once. Copying is bound by the disk.
pub(crate) const SNAPSHOTS_AT_ONCE: usize = 4;

/// Snapshots that one sandbox may have been asked for; one more is answered
/// RESOURCE_EXHAUSTED. Their ids are remembered, so that a repeated call finds
/// the first one's image.
pub(crate) const SNAPSHOTS_PER_SANDBOX: usize = 1_000;

/// Bytes of the id that a client gives a snapshot. Clients send a UUID (36).
pub(crate) const SNAPSHOT_ID: usize = 256;

/// How long a snapshot is kept whose request does not say, as on Modal.
pub(crate) const SNAPSHOT_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Files whose content is known from an earlier snapshot. A file takes 100
/// bytes; beyond it all are read anew.
pub(crate) const KNOWN_FILES: usize = 100_000;

/// How long ago a file must have changed for a later change to show in its
/// times; they tick every 4 ms or so.
pub(crate) const FILE_TIME_PRECISION: Duration = Duration::from_secs(2);

/// Bytes read at once for a snapshot.
pub(crate) const COPY_BUFFER: usize = 256 * 1024;

/// Directories within directories in a snapshot; each is an open descriptor
/// meanwhile.
pub(crate) const DIRECTORY_DEPTH: usize = 256;

/// How long a write that a command does not take any more waits for its exit.
pub(crate) const EXIT_HOLD: Duration = Duration::from_millis(250);

/// How long the place of a reader whose connection broke is kept. Clients come
/// back after 10 ms, doubled up to ten times.
pub(crate) const READER_RETURN: Duration = Duration::from_secs(30);

/// Output sent to a reader that it may not have seen when its connection
/// breaks: the window that official clients grant (64 MiB).
pub(crate) const UNSEEN_OUTPUT: u64 = 64 * MIB;

/// Empty directories of forgotten sandboxes that wait for the next ones: as
/// many as may end at once.
pub(crate) const SPARE_DIRECTORIES: usize = 256;

/// Tries to remove a sandbox's directory, for files that appear meanwhile.
pub(crate) const REMOVE_TRIES: usize = 3;
