//! Plain lines: the run's id and what steps write on stdout, everything else on
//! stderr.

use super::lines::{Lines, show};
use super::{Renderer, RunFacts, human, verdict};
use crate::exit::Failure;
use crate::terminal;
use flavor_host::contract::{Event, RunStatus, StepFinished, StepStatus, Warning};
use std::collections::HashMap;
use std::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Plain {
    lines: Lines,
    clock: StepClock,
    run: String,
}

impl Renderer for Plain {
    fn run_started(&mut self, run: &RunFacts) {
        self.run.clone_from(&run.id);
        self.clock.run_started();
        terminal::say(&run.id);
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::StepStarted(started) => {
                self.clock.step_started(&started.step);
                terminal::complain(&format!("{} started", started.step));
            }
            Event::Output(output) => {
                for line in self.lines.push(output) {
                    show(&output.step, &line);
                }
            }
            Event::StepFinished(finished) => {
                terminal::complain(&self.clock.step_line(finished));
            }
            Event::RunFinished(finished) => {
                for (step, line) in self.lines.rest() {
                    show(&step, &line);
                }
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

    fn failed(&mut self, _: &Failure) {}
}

/// A warning, for people.
pub(super) fn warning_line(event: &Event) -> Option<String> {
    let line = match event {
        Event::Warning(Warning {
            step: Some(step),
            message,
        }) => format!("warning: {step}: {message}"),
        Event::Warning(Warning { message, .. }) => format!("warning: {message}"),
        Event::OutputLost(lost) => {
            let step = &lost.step;
            match lost.bytes {
                Some(bytes) => format!("warning: {step}: {bytes} bytes of output are lost"),
                None => format!("warning: {step}: some output is lost"),
            }
        }
        _ => return None,
    };
    Some(terminal::escape(&line))
}

/// How long things take, as seen from here.
#[derive(Debug, Default)]
pub(super) struct StepClock {
    started: HashMap<String, Instant>,
    run_started: Option<Instant>,
}

impl StepClock {
    pub(super) fn run_started(&mut self) {
        self.run_started = Some(Instant::now());
    }

    pub(super) fn step_started(&mut self, step: &str) {
        self.started.insert(step.to_owned(), Instant::now());
    }

    /// The line about the end of an attempt.
    pub(super) fn step_line(&mut self, finished: &StepFinished) -> String {
        let step = &finished.step;
        let took = self.started.remove(step);
        let took = took.map(|started| human(started.elapsed()));
        let mut line = match (finished.status, took) {
            (StepStatus::Completed, Some(took)) => format!("{step} completed in {took}"),
            (status, Some(took)) => format!("{step} {} after {took}", status.word()),
            (status, None) => format!("{step} {}", status.word()),
        };
        if let Some(reason) = &finished.reason {
            line.push_str(": ");
            line.push_str(&terminal::escape(reason));
        }
        if let Some(pause) = finished.retry_in {
            line.push_str(&format!("; next attempt in {pause} s"));
        }
        line
    }

    pub(super) fn verdict(&self, run: &str, status: RunStatus) -> String {
        let elapsed = self.run_started.map(|started| started.elapsed());
        verdict(run, status, elapsed.unwrap_or_default())
    }
}
