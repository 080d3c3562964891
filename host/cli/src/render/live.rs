//! A live view on a terminal: a line for each running step and one for the run,
//! below everything that steps write.

use super::lines::{Lines, show};
use super::plain::{StepClock, warning_line};
use super::{Renderer, RunFacts, counted};
use crate::exit::Failure;
use crate::terminal;
use flavor_host::contract::{Event, StepFinished, StepStatus};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Live {
    total: ProgressBar,
    steps: HashMap<String, ProgressBar>,
    running: HashSet<String>,
    lines: Lines,
    clock: StepClock,
    run: String,
}

/// Steps with a line of their own; a terminal has some twenty lines.
const LINES: usize = 12;

const TICK: Duration = Duration::from_millis(120);

impl Live {
    pub(super) fn new() -> Self {
        Self {
            total: terminal::bars().add(ProgressBar::new(0)),
            steps: HashMap::new(),
            running: HashSet::new(),
            lines: Lines::default(),
            clock: StepClock::default(),
            run: String::new(),
        }
    }

    fn step_started(&mut self, step: &str) {
        self.running.insert(step.to_owned());
        self.clock.step_started(step);
        if self.steps.len() < LINES {
            let bar = terminal::bars().insert_before(&self.total, ProgressBar::new_spinner());
            bar.set_style(style("{spinner} {msg} {elapsed}"));
            bar.set_message(step.to_owned());
            bar.enable_steady_tick(TICK);
            self.steps.insert(step.to_owned(), bar);
        }
        self.count();
    }

    fn step_finished(&mut self, finished: &StepFinished) {
        if let Some(bar) = self.steps.remove(&finished.step) {
            take_away(&bar);
        }
        let mark = match finished.status {
            StepStatus::Completed | StepStatus::Cached => "✓",
            StepStatus::Failed => "✗",
            _ => "-",
        };
        let line = self.clock.step_line(finished);
        terminal::complain(&format!("{mark} {line}"));
        if finished.retry_in.is_none() {
            self.total.inc(1);
        }
        self.running.remove(&finished.step);
        self.count();
    }

    fn count(&self) {
        self.total
            .set_message(format!("{} running", self.running.len()));
    }
}

impl Renderer for Live {
    fn run_started(&mut self, run: &RunFacts) {
        self.run.clone_from(&run.id);
        self.clock.run_started();
        terminal::say(&run.id);
        terminal::complain(&format!(
            "{}: {} on {}",
            terminal::escape(&run.name),
            counted(run.steps.len(), "step"),
            run.target
        ));
        self.total
            .set_style(style("{bar:30} {pos}/{len} {msg} {elapsed}"));
        self.total.set_length(run.steps.len() as u64);
        self.total.enable_steady_tick(TICK);
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::StepStarted(started) => self.step_started(&started.step),
            Event::StepFinished(finished) => self.step_finished(finished),
            Event::Output(output) => {
                for line in self.lines.push(output) {
                    show(&output.step, &line);
                }
            }
            Event::RunFinished(finished) => {
                for (step, line) in self.lines.rest() {
                    show(&step, &line);
                }
                take_away(&self.total);
                if let Some(error) = &finished.error {
                    let failure = Failure::from(flavor_host::Error::Plugin(error.clone()));
                    terminal::complain(&format!("error: {}", failure.message()));
                }
                terminal::complain(&self.clock.verdict(&self.run, finished.status));
            }
            Event::OutputLost(_) | Event::Warning(_) => {
                if let Some(line) = warning_line(event) {
                    terminal::complain(&line);
                }
            }
        }
    }

    fn stopping(&mut self) {
        terminal::complain("stopping; interrupt again to end at once");
    }

    fn failed(&mut self, _: &Failure) {
        for (_, bar) in self.steps.drain() {
            take_away(&bar);
        }
        take_away(&self.total);
    }
}

/// What is finished and not removed is drawn again with the next line.
fn take_away(bar: &ProgressBar) {
    bar.finish_and_clear();
    terminal::bars().remove(bar);
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
