//! What the host hears while a run goes on.

use crate::dag::machine::{FinalStatus, RunEnd};
use crate::limits;
use crate::modal::CallError;
use crate::modal::output::{OutputSink, OutputStream};
use crate::run::store::StoreError;
use std::rc::Rc;
use tokio::sync::{Semaphore, mpsc};

/// Something the host should know.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A step has a sandbox.
    StepStarted {
        /// Which.
        step: Rc<str>,
        /// Counted from 0.
        attempt: u32,
        /// The service's id.
        sandbox: String,
    },
    /// A step wrote something.
    Output {
        /// Which.
        step: Rc<str>,
        /// Counted from 0.
        attempt: u32,
        /// Where to.
        stream: OutputStream,
        /// What.
        data: Vec<u8>,
    },
    /// A part of what a step wrote is gone.
    OutputLost {
        /// Which.
        step: Rc<str>,
        /// Counted from 0.
        attempt: u32,
        /// From where.
        stream: OutputStream,
        /// How much, when that is known.
        bytes: Option<u64>,
    },
    /// An attempt ended, or a step that never ran got its final status.
    StepFinished(StepFinished),
    /// Something that is allowed but probably not meant, or that went wrong
    /// without ending anything.
    Warning {
        /// About this step; none: about the run.
        step: Option<Rc<str>>,
        /// What.
        message: String,
    },
    /// The run ended. The last event.
    RunFinished {
        /// How.
        end: RunEnd,
        /// What ended it early, when that was neither a step nor a stop.
        error: Option<RunError>,
        /// The final status of every step, in the order of declaration.
        steps: Vec<(String, FinalStatus)>,
    },
}

/// The end of an attempt or of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepFinished {
    /// Which.
    pub step: Rc<str>,
    /// Counted from 0.
    pub attempt: u32,
    /// How it ended.
    pub status: FinalStatus,
    /// When it ended with one.
    pub exit_code: Option<i32>,
    /// Why it did not complete.
    pub reason: Option<String>,
    /// Seconds until the next attempt, when there will be one.
    pub retry_in: Option<f64>,
}

/// What ends a run as a whole.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RunError {
    /// Every other call to the service would fail as well.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Nothing can be recorded any more.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The way of events to the host. What steps write is bounded: readers wait
/// while [`limits::OUTPUT_IN_FLIGHT`] is on its way. Everything else is bounded
/// by the size of the pipeline.
#[derive(Debug, Clone)]
pub struct EventSink {
    sender: mpsc::UnboundedSender<Event>,
    output_room: Rc<Semaphore>,
    wants_output: bool,
}

impl EventSink {
    /// A sink and the other end of it.
    pub fn new(wants_output: bool) -> (Self, EventQueue) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let output_room = Rc::new(Semaphore::new(limits::OUTPUT_IN_FLIGHT));
        let sink = Self {
            sender,
            output_room: Rc::clone(&output_room),
            wants_output,
        };
        let queue = EventQueue {
            receiver,
            output_room,
        };
        (sink, queue)
    }

    /// Hands over an event. When nobody listens any more it is lost, and the
    /// run goes on: the run store is what counts.
    pub fn send(&self, event: Event) {
        let _ = self.sender.send(event);
    }

    /// Whether anybody wants to know what steps write.
    pub fn wants_output(&self) -> bool {
        self.wants_output && !self.sender.is_closed()
    }

    /// Where one output of a step goes.
    pub fn step_output(&self, step: &Rc<str>, attempt: u32, stream: OutputStream) -> StepOutput {
        StepOutput {
            sink: self.clone(),
            step: Rc::clone(step),
            attempt,
            stream,
        }
    }
}

/// The host's end of the events.
#[derive(Debug)]
pub struct EventQueue {
    receiver: mpsc::UnboundedReceiver<Event>,
    output_room: Rc<Semaphore>,
}

impl EventQueue {
    /// Waits for events and takes all that are there, up to `limit`. Empty when
    /// there will be no more.
    pub async fn take(&mut self, limit: usize) -> Vec<Event> {
        let mut events = Vec::new();
        self.receiver.recv_many(&mut events, limit).await;
        for event in &events {
            if let Event::Output { data, .. } = event {
                self.output_room.add_permits(data.len());
            }
        }
        events
    }
}

/// One output of one attempt.
#[derive(Debug)]
pub struct StepOutput {
    sink: EventSink,
    step: Rc<str>,
    attempt: u32,
    stream: OutputStream,
}

impl OutputSink for StepOutput {
    async fn piece(&self, data: Vec<u8>) {
        let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
        // The room is never closed, so this waits and does not fail. The queue
        // gives the permits back when the host takes the piece.
        if let Ok(room) = self.sink.output_room.acquire_many(size).await {
            room.forget();
        }
        self.sink.send(Event::Output {
            step: Rc::clone(&self.step),
            attempt: self.attempt,
            stream: self.stream,
            data,
        });
    }

    fn lost(&self, bytes: Option<u64>) {
        self.sink.send(Event::OutputLost {
            step: Rc::clone(&self.step),
            attempt: self.attempt,
            stream: self.stream,
            bytes,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, EventSink};
    use crate::limits;
    use crate::modal::output::{OutputSink as _, OutputStream};
    use futures::FutureExt as _;

    #[test]
    fn output_waits_while_too_much_is_on_its_way() {
        let (sink, mut queue) = EventSink::new(true);
        let output = sink.step_output(&"a".into(), 0, OutputStream::Stdout);
        let pieces = limits::OUTPUT_IN_FLIGHT / limits::OUTPUT_PIECE;
        for _ in 0..pieces {
            let piece = vec![0; limits::OUTPUT_PIECE];
            assert!(output.piece(piece).now_or_never().is_some());
        }
        let mut late = Box::pin(output.piece(vec![1]));
        assert!((&mut late).now_or_never().is_none());
        let taken = queue.take(1).now_or_never().unwrap();
        assert!(matches!(taken.as_slice(), [Event::Output { .. }]));
        assert!(late.now_or_never().is_some());
    }
}
