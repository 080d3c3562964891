//! The log of a session, kept with the step that the session is part of.

use super::service::{Level, Surroundings};
use super::words;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// The log of one session. It begins with its first line, and only when there is a
/// step. Once it was not kept, or ended, nothing is written any more: nobody would
/// end a log that begins after the session is over.
#[derive(Debug)]
pub(super) struct SessionLog<U> {
    source: String,
    surroundings: Rc<U>,
    state: Cell<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    NotBegun,
    Open,
    Off,
}

impl<U: Surroundings> SessionLog<U> {
    pub(super) fn new(sandbox_id: &str, surroundings: Rc<U>) -> Self {
        Self {
            source: format!("sandbox:{sandbox_id}"),
            surroundings,
            state: Cell::new(State::NotBegun),
        }
    }

    /// A command that is about to run.
    pub(super) fn command(&self, arguments: &[String]) {
        let line = words::join(arguments.iter().map(String::as_str));
        self.write(Level::Info, &format!("$ {line}"));
    }

    /// A line that a command wrote.
    pub(super) fn output(&self, level: Level, line: &str) {
        self.write(level, line.trim_end_matches('\n'));
    }

    /// How a command ended.
    pub(super) fn ended(&self, exit_code: i32, after: Duration) {
        let (word, level) = match exit_code {
            0 => ("OK", Level::Info),
            _ => ("FAIL", Level::Error),
        };
        let seconds = after.as_secs_f64();
        self.write(
            level,
            &format!("{word} exit code {exit_code} in {seconds:.1}s"),
        );
    }

    /// Ends the log.
    pub(super) fn end(&self) {
        if self.state.replace(State::Off) == State::Open {
            self.surroundings.end_log();
        }
    }

    fn write(&self, level: Level, line: &str) {
        if self.state.get() == State::NotBegun {
            let has_begun = self.surroundings.step().is_some()
                && self.surroundings.begin_log(&self.source).is_ok();
            self.state.set(match has_begun {
                true => State::Open,
                false => State::Off,
            });
        }
        if self.state.get() == State::Open {
            self.surroundings.log(level, line);
        }
    }
}
