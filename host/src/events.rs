//! Events on their way from a plugin to whoever reads them: in order, so many at
//! a time, up to the one that ends the run.

use crate::contract::{self, Event, StepStatus, StoreError};
use crate::guest::GuestState;
use crate::limits::{EVENT_BATCH, Limits};
use crate::room::Room;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::PollSender;
use wasmtime::StoreContextMut;
use wasmtime::component::{Source, StreamConsumer, StreamResult};

/// Both ends of a run's events, and the word of how they ended.
pub(crate) fn channel(limits: &Limits) -> (EventConsumer, EventReader, EventsEnd) {
    let batches = limits.events_waiting.div_ceil(EVENT_BATCH).max(1);
    let (sender, batches) = mpsc::channel(batches);
    let (over, is_over) = oneshot::channel();
    let concluded = Arc::new(AtomicBool::new(false));
    let consumer = EventConsumer {
        sender: PollSender::new(sender),
        room: Room::new(limits.event_bytes_waiting),
        concluded: Arc::clone(&concluded),
        _over: over,
    };
    let reader = EventReader {
        batches,
        waiting: VecDeque::new(),
    };
    (consumer, reader, EventsEnd { is_over, concluded })
}

/// Some events, and the room that they take until they are read.
struct Batch {
    events: Vec<Event>,
    _room: OwnedSemaphorePermit,
}

/// The reader's end.
pub(crate) struct EventReader {
    batches: mpsc::Receiver<Batch>,
    waiting: VecDeque<Event>,
}

impl EventReader {
    /// The next event; none when there will be no more.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        while self.waiting.is_empty() {
            self.waiting.extend(self.batches.recv().await?.events);
        }
        self.waiting.pop_front()
    }
}

/// Tells when the events are over, and how.
pub(crate) struct EventsEnd {
    is_over: oneshot::Receiver<()>,
    concluded: Arc<AtomicBool>,
}

impl EventsEnd {
    /// Waits until nothing more is taken from the plugin.
    pub(crate) async fn wait(&mut self) {
        // Nothing is ever sent: the other end is dropped.
        let _ = (&mut self.is_over).await;
    }

    /// Whether the plugin said how the run ended.
    pub(crate) fn is_conclusive(&self) -> bool {
        self.concluded.load(Ordering::Acquire)
    }
}

/// Takes events out of the plugin's stream, as fast as they are read.
pub(crate) struct EventConsumer {
    sender: PollSender<Batch>,
    room: Room,
    concluded: Arc<AtomicBool>,
    _over: oneshot::Sender<()>,
}

impl EventConsumer {
    /// Waits until there is room for a batch. `None`: nobody reads any more.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Option<OwnedSemaphorePermit>> {
        if ready!(self.sender.poll_reserve(cx)).is_err() {
            return Poll::Ready(None);
        }
        self.room.poll_some(cx)
    }
}

impl StreamConsumer<GuestState> for EventConsumer {
    type Item = Event;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'_, GuestState>,
        mut source: Source<'_, Event>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let room = match self.poll_room(cx) {
            // A plugin that wants to take its write back may.
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
            Poll::Ready(room) => room,
        };
        let count = source.remaining(&mut store).min(EVENT_BATCH);
        let mut events = Vec::with_capacity(count);
        source.read(&mut store, &mut events)?;
        let is_last = cut_at_end(&mut events);
        events.iter().try_for_each(check)?;
        // What nobody reads any more is taken nevertheless: a plugin whose
        // stream is closed may crash over its next event, and it has a run to end.
        if let Some(mut room) = room {
            self.room.widen(&mut room, events.iter().map(weight).sum());
            let batch = Batch {
                events,
                _room: room,
            };
            let _ = self.sender.send_item(batch);
        }
        if is_last {
            self.concluded.store(true, Ordering::Release);
        }
        Poll::Ready(Ok(match is_last {
            true => StreamResult::Dropped,
            false => StreamResult::Completed,
        }))
    }
}

/// Drops what comes after the end of the run, and says whether that is there.
fn cut_at_end(events: &mut Vec<Event>) -> bool {
    let is_end = |event: &Event| matches!(event, Event::RunFinished(_));
    let end = events.iter().position(is_end);
    if let Some(end) = end {
        events.truncate(end + 1);
    }
    end.is_some()
}

