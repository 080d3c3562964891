//! Every limit of the plugin: buffers, waits, retries and how much goes on at
//! once, each with its reason. "SDK" is the official Python SDK 1.6.4.

use std::num::NonZeroUsize;
use std::time::Duration;

/// How long one attempt at a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// Until the head of the answer is there.
    pub head: Duration,
    /// Between two pieces of its body.
    pub body: Duration,
}

impl Deadline {
    /// The same time for the head and for each piece of the body.
    pub const fn both(duration: Duration) -> Self {
        Self {
            head: duration,
            body: duration,
        }
    }
}

// Single calls

/// An ordinary call. The SDK waits for ever, and hangs when the server does.
pub const CALL: Deadline = Deadline::both(Duration::from_secs(30));

/// Creating a sandbox: scheduling may be part of the answer.
pub const CREATE: Deadline = Deadline::both(Duration::from_secs(120));

/// Fetching the short-lived token, as the SDK has it.
pub const AUTH_TOKEN: Deadline = Deadline::both(Duration::from_secs(5));

/// All attempts at fetching the token together, as the SDK has it.
pub const AUTH_TOKEN_TOTAL: Duration = Duration::from_secs(15);

/// Pause after a failed refresh while the old token still serves: doubles from
/// the first to the second, as the SDK has it.
pub const AUTH_COOLDOWN: (Duration, Duration) =
    (Duration::from_millis(500), Duration::from_secs(60));

/// Life of a token that does not say when it ends, as the SDK assumes it.
pub const AUTH_LIFETIME: Duration = Duration::from_secs(1200);

// Retries

/// Further attempts after a failure that may pass, as the SDK has it.
pub const RETRIES: u32 = 3;

/// Pause before the first further attempt; doubles each time, up to
/// [`RETRY_PAUSE_LONGEST`]. As the SDK has it.
pub const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause between the attempts of one call, as the SDK has it.
pub const RETRY_PAUSE_LONGEST: Duration = Duration::from_secs(1);

/// Shortest wait that a server can direct, as the SDK has it.
pub const THROTTLE_SHORTEST: Duration = Duration::from_millis(100);

/// Server-directed waits of one call together, unless the option
/// `max_throttle_wait` says otherwise. The SDK waits without end; a run that is
/// throttled for an hour is better off failing with Modal's words.
pub const THROTTLE_TOTAL: Duration = Duration::from_secs(3600);

/// First contact with the service, all attempts together: an unreachable server
/// is reported within 20 s.
pub const FIRST_CONTACT: Duration = Duration::from_secs(17);

/// How long a create request is repeated, always with the same idempotency
/// key, while the service cannot be reached or fails in passing. Longer than a
/// restart of the service, shorter than anybody's patience.
pub const CREATE_PATIENCE: Duration = Duration::from_secs(180);

/// How long the same is done for what a sandbox needs first: its image and its
/// secrets.
pub const PREPARE_PATIENCE: Duration = CREATE_PATIENCE;

/// How long Modal is asked whether a create was carried out whose answer was
/// lost.
pub const RECOVERY_PATIENCE: Duration = Duration::from_secs(60);

/// Pauses before each of the listings that have to agree that it was not: a
/// listing may lag behind.
pub const RECOVERY_PAUSES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(500),
    Duration::from_secs(2),
];

/// How long a sandbox may go without an answer about it before its step is
/// given up. A sandbox runs on without us; only total silence ends a step.
pub const STATUS_PATIENCE: Duration = Duration::from_secs(900);

/// Pauses between attempts of the patient kind: doubles from the first to the
/// second.
pub const PATIENT_PAUSE: (Duration, Duration) =
    (Duration::from_millis(250), Duration::from_secs(10));

/// How long ending a sandbox is tried: what is left running costs money, so as
/// long as creating one.
pub const TERMINATE_PATIENCE: Duration = CREATE_PATIENCE;

/// The same once a forced stop has been asked for: such a run has to end within
/// 10 s.
pub const TERMINATE_IN_A_HURRY: Duration = Duration::from_secs(8);

/// Longest pause between two attempts at a step.
pub const STEP_RETRY_PAUSE_LONGEST: Duration = Duration::from_secs(86_400);

