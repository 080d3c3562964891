//! How large a pipeline file may be, in every direction.
//!
//! The file comes from a person, and now and then from a program or a stranger.
//! These bounds keep the worst of them within two seconds, and honest files stay
//! far away from them. Measured in release builds on one core:
//!
//! | file | time | peak memory |
//! |---|---|---|
//! | 20,000 steps, YAML, 3 MB | 0.36 s | 55 MB |
//! | the same as JSON | 0.05 s | 55 MB |
//! | 100,000 steps, YAML, 15 MB | 1.7 s | 250 MB |
//! | alias and merge bombs | 0.2 s | 45 MB |
//! | the same, padded with comments to 16 MB | 0.2 s | 180 MB |
//! | 16 MB of brackets | 0.01 s | 35 MB |

/// Bytes of the file: 16 MiB.
///
/// A step takes 100 to 160 bytes, so this is what [`STEPS`] steps need.
pub const DOCUMENT_BYTES: usize = 16 * 1024 * 1024;

/// Steps of a pipeline, and entries of any other map or list.
///
/// Five times the largest pipeline that the controller is measured with.
pub const STEPS: usize = 100_000;

/// Maps and lists inside one another.
///
/// The format itself needs four. Parsers recurse, and the JSON reader scans a
/// document once per level.
pub const DEPTH: usize = 16;

/// Texts (keys too), numbers, maps and lists in all: 25 for each of [`STEPS`]
/// steps.
///
/// A step with a command of four words, one step before it, two variables and one
/// resource has 22. Each takes about 60 bytes while the file is read.
pub const NODES: usize = 25 * STEPS;

/// Bytes of one step's environment, keys and values together: 1 MiB.
///
/// Linux hands at most 2 MiB of arguments and environment to a program by
/// default (a quarter of the 8 MiB stack); the other half is left for arguments.
pub const ENVIRONMENT_BYTES: usize = 1024 * 1024;

/// The longest pause between two attempts at a step, in seconds: one day.
///
/// No sandbox lives longer than that.
pub const RETRY_DELAY_SECONDS: f64 = 86_400.0;

/// Problems reported for one file; more are counted.
pub const PROBLEMS: usize = 100;

/// Parser events that aliases and merge keys of a document may repeat.
///
/// An honest file repeats some defaults in each step, and its steps take room
/// themselves; a bomb repeats much from little. So the allowance grows with the
/// document: one event for four of its bytes, on top of what small files use.
pub(crate) fn repeated_events(document_bytes: usize) -> usize {
    const BASE: usize = 50_000;
    const MOST: usize = 500_000;
    (BASE + document_bytes / 4).min(MOST)
}
