//! One JSON object a line.

use super::{Renderer, RunFacts};
use crate::exit::Failure;
use crate::terminal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flavor_host::contract::{Event, OutputStream, StepFinished, StepStatus};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

#[derive(Debug, Default)]
pub(super) struct Json {
    /// Beginnings of characters that the next piece goes on with.
    cut: HashMap<(String, bool), Vec<u8>>,
}

impl Renderer for Json {
    fn run_started(&mut self, run: &RunFacts) {
        emit(&json!({
            "event": "run-started",
            "run": run.id,
            "name": run.name,
            "target": run.target,
        }));
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::StepStarted(started) => emit(&json!({
                "event": "step-started",
                "step": started.step,
                "attempt": started.attempt,
                "sandbox": started.sandbox,
            })),
            Event::Output(output) => {
                let key = (output.step.clone(), output.stream == OutputStream::Stderr);
                let mut data = self.cut.remove(&key).unwrap_or_default();
                data.extend_from_slice(&output.data);
                let rest = data.split_off(data.len() - cut_length(&data));
                if !rest.is_empty() {
                    self.cut.insert(key, rest);
                }
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
            Event::StepFinished(finished) => emit(&json!({
                "event": "step-finished",
                "step": finished.step,
                "status": finished.status.word(),
                "attempt": finished.attempt,
                "exit_code": finished.exit_code,
                "reason": finished.reason,
            })),
            Event::Warning(warning) => emit(&json!({
                "event": "warning",
                "step": warning.step,
                "message": warning.message,
            })),
            Event::RunFinished(finished) => {
                let error = finished.error.clone();
                let error = error.map(|error| flavor_host::Error::Plugin(error).to_string());
                emit(&run_finished(
                    finished.status.word(),
                    error,
                    &finished.steps,
                ));
            }
        }
    }

    fn stopping(&mut self) {}

    fn failed(&mut self, failure: &Failure) {
        emit(&run_finished("failed", Some(failure.message()), &[]));
    }
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

fn run_finished(status: &str, error: Option<String>, steps: &[(String, StepStatus)]) -> Value {
    let steps: Map<String, Value> = steps
        .iter()
        .map(|(step, status)| (step.clone(), status.word().into()))
        .collect();
    json!({
        "event": "run-finished",
        "status": status,
        "error": error,
        "steps": steps,
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
    use super::{cut_length, output_object};
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
    fn what_is_no_text_travels_in_base64() {
        let object = output_object("a", 0, OutputStream::Stderr, b"\xff");
        assert_eq!(object["base64"], "/w==");
        assert!(object.get("text").is_none());
    }
}