/// What the contract does not allow.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the run ended as `{0}`")]
    RunStatus(&'static str),
    #[error("step `{step}` ended as `{status}`")]
    StepStatus { step: String, status: &'static str },
}

/// Ends are final.
fn check(event: &Event) -> Result<(), Malformed> {
    let step = |step: &str, status: StepStatus| match status.is_final() {
        true => Ok(()),
        false => Err(Malformed::StepStatus {
            step: step.chars().take(64).collect(),
            status: status.word(),
        }),
    };
    match event {
        Event::StepFinished(finished) => step(&finished.step, finished.status),
        Event::RunFinished(finished) if !finished.status.is_final() => {
            Err(Malformed::RunStatus(finished.status.word()))
        }
        Event::RunFinished(finished) => finished
            .steps
            .iter()
            .try_for_each(|(name, status)| step(name, *status)),
        _ => Ok(()),
    }
}

/// About what an event takes in memory, in bytes.
fn weight(event: &Event) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    size_of::<Event>()
        + match event {
            Event::StepStarted(started) => started.step.len() + started.sandbox.len(),
            Event::Output(output) => output.step.len() + output.data.len(),
            Event::OutputLost(lost) => lost.step.len(),
            Event::StepFinished(finished) => finished.step.len() + text(&finished.reason),
            Event::Warning(warning) => text(&warning.step) + warning.message.len(),
            Event::RunFinished(finished) => {
                let steps = finished.steps.iter();
                steps
                    .map(|(name, _)| name.len() + size_of::<(String, StepStatus)>())
                    .sum::<usize>()
                    + finished.error.as_ref().map_or(0, error_weight)
            }
        }
}

fn error_weight(error: &contract::Error) -> usize {
    use contract::Error;
    match error {
        Error::Invalid(faults) => faults
            .iter()
            .map(|fault| {
                let path = fault.path.iter().map(|key| key.len() + size_of::<String>());
                size_of_val(fault) + fault.kind.len() + fault.message.len() + path.sum::<usize>()
            })
            .sum(),
        Error::Refused(refusal) => refusal.asked.len() + refusal.reason.len(),
        Error::Service(error) => error.operation.len() + error.message.len(),
        Error::Unreachable(error) => error.operation.len() + error.reason.len(),
        Error::Store(StoreError::Unavailable(what))
        | Error::NotFound(what)
        | Error::Unsupported(what)
        | Error::Internal(what) => what.len(),
        Error::Store(_) | Error::Cancelled => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{Malformed, check, cut_at_end};
    use crate::contract::{Event, RunFinished, RunStatus, StepFinished, StepStatus, Warning};

    fn warning() -> Event {
        Event::Warning(Warning {
            step: None,
            message: "w".into(),
        })
    }

    fn run_finished(status: RunStatus, step: StepStatus) -> Event {
        Event::RunFinished(RunFinished {
            status,
            error: None,
            steps: vec![("a".into(), step)],
        })
    }

    #[test]
    fn nothing_comes_after_the_end() {
        let end = || run_finished(RunStatus::Completed, StepStatus::Completed);
        let mut events = vec![warning(), end(), warning(), end()];
        assert!(cut_at_end(&mut events));
        assert_eq!(events, [warning(), end()]);
        let mut events = vec![warning(), warning()];
        assert!(!cut_at_end(&mut events));
        assert_eq!(events.len(), 2);
    }

    #[test]
    fn ends_are_final() {
        for status in [RunStatus::Running, RunStatus::Stopping] {
            let event = run_finished(status, StepStatus::Completed);
            assert_eq!(check(&event), Err(Malformed::RunStatus(status.word())));
        }
        for status in [
            StepStatus::Pending,
            StepStatus::Starting,
            StepStatus::Running,
        ] {
            let malformed = || Malformed::StepStatus {
                step: "a".into(),
                status: status.word(),
            };
            let event = run_finished(RunStatus::Failed, status);
            assert_eq!(check(&event), Err(malformed()));
            let event = Event::StepFinished(StepFinished {
                step: "a".into(),
                attempt: 0,
                status,
                exit_code: None,
                reason: None,
                retry_in: None,
            });
            assert_eq!(check(&event), Err(malformed()));
        }
        assert_eq!(
            check(&run_finished(RunStatus::Stopped, StepStatus::Skipped)),
            Ok(())
        );
        assert_eq!(check(&warning()), Ok(()));
    }
}