/// Pause between two attempts at telling a step where it runs, as ZenML has it.
/// Its record appears once the step's own code runs, possibly a minute after
/// its sandbox was created.
pub const TELL_STEP_PAUSE: Duration = Duration::from_secs(10);

// Waiting for sandboxes

/// One question whether a sandbox has ended is held this long, as the SDK has
/// it, in seconds.
pub const WAIT_HOLD: f32 = 10.0;

/// An attempt at that question may take this much longer, as the SDK has it.
pub const WAIT_GRACE: Duration = Duration::from_secs(5);

/// Sandboxes that are asked about with a question that is held, at one time.
/// Their end is known at once, at a tenth of a call per second each. A
/// connection commonly carries 100 streams; these have a connection to
/// themselves.
pub const HOLDS_AT_ONCE: usize = 64;

/// Beyond [`HOLDS_AT_ONCE`], only sandboxes that have lived for this long are
/// asked about like that: what ends sooner is found in a listing, a hundred with
/// one call.
pub const HOLD_AFTER: Duration = Duration::from_secs(1);

/// Questions of that kind a second; [`HOLDS_AT_ONCE`] can be saved up. Where
/// sandboxes end faster than that, listings find them within
/// [`LIST_PAUSE`] and cost less.
pub const HOLD_RATE: u32 = 50;

/// Sandboxes that the first question is held about without regard to
/// [`HOLD_RATE`], while there are no more of them: as many as narrow pipelines
/// run side by side. A chain of steps that end at once would take 20 ms a step
/// otherwise.
pub const HOLDS_WITHOUT_A_PAUSE: usize = 8;

/// [`HOLDS_AT_ONCE`] where the service has no listings to offer: all sandboxes
/// take turns.
pub const TURNS_AT_ONCE: usize = 256;

/// How long a question is held when there are more sandboxes than
/// [`TURNS_AT_ONCE`].
pub const WAIT_HOLD_CROWDED: f32 = 0.5;

/// Every sandbox is asked about this often at least, whatever listings say: at
/// a sixtieth of a call per second, a server whose listings are wrong costs a
/// minute and not the run.
pub const ASK_EVERY: Duration = Duration::from_secs(60);

/// Questions of that kind at one time.
pub const ASKS_AT_ONCE: usize = 64;

/// A sandbox that is not in a listing is asked about at once; when it is missing
/// again although it runs, after this pause, which doubles up to [`ASK_EVERY`].
pub const ABSENT_PAUSE: Duration = Duration::from_secs(1);

// Listings

/// From the beginning of one listing to that of the next: the first while ends
/// are found; doubles up to the second while none are. Half of a second, so that
/// an end is known within one, the listing included.
pub const LIST_PAUSE: (Duration, Duration) =
    (Duration::from_millis(50), Duration::from_millis(500));

/// Pages of listings per second and sandbox. Together with what is asked besides
/// it stays below a tenth of a call.
pub const LIST_RATE: f64 = 0.05;

/// Pages per second however few sandboxes there are.
pub const LIST_RATE_LEAST: u32 = 10;

/// So much of that can be saved up for when many end together.
pub const LIST_SAVED: Duration = Duration::from_secs(2);

/// Pages that can be saved up however few sandboxes there are.
pub const LIST_BUDGET_LEAST: u32 = 20;

/// Sandboxes in one page, until a larger one has been seen.
pub const LIST_PAGE: usize = 100;

/// How far the clocks of the service's machines may be apart.
pub const LIST_SKEW: Duration = Duration::from_secs(2);

/// Pages of one listing that are asked for side by side.
pub const PAGES_AT_ONCE: usize = 16;

/// The shortest time for which the watch goes to sleep: timers have a grain.
pub const WATCH_TICK: Duration = Duration::from_millis(1);

/// Pause between two questions for the task id of a sandbox that is not
/// scheduled yet, as the SDK has it.
pub const TASK_ID_PAUSE: Duration = Duration::from_millis(500);

/// How long a sandbox may stay unscheduled, as the SDK has it.
pub const SCHEDULING: Duration = Duration::from_secs(21 * 60);

// How much at once

/// Calls under way; creates, held questions and outputs are counted by
/// themselves. A forced stop ends a thousand sandboxes with them in some ten
/// round trips.
pub const CALLS_AT_ONCE: usize = 128;

