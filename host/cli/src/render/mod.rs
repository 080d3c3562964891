//! What a user sees of a run while it goes on.

mod json;
mod lines;
mod live;
mod plain;

pub(crate) use json::{Characters, output_object, run_finished};

use crate::exit::Failure;
use crate::terminal;
use flavor_host::contract::{Event, RunStatus};
use std::time::Duration;

/// Shows events.
pub(crate) trait Renderer {
    /// The run has been recorded.
    fn run_started(&mut self, run: &RunFacts);

    /// Something happened.
    fn event(&mut self, event: &Event);

    /// The run was asked to stop.
    fn stopping(&mut self);

    /// The run ended without a `run-finished` event. The failure itself is
    /// reported elsewhere.
    fn failed(&mut self, failure: &Failure);
}

/// What is known when a run starts.
#[derive(Debug)]
pub(crate) struct RunFacts {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) target: String,
    /// The names of the steps, in the order of the file.
    pub(crate) steps: Vec<String>,
}

/// One object a line, a live view for people, or plain lines.
pub(crate) fn renderer(json: bool) -> Box<dyn Renderer> {
    if json {
        Box::new(json::Json::default())
    } else if terminal::is_watched() {
        Box::new(live::Live::new())
    } else {
        Box::new(plain::Plain::default())
    }
}

/// A duration for people: `0.4s`, `12.3s`, `3m 05s`, `2h 03m`.
pub(crate) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{:.1}s", duration.as_secs_f64()),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A number of things, for people.
pub(crate) fn counted(count: usize, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        count => format!("{count} {thing}s"),
    }
}

/// The last line about a run, for people.
fn verdict(run: &str, status: RunStatus, elapsed: Duration) -> String {
    let elapsed = human(elapsed);
    match status {
        RunStatus::Completed => format!("run {run} completed in {elapsed}"),
        status => format!("run {run} {} after {elapsed}", status.word()),
    }
}
