//! Tells the host what did not happen, or nothing.

use super::bindings::exports::zenml::flavor::orchestrator::{
    Event, Output, Pipeline, RunFinished, StepFinished, Warning,
};
use super::bindings::zenml::flavor::run_store::{self, Change, Metadata};
use super::bindings::zenml::flavor::types::{Error, OutputStream, RunStatus, StepStatus};
use super::{Outcome, memory, number, text};
use futures::future::join;
use std::cell::Cell;
use wasip3::clocks::monotonic_clock;
use wit_bindgen::StreamWriter;

/// The guest's end of a run's events.
pub(super) struct Teller {
    writer: StreamWriter<Event>,
    run: String,
    steps: Vec<String>,
}

impl Teller {
    pub(super) fn new(writer: StreamWriter<Event>, pipeline: &Pipeline) -> Self {
        let steps = pipeline.steps.iter();
        Self {
            writer,
            run: pipeline.run_id.clone(),
            steps: steps.map(|step| step.name.clone()).collect(),
        }
    }

    pub(super) async fn tell(&mut self, events: Vec<Event>) {
        let _ = self.writer.write_all(events).await;
    }

    pub(super) async fn warn(&mut self, step: Option<&str>, message: String) {
        self.tell(vec![warning(step, message)]).await;
    }

    pub(super) async fn complete(&mut self) {
        let end = self.end(RunStatus::Completed, StepStatus::Completed, None);
        self.tell(vec![end]).await;
    }

    pub(super) async fn fail(&mut self, error: Error) {
        let end = self.end(RunStatus::Failed, StepStatus::Failed, Some(error));
        self.tell(vec![end]).await;
    }

    fn end(&self, status: RunStatus, step: StepStatus, error: Option<Error>) -> Event {
        let steps = self.steps.iter().map(|name| (name.clone(), step));
        Event::RunFinished(RunFinished {
            status,
            error,
            steps: steps.collect(),
        })
    }
}

pub(super) async fn attack(
    teller: &mut Teller,
    name: &str,
    arguments: &[&str],
) -> Result<Option<Outcome>, Error> {
    use StepStatus::{Completed, Failed, Running};
    let events = match name {
        "say" => vec![warning(None, text(arguments, 0).to_owned())],
        "reason" => vec![step_finished(Failed, Some(text(arguments, 0).to_owned()))],
        "output" => vec![Event::Output(Output {
            step: "step".to_owned(),
            attempt: 0,
            stream: OutputStream::Stdout,
            data: vec![b'x'; number(arguments, 0)],
        })],
        "step-is-running" => vec![step_finished(Running, None)],
        "run-is-running" => vec![teller.end(RunStatus::Running, Completed, None)],
        "run-is-stopping" => vec![teller.end(RunStatus::Stopping, Completed, None)],
        "steps-are-running" => vec![teller.end(RunStatus::Completed, Running, None)],
        "end" => vec![teller.end(RunStatus::Completed, Completed, None)],
        "end-and-go-on" => vec![
            teller.end(RunStatus::Completed, Completed, None),
            warning(None, "after the end".to_owned()),
            teller.end(RunStatus::Failed, Failed, None),
        ],
        "flood" => memory::flood_of(number(arguments, 0), number(arguments, 1)),
        "flood-and-count" => {
            flood_and_count(teller, number(arguments, 0)).await;
            return Ok(Some(Outcome::Silence));
        }
        "leave" => return Ok(Some(Outcome::Silence)),
        _ => return Ok(None),
    };
    teller.tell(events).await;
    Ok(Some(String::new().into()))
}

pub(super) fn warning(step: Option<&str>, message: String) -> Event {
    Event::Warning(Warning {
        step: step.map(ToOwned::to_owned),
        message,
    })
}

fn step_finished(status: StepStatus, reason: Option<String>) -> Event {
    Event::StepFinished(StepFinished {
        step: "step".to_owned(),
        attempt: 0,
        status,
        exit_code: None,
        reason,
        retry_in: None,
    })
}

/// Tells without end, and records again and again how much was taken.
async fn flood_and_count(teller: &mut Teller, size: usize) {
    let taken = Cell::new(0_u64);
    let run = teller.run.clone();
    let flooding = async {
        loop {
            teller.tell(memory::flood_of(1, size)).await;
            taken.set(taken.get() + 1);
        }
    };
    let counting = async {
        let epoch = match run_store::open(run.clone()).await {
            Ok(claim) => claim.epoch,
            Err(_) => return,
        };
        loop {
            let values = format!("{{\"taken\":{}}}", taken.get());
            let change = Change::Metadata(Metadata { step: None, values });
            let _ = run_store::commit(run.clone(), epoch, vec![change]).await;
            monotonic_clock::wait_for(20_000_000).await;
        }
    };
    join(flooding, counting).await;
}