/// Sandboxes that are being created. Modal's support quotes 30 creates a second
/// with bursts of 2,000: a wide pipeline starts at once, and when that is too
/// much the service says so.
pub const STARTING_AT_ONCE: NonZeroUsize = match NonZeroUsize::new(1000) {
    Some(number) => number,
    None => NonZeroUsize::MIN,
};

/// The fewest that are left of them when the service says that it is too much.
pub const STARTING_AT_LEAST: usize = 4;

/// Refusals within this time belong to one burst of creates.
pub const THROTTLE_BURST: Duration = Duration::from_secs(1);

/// Outputs that are read while their sandboxes run, two per sandbox. What the
/// others write is kept by the service until they have ended. With 256 a wide
/// pipeline of steps that end at once takes a tenth less CPU, but one of 1,000
/// steps ends a quarter of a second later where every request takes 30 ms.
pub const OUTPUTS_AT_ONCE: usize = 2000;

/// Outputs of ended sandboxes that are read besides these.
pub const LATE_OUTPUTS_AT_ONCE: usize = 128;

// Events

/// Events that are handed to the host in one go.
pub const EVENTS_AT_ONCE: usize = 256;

/// So many events handed over in one go are a burst: more are on their way.
pub const BURST_OF_EVENTS: usize = 16;

/// How long events gather after a burst. Every hand-over wakes the host's reader;
/// nobody sees two milliseconds.
pub const EVENTS_PAUSE: Duration = Duration::from_millis(2);

/// Events about steps that the host has not taken yet. Beyond it, no step goes
/// on until it has taken some, except to be ended.
pub const EVENTS_WAITING: usize = 4096;

// Records

/// So many changes recorded in one go are a burst: more are on their way.
pub const BURST_OF_CHANGES: usize = 16;

/// How long changes gather after a burst before they are recorded. Every write
/// costs a hop to another thread and whole pages of the store's file; without a
/// pause ten thousand steps make thousands of them. A chain of steps never waits.
pub const BURST_PAUSE: Duration = Duration::from_millis(5);

// Output of steps

/// Output that has been read and not yet taken by the host. Beyond it, reading
/// pauses.
pub const OUTPUT_IN_FLIGHT: usize = 1024 * 1024;

/// What a piece of output weighs besides its bytes.
pub const OUTPUT_EVENT: usize = 128;

/// One piece of output on its way to the host.
pub const OUTPUT_PIECE: usize = 64 * 1024;

/// Between two pieces of output. The stream is reopened at the same place
/// afterwards: silence is normal for a step.
pub const OUTPUT: Deadline = Deadline {
    head: Duration::from_secs(30),
    body: Duration::from_secs(120),
};

/// How long the control plane holds a question for more output, as the SDK has
/// it, in seconds.
pub const LOG_HOLD: f32 = 55.0;

/// Failures in a row after which an output is given up, as the SDK has it. Any
/// byte that arrives starts the count anew.
pub const OUTPUT_RETRIES: u32 = 10;

/// Pause before the first further attempt at an output; doubles each time.
pub const OUTPUT_RETRY_PAUSE: Duration = Duration::from_millis(10);

/// How long the output of ended sandboxes is still read at the end of a run,
/// from one that comes to its end to the next.
pub const OUTPUT_AFTER_END: Duration = Duration::from_secs(60);

/// How long output is still read after a run was stopped.
pub const OUTPUT_AFTER_STOP: Duration = Duration::from_secs(1);

// Command routers

/// Further attempts at a router after failures that may pass, as the SDK has it.
pub const ROUTER_RETRIES: u32 = 10;

/// Pause before the first of them; doubles each time, as the SDK has it. All of
/// them together take 10 s.
pub const ROUTER_PAUSE: Duration = Duration::from_millis(10);

/// Pause between attempts beyond [`ROUTER_RETRIES`].
pub const ROUTER_PAUSE_LONGEST: Duration = Duration::from_secs(5);

/// How long a router may be out of reach while a command runs: it is being
/// restarted, or the sandbox is moved. The SDK tries to connect for 310 s, and
/// hangs for as long.
pub const ROUTER_PATIENCE: Duration = Duration::from_secs(120);

