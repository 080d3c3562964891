//! Many steps at once: what is bounded, and what goes on all the same.

use super::{Store, pipeline, server, step};
use crate::dag::machine::{ExecutionMode, RunEnd, StopMode};
use crate::limits;
use crate::modal::channel::Endpoint;
use crate::modal::{Client, ClientOptions};
use crate::run::controller::Controller;
use crate::run::events::{Event, EventQueue, EventSink};
use crate::run::plan::{Plan, Step};
use crate::testing::{Fake, Reply};
use modal_proto::RETRY_POLICY_TYPE;
use modal_proto::client::{RpcRetryPolicy, RpcStatus};
use prost::Message as _;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tonic::Code;

const MINUTE: Duration = Duration::from_secs(60);

fn crowd(count: usize) -> Vec<Step> {
    (0..count)
        .map(|number| step(&format!("s{number}"), &[]))
        .collect()
}

async fn prepare(
    fake: &Fake,
    store: &Store,
    steps: Vec<Step>,
) -> (Controller<Fake, Store>, EventQueue) {
    let plan = Plan::new(pipeline(ExecutionMode::FailFast, steps), None).unwrap();
    let endpoint = Endpoint::parse("https://api.example.com").unwrap();
    let client = Client::new(fake.clone(), endpoint, ClientOptions::default());
    let (sink, queue) = EventSink::new(false);
    let controller = Controller::prepare(plan, client, store.clone(), sink).await;
    (controller.unwrap(), queue)
}

/// Takes everything, to the end.
async fn read(mut queue: EventQueue) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let more = queue.take(usize::MAX).await;
        if more.is_empty() {
            return events;
        }
        events.extend(more);
    }
}

#[test]
fn a_run_waits_while_nobody_takes_its_events() {
    let fake = server(|_| None);
    let steps = 2 * limits::EVENTS_WAITING;
    let events = fake.block_on(async {
        let (controller, queue) = prepare(&fake, &Store::default(), crowd(steps)).await;
        let mut drive = Box::pin(controller.drive());
        let waits = tokio::time::timeout(MINUTE, &mut drive).await;
        assert!(waits.is_err(), "it went on");
        let created = fake.sent_to("SandboxCreateV2").len();
        let most = limits::EVENTS_WAITING + limits::STARTING_AT_ONCE.get();
        assert!(created <= most, "{created}");
        tokio::join!(drive, read(queue)).1
    });
    // Each has started and ended, and so has the run.
    assert_eq!(events.len(), 2 * steps + 1);
    let Some(Event::RunFinished { end, .. }) = events.last() else {
        panic!("no end");
    };
    assert_eq!(*end, RunEnd::Completed);
}

#[test]
fn a_stop_gets_through_although_nobody_takes_events() {
    // Half of the sandboxes run for ever.
    let fake = server(|sent| {
        let sandbox = super::waited_for(sent)?;
        let number: usize = sandbox
            .trim_start_matches("sb-s")
            .trim_end_matches(".0")
            .parse()
            .unwrap();
        number.is_multiple_of(2).then_some(Reply::Silence)
    });
    let store = Store::default();
    let events = fake.block_on(async {
        let (controller, queue) = prepare(&fake, &store, crowd(2 * limits::EVENTS_WAITING)).await;
        let mut drive = Box::pin(controller.drive());
        assert!(tokio::time::timeout(MINUTE, &mut drive).await.is_err());
        store.stop(StopMode::Force);
        let stops = tokio::time::timeout(MINUTE, &mut drive).await;
        assert!(stops.is_ok(), "it did not stop");
        drop(drive);
        read(queue).await
    });
    let Some(Event::RunFinished { end, .. }) = events.last() else {
        panic!("no end");
    };
    assert_eq!(*end, RunEnd::Stopped);
    let running = fake.sent_to("SandboxCreateV2").len();
    let terminated = fake.sent_to("SandboxTerminateV2").len();
    assert!(terminated > 0 && terminated <= running);
}

#[test]
fn too_much_is_said_once_and_then_less_is_asked_for() {
    // A bucket of 100 creates that holds no more until a second has gone by.
    let left = Rc::new(Cell::new(100_u32));
    let of_server = Rc::clone(&left);
    let fake = server(move |sent| {
        if sent.method != "SandboxCreateV2" {
            return None;
        }
        match of_server.get().checked_sub(1) {
            Some(less) => {
                of_server.set(less);
                None
            }
            None => Some(throttled(1.0)),
        }
    });
    let (events, refused) = fake.block_on(async {
        let (controller, queue) = prepare(&fake, &Store::default(), crowd(600)).await;
        let refill = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                left.set(100);
            }
        };
        let run = async { tokio::join!(controller.drive(), read(queue)).1 };
        let events = tokio::select! {
            biased;
            events = run => events,
            () = refill => unreachable!(),
        };
        (events, fake.sent_to("SandboxCreateV2").len() - 600)
    });
    assert_eq!(events.len(), 2 * 600 + 1);
    // All were asked for at once, and those that were refused each second.
    assert!(
        (500..=500 + 400 + 300 + 200 + 100 + 100).contains(&refused),
        "{refused}"
    );
}

fn throttled(seconds: f32) -> Reply {
    let policy = RpcRetryPolicy {
        retry_after_secs: seconds,
    };
    let status = RpcStatus {
        code: Code::ResourceExhausted.into(),
        message: "slow down".into(),
        details: vec![prost_types::Any {
            type_url: format!("type.modal.com/{RETRY_POLICY_TYPE}"),
            value: policy.encode_to_vec(),
        }],
    };
    Reply::Status {
        code: Code::ResourceExhausted,
        message: "slow down",
        details: status.encode_to_vec(),
        warning: None,
    }
}
