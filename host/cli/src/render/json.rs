//! One JSON object a line.

use super::{Renderer, RunFacts};
use crate::exit::{Exit, Failure};
use crate::terminal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flavor_host::contract::{Event, OutputStream, RunStatus, StepFinished, StepStatus};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct Json {
    /// By step, attempt, and whether it is stderr.
    outputs: BTreeMap<(String, u32, bool), Characters>,
    /// What the steps come to if the run ends now.
    steps: Map<String, Value>,
}

impl Renderer for Json {
    fn run_started(&mut self, run: &RunFacts) {
        let steps = run.steps.iter().cloned();
        self.steps = steps
            .map(|step| (step, StepStatus::Skipped.word().into()))
            .collect();
        emit(&json!({
            "event": "run-started",
            "run": run.id,
            "name": run.name,
            "target": run.target,
        }));
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::StepStarted(started) => {
                self.comes_to(&started.step, StepStatus::Cancelled);
                emit(&json!({
                    "event": "step-started",
                    "step": started.step,
                    "attempt": started.attempt,
                    "sandbox": started.sandbox,
                }));
            }
            Event::Output(output) => {
                let is_stderr = output.stream == OutputStream::Stderr;
                let key = (output.step.clone(), output.attempt, is_stderr);
                let data = self.outputs.entry(key).or_default().push(&output.data);
                if !data.is_empty() {
                    emit(&output_object(
                        &output.step,
                        output.attempt,
                        output.stream,
                        &data,
                    ));
                }
            }
            Event::OutputLost(lost) => emit(&json!({
                "event": "warning",
                "step": lost.step,
                "message": "output is lost",
                "bytes": lost.bytes,
            })),
            Event::StepFinished(finished) if finished.retry_in.is_some() => {
                emit(&retry_object(finished));
            }
            Event::StepFinished(finished) => {
                self.comes_to(&finished.step, finished.status);
                emit(&json!({
                    "event": "step-finished",
                    "step": finished.step,
                    "status": finished.status.word(),
                    "attempt": finished.attempt,
                    "exit_code": finished.exit_code,
                    "reason": finished.reason,
                }));
            }
            Event::Warning(warning) => emit(&json!({
                "event": "warning",
                "step": warning.step,
                "message": warning.message,
            })),
            Event::RunFinished(finished) => {
                let error = finished.error.clone();
                let error = error.map(|error| flavor_host::Error::Plugin(error).to_string());
                for (step, status) in &finished.steps {
                    self.comes_to(step, *status);
                }
                self.run_finished(finished.status, error);
            }
        }
    }

    fn stopping(&mut self) {}

    fn failed(&mut self, failure: &Failure) {
        let status = match failure.exit {
            Exit::Stopped => RunStatus::Stopped,
            _ => RunStatus::Failed,
        };
        self.run_finished(status, Some(failure.message()));
    }
}

impl Json {
    fn comes_to(&mut self, step: &str, status: StepStatus) {
        self.steps.insert(step.to_owned(), status.word().into());
    }

    fn run_finished(&mut self, status: RunStatus, error: Option<String>) {
        for ((step, attempt, is_stderr), characters) in std::mem::take(&mut self.outputs) {
            let stream = match is_stderr {
                true => OutputStream::Stderr,
                false => OutputStream::Stdout,
            };
            if let Some(rest) = characters.rest() {
                emit(&output_object(&step, attempt, stream, &rest));
            }
        }
        run_finished(status, error, &self.steps);
    }
}

/// The last object about a run.
pub(crate) fn run_finished(status: RunStatus, error: Option<String>, steps: &Map<String, Value>) {
    emit(&json!({
        "event": "run-finished",
        "status": status.word(),
        "error": error,
        "steps": steps,
    }));
}

/// An attempt that failed and will be followed by another one: the step has not
/// finished.
fn retry_object(finished: &StepFinished) -> Value {
    json!({
        "event": "warning",
        "step": finished.step,
        "attempt": finished.attempt,
        "message": "the attempt failed and will be repeated",
        "exit_code": finished.exit_code,
        "reason": finished.reason,
        "retry_in": finished.retry_in,
    })
}

/// A piece of output: as text when it is text, in base64 when it is not.
pub(crate) fn output_object(step: &str, attempt: u32, stream: OutputStream, data: &[u8]) -> Value {
    let stream = match stream {
        OutputStream::Stdout => "stdout",
        OutputStream::Stderr => "stderr",
    };
    let (key, value) = match std::str::from_utf8(data) {
        Ok(text) => ("text", text.to_owned()),
        Err(_) => ("base64", STANDARD.encode(data)),
    };
    json!({
        "event": "log",
        "step": step,
        "attempt": attempt,
        "stream": stream,
        key: value,
    })
}

/// One output, of which the beginning of a character is held back until the rest
/// of it comes.
#[derive(Debug, Default)]
pub(crate) struct Characters {
    begun: Vec<u8>,
}

impl Characters {
    /// Takes a piece, and gives what can be told of it.
    pub(crate) fn push(&mut self, data: &[u8]) -> Vec<u8> {
        let mut whole = std::mem::take(&mut self.begun);
        whole.extend_from_slice(data);
        self.begun = whole.split_off(whole.len() - cut_length(&whole));
        whole
    }

    /// What is held back when nothing more comes.
    pub(crate) fn rest(self) -> Option<Vec<u8>> {
        Some(self.begun).filter(|begun| !begun.is_empty())
    }
}

/// How many bytes at the end are the beginning of a character.
fn cut_length(data: &[u8]) -> usize {
    match std::str::from_utf8(data) {
        Err(error) if error.error_len().is_none() => data.len() - error.valid_up_to(),
        _ => 0,
    }
}

fn emit(object: &Value) {
    terminal::say(&object.to_string());
}

#[cfg(test)]
mod tests {
    use super::{Characters, cut_length, output_object};
    use flavor_host::contract::OutputStream;

    #[test]
    fn only_the_beginning_of_a_character_is_held_back() {
        assert_eq!(cut_length("aж".as_bytes()), 0);
        assert_eq!(cut_length(&"aж".as_bytes()[..2]), 1);
        assert_eq!(cut_length(b"a\xff"), 0);
        assert_eq!(
            cut_length("🦀".get(..).map(|crab| &crab.as_bytes()[..3]).unwrap()),
            3
        );
    }

    #[test]
    fn what_is_held_back_comes_in_the_end() {
        let mut characters = Characters::default();
        assert_eq!(characters.push(b"a\xf0\x9f"), b"a");
        assert_eq!(characters.push(b"\xa6"), b"");
        assert_eq!(characters.push(b"\x80b\xd0"), "🦀b".as_bytes());
        assert_eq!(characters.rest(), Some(vec![0xd0]));
        assert_eq!(Characters::default().rest(), None);
    }

    #[test]
    fn what_is_no_text_travels_in_base64() {
        let object = output_object("a", 0, OutputStream::Stderr, b"\xff");
        assert_eq!(object["base64"], "/w==");
        assert!(object.get("text").is_none());
    }
}