/// After so many failures to reach a router the control plane is asked where it
/// is now.
pub const ROUTER_FAILURES_PER_ADDRESS: u32 = 3;

/// A router's token that ends within this time is replaced when it is refused
/// (SDK).
pub const ROUTER_TOKEN_SOON: Duration = Duration::from_secs(30);

/// One question whether a command has ended, as the SDK has it.
pub const EXEC_WAIT: Duration = Duration::from_secs(60);

/// Pause before that question is asked again after a failure, as the SDK has it.
pub const EXEC_WAIT_PAUSE: Duration = Duration::from_secs(1);

/// One piece of a command's input, as the SDK uploads files.
pub const INPUT_PIECE: usize = 256 * 1024;

/// Until a piece of input is taken. It is offered again afterwards: a command may
/// read late.
pub const INPUT: Deadline = Deadline::both(Duration::from_secs(120));

/// One stream of an upload. A longer upload goes on with another one.
pub const UPLOAD: Deadline = Deadline::both(Duration::from_secs(1800));

/// Pieces of an upload between its source and the wire: enough to overlap
/// reading and sending.
pub const UPLOAD_PIECES: usize = 4;

/// What is kept of an upload until the router has said that it was taken: it may
/// have to be sent again. Beyond it the router is asked, which takes two round
/// trips.
pub const UPLOAD_WINDOW: usize = 64 * 1024 * 1024;

/// Uploads at one time; more wait in line. Each holds up to [`UPLOAD_WINDOW`].
pub const UPLOADS_AT_ONCE: usize = 3;

/// What the tool for files says about a failure, in bytes.
pub const TOOL_ERROR: usize = 64 * 1024;

/// Keeping files as an image, all attempts together, as the SDK has it.
pub const SNAPSHOT: Duration = Duration::from_secs(55);

/// Life of such an image, in seconds: 30 days, as the SDK has it.
pub const SNAPSHOT_LIFETIME: i64 = 2_592_000;

// Images

/// One stretch of waiting for an image to be built, as the SDK has it, in
/// seconds.
pub const IMAGE_JOIN: f32 = 55.0;

/// An attempt at that: the stretch and 10 s.
pub const IMAGE_JOIN_DEADLINE: Deadline = Deadline::both(Duration::from_secs(65));

/// How long an image may take to build.
pub const IMAGE_BUILD: Duration = Duration::from_secs(3600);

// Answers and documents

/// One message of the service. A page of a listing is the largest; the SDK for
/// JavaScript takes up to 100 MiB.
pub const ANSWER: usize = 16 * 1024 * 1024;

/// Different warnings of the service that are passed on during one run.
pub const WARNINGS: usize = 100;

/// Longest text of the service that is passed on.
pub const MESSAGE: usize = 16 * 1024;

/// All arguments of one command together, as the SDK has it.
pub const ARGUMENTS: usize = 65_536;

// Sandbox sessions

/// Pause between two questions whether a command has ended that is waited for with
/// a time limit, as ZenML has it.
pub const COMMAND_POLL: Duration = Duration::from_millis(200);

/// Characters of one output that are kept when it is collected, unless the caller
/// says otherwise, as ZenML has it.
pub const COLLECTED: usize = 1_048_576;

/// One line of a command's output, in bytes. A longer one comes in parts: a
/// command that writes without ever ending a line must not fill the memory. More
/// than [`COLLECTED`] characters can take, so that no part of a line is collected
/// that is too long as a whole.
pub const LINE: usize = 8 * 1024 * 1024;

/// Sandboxes in a list. A hundred come with one call; a list is for people.
pub const LISTED: usize = 10_000;

/// Sandboxes in a list of those that runs have left behind: a few runs as wide as they
/// come. 50 MiB in memory, and a thousand calls.
pub const OWNED: usize = 100_000;

/// How long it is tried to tag a sandbox. One that cannot be tagged is ended:
/// nobody would find it.
pub const TAG_PATIENCE: Duration = Duration::from_secs(30);

// Metadata

/// Shortest time between two attempts at publishing what is known about a step, as
/// ZenML has it: the step run may not exist yet.
pub const METADATA_RETRY: Duration = Duration::from_secs(10);
