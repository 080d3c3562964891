//! One module per command.

pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod flavors;
pub(crate) mod logs;
pub(crate) mod modal_local;
pub(crate) mod reap;
pub(crate) mod resume;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod sandbox;
pub(crate) mod schema;
pub(crate) mod status;
pub(crate) mod step;
pub(crate) mod stop;
pub(crate) mod test;
pub(crate) mod validate;

use crate::exit::Failure;
use flavor_host::state::StateDir;
use flavor_host::store::RunRecord;
use pipeline_file::RunId;

/// A run that must be there.
async fn known_run(state: &StateDir, id: &str) -> Result<RunRecord, Failure> {
    state.store().run(id).await?.ok_or_else(|| {
        Failure::bad_input(format!("there is no run `{id}`: see `flavor runs list`"))
    })
}

/// The id that is asked for, or a new one.
fn run_id(asked: Option<&str>) -> Result<RunId, Failure> {
    match asked {
        Some(text) => text.parse().map_err(|error| {
            Failure::bad_input(format!(
                "--run-id {text:?}: {error}; write 1 to {} of A-Z, a-z, 0-9, `.`, `_` and `-`, \
                 not beginning with `.` or `-`",
                RunId::MAX
            ))
        }),
        None => Ok(RunId::from_bits(uuid::Uuid::now_v7().as_u128())),
    }
}

/// A time for people, in the local time zone.
fn local_time(microseconds: i64) -> String {
    match jiff::Timestamp::from_microsecond(microseconds) {
        Ok(time) => time
            .to_zoned(jiff::tz::TimeZone::system())
            .strftime("%Y-%m-%d %H:%M:%S")
            .to_string(),
        Err(_) => "?".to_owned(),
    }
}

/// The time between two moments, for people.
fn span(from: i64, to: i64) -> String {
    let microseconds = u64::try_from(to.saturating_sub(from)).unwrap_or_default();
    crate::render::human(std::time::Duration::from_micros(microseconds))
}

/// Now, in the store's terms.
fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// Seconds in the store's terms.
#[allow(
    clippy::cast_possible_truncation,
    reason = "a time that no clock has becomes the last one there is"
)]
fn microseconds(seconds: f64) -> i64 {
    (seconds * 1_000_000.0) as i64
}
