//! What the host hears while a run goes on.

use crate::dag::machine::{FinalStatus, RunEnd};
use crate::limits;
use crate::modal::CallError;
use crate::modal::output::{OutputSink, OutputStream};
use crate::run::store::StoreError;
use std::cell::Cell;
use std::rc::Rc;
use tokio::sync::{Notify, Semaphore, mpsc};

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
/// by who sends it: no step goes on while [`Self::is_full`].
#[derive(Debug, Clone)]
pub struct EventSink {
    sender: mpsc::UnboundedSender<Event>,
    output_room: Rc<Semaphore>,
    waiting: Rc<Waiting>,
    wants_output: bool,
}

/// Events that the host has not taken.
#[derive(Debug, Default)]
struct Waiting {
    count: Cell<usize>,
    taken: Notify,
}

impl EventSink {
    /// A sink and the other end of it.
    pub fn new(wants_output: bool) -> (Self, EventQueue) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let output_room = Rc::new(Semaphore::new(limits::OUTPUT_IN_FLIGHT));
        let waiting = Rc::<Waiting>::default();
        let sink = Self {
            sender,
            output_room: Rc::clone(&output_room),
            waiting: Rc::clone(&waiting),
            wants_output,
        };
        let queue = EventQueue {
            receiver,
            output_room,
            waiting,
        };
        (sink, queue)
    }

    /// Hands over an event. When nobody listens any more it is lost, and the
    /// run goes on: the run store is what counts.
    pub fn send(&self, event: Event) {
        let count = &self.waiting.count;
        match self.sender.send(event) {
            Ok(()) => count.set(count.get() + 1),
            Err(_) => count.set(0),
        }
    }

    /// Whether more events are waiting than should.
    pub fn is_full(&self) -> bool {
        self.waiting.count.get() >= limits::EVENTS_WAITING
    }

    /// Returns when no more events are waiting than should.
    pub async fn room(&self) {
        loop {
            let taken = self.waiting.taken.notified();
            if !self.is_full() {
                return;
            }
            taken.await;
        }
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
    waiting: Rc<Waiting>,
}

impl EventQueue {
    /// Waits for events and takes all that are there, up to `limit`. Empty when
    /// there will be no more.
    pub async fn take(&mut self, limit: usize) -> Vec<Event> {
        let mut events = Vec::new();
        self.receiver.recv_many(&mut events, limit).await;
        let freed: usize = events.iter().map(weight).sum();
        self.output_room.add_permits(freed);
        let count = &self.waiting.count;
        count.set(count.get().saturating_sub(events.len()));
        self.waiting.taken.notify_waiters();
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
        let event = Event::Output {
            step: Rc::clone(&self.step),
            attempt: self.attempt,
            stream: self.stream,
            data,
        };
        self.send(event).await;
    }

    async fn lost(&self, bytes: Option<u64>) {
        let event = Event::OutputLost {
            step: Rc::clone(&self.step),
            attempt: self.attempt,
            stream: self.stream,
            bytes,
        };
        self.send(event).await;
    }
}

impl StepOutput {
    async fn send(&self, event: Event) {
        let weight = u32::try_from(weight(&event)).unwrap_or(u32::MAX);
        // The room is never closed, so this waits and does not fail. The queue
        // gives the permits back when the host takes the event.
        if let Ok(room) = self.sink.output_room.acquire_many(weight).await {
            room.forget();
        }
        self.sink.send(event);
    }
}

/// What an event takes of the room for output.
fn weight(event: &Event) -> usize {
    match event {
        Event::Output { data, .. } => limits::OUTPUT_EVENT + data.len(),
        Event::OutputLost { .. } => limits::OUTPUT_EVENT,
        Event::StepStarted { .. }
        | Event::StepFinished(_)
        | Event::Warning { .. }
        | Event::RunFinished { .. } => 0,
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
        let piece = limits::OUTPUT_PIECE - limits::OUTPUT_EVENT;
        for _ in 0..limits::OUTPUT_IN_FLIGHT / limits::OUTPUT_PIECE {
            assert!(output.piece(vec![0; piece]).now_or_never().is_some());
        }
        let mut late = Box::pin(output.piece(vec![1]));
        assert!((&mut late).now_or_never().is_none());
        let taken = queue.take(1).now_or_never().unwrap();
        assert!(matches!(taken.as_slice(), [Event::Output { .. }]));
        assert!(late.now_or_never().is_some());
    }

    #[test]
    fn even_empty_pieces_and_losses_wait() {
        let (sink, mut queue) = EventSink::new(true);
        let output = sink.step_output(&"a".into(), 0, OutputStream::Stdout);
        let mut sent = 0;
        while output.lost(Some(1)).now_or_never().is_some() {
            sent += 1;
        }
        assert_eq!(sent, limits::OUTPUT_IN_FLIGHT / limits::OUTPUT_EVENT);
        queue.take(10).now_or_never().unwrap();
        assert!(output.piece(Vec::new()).now_or_never().is_some());
    }

    #[test]
    fn it_is_full_until_the_host_takes_some() {
        let (sink, mut queue) = EventSink::new(false);
        let event = || Event::Warning {
            step: None,
            message: String::new(),
        };
        for _ in 0..limits::EVENTS_WAITING {
            assert!(!sink.is_full());
            sink.send(event());
        }
        assert!(sink.is_full());
        let mut room = Box::pin(sink.room());
        assert!((&mut room).now_or_never().is_none());
        queue.take(1).now_or_never().unwrap();
        assert!((&mut room).now_or_never().is_some());
        assert!(!sink.is_full());
        drop(queue);
        (0..limits::EVENTS_WAITING).for_each(|_| sink.send(event()));
        assert!(!sink.is_full(), "nobody listens any more");
    }
}
