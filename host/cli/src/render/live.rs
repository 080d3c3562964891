//! A live view on a terminal: a line for each running step and one for the run,
//! below everything that steps write.

use super::lines::{Lines, labelled};
use super::plain::{StepClock, warning_line};
use super::{Renderer, RunFacts};
use crate::exit::Failure;
use crate::terminal;
use flavor_host::contract::{Event, StepFinished, StepStatus};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::HashMap;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Live {
    bars: MultiProgress,
    total: ProgressBar,
    steps: HashMap<String, ProgressBar>,
    running: usize,
    lines: Lines,
    clock: StepClock,
    run: String,
}

/// Steps with a line of their own; a terminal has some twenty lines.
const LINES: usize = 12;

const TICK: Duration = Duration::from_millis(120);

impl Live {
    pub(super) fn new() -> Self {
        let bars = MultiProgress::new();
        Self {
            total: bars.add(ProgressBar::new(0)),
            bars,
            steps: HashMap::new(),
            running: 0,
            lines: Lines::default(),
            clock: StepClock::default(),
            run: String::new(),
        }
    }

    fn show(&self, step: &str, line: &[u8]) {
        let _ = self
            .bars
            .suspend(|| terminal::put(&labelled(step, &tame(line))));
    }

    fn say(&self, line: &str) {
        self.bars.suspend(|| terminal::complain(line));
    }

    fn step_started(&mut self, step: &str) {
        self.running += 1;
        self.clock.step_started(step);
        if self.steps.len() < LINES {
            let bar = self
                .bars
                .insert_before(&self.total, ProgressBar::new_spinner());
            bar.set_style(style("{spinner} {msg} {elapsed}"));
            bar.set_message(step.to_owned());
            bar.enable_steady_tick(TICK);
            self.steps.insert(step.to_owned(), bar);
        }
        self.count();
    }

    fn step_finished(&mut self, finished: &StepFinished) {
        if let Some(bar) = self.steps.remove(&finished.step) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        let mark = match finished.status {
            StepStatus::Completed | StepStatus::Cached => "✓",
            StepStatus::Failed => "✗",
            _ => "-",
        };
        let line = self.clock.step_line(finished);
        self.say(&format!("{mark} {line}"));
        if finished.retry_in.is_none() {
            self.total.inc(1);
        }
        self.running = self.running.saturating_sub(1);
        self.count();
    }

    fn count(&self) {
        self.total.set_message(format!("{} running", self.running));
    }
}

impl Renderer for Live {
    fn run_started(&mut self, run: &RunFacts) {
        self.run.clone_from(&run.id);
        self.clock.run_started();
        terminal::say(&run.id);
        self.say(&format!(
            "{}: {} steps on {}",
            run.name, run.steps, run.target
        ));
        self.total
            .set_style(style("{bar:30} {pos}/{len} {msg} {elapsed}"));
        self.total.set_length(run.steps as u64);
        self.total.enable_steady_tick(TICK);
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::StepStarted(started) => self.step_started(&started.step),
            Event::StepFinished(finished) => self.step_finished(finished),
            Event::Output(output) => {
                for line in self.lines.push(&output.step, output.stream, &output.data) {
                    self.show(&output.step, &line);
                }
            }
            Event::RunFinished(finished) => {
                for (step, line) in self.lines.rest() {
                    self.show(&step, &line);
                }
                self.total.finish_and_clear();
                if let Some(error) = &finished.error {
                    let failure = Failure::from(flavor_host::Error::Plugin(error.clone()));
                    self.say(&format!("error: {}", failure.message()));
                }
                self.say(&self.clock.verdict(&self.run, finished.status));
            }
            Event::OutputLost(_) | Event::Warning(_) => {
                if let Some(line) = warning_line(event) {
                    self.say(&line);
                }
            }
        }
    }

    fn stopping(&mut self) {
        self.say("stopping; interrupt again to end at once");
    }

    fn failed(&mut self, _: &Failure) {
        self.total.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// What a step writes must not move the cursor of the terminal that shows it:
/// control characters are shown, but for tabs and colours.
fn tame(line: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(line);
    let text = text.strip_suffix('\r').unwrap_or(&text);
    let mut tamed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        match colour(rest) {
            Some(sequence) => {
                tamed.push_str(sequence);
                rest = rest.get(sequence.len()..).unwrap_or_default();
                continue;
            }
            None if c == '\t' || !c.is_control() => tamed.push(c),
            None => tamed.extend(c.escape_default()),
        }
        rest = after;
    }
    tamed.into_bytes()
}

/// A sequence that sets colours, at the beginning of a text.
fn colour(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\x1b[")?;
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    match parameters.as_bytes().get(end) {
        Some(b'm') => text.get(.."\x1b[".len() + end + 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::tame;

    #[test]
    fn colours_stay_and_the_cursor_does_not_move() {
        assert_eq!(tame(b"\x1b[1;32mok\x1b[0m\tx\r"), b"\x1b[1;32mok\x1b[0m\tx");
        assert_eq!(tame(b"\x1b[2Jx\x07"), b"\\u{1b}[2Jx\\u{7}");
        assert_eq!(tame(b"\x1b["), b"\\u{1b}[");
    }
}
