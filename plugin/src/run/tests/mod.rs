//! Whole runs against a scripted server and a store in memory.

mod crowds;
mod endings;
mod faults;
mod planning;
mod resuming;

use crate::dag::machine::{ExecutionMode, FinalStatus, RunEnd, StopMode};
use crate::modal::channel::Endpoint;
use crate::modal::{Client, ClientOptions};
use crate::run::controller::Controller;
use crate::run::events::{Event, EventSink, RunError};
use crate::run::plan::{Pipeline, Plan, Step};
use crate::run::store::{Change, Claim, RunStore, StoreError};
use crate::testing::{Fake, Reply, Sent};
use modal_proto::client::{
    AppGetOrCreateResponse, AuthTokenGetResponse, EnvironmentGetOrCreateResponse,
    EnvironmentMetadata, EnvironmentSettings, GenericResult, ImageGetOrCreateResponse,
    SandboxCreateV2Request, SandboxCreateV2Response, SandboxTerminateResponse, SandboxWaitRequest,
    SandboxWaitResponse,
};
use std::cell::RefCell;
use std::rc::Rc;
use tokio::sync::watch;
use tonic::Code;

/// Says whether something is about a change.
type At = fn(&Change) -> bool;

/// A run store in memory that can fail.
#[derive(Clone, Default)]
struct Store(Rc<RefCell<StoreState>>, Rc<watch::Sender<Option<StopMode>>>);

#[derive(Default)]
struct StoreState {
    changes: Vec<Change>,
    /// The change that cannot be recorded, and why.
    fails: Option<(At, StoreError)>,
    /// Whether somebody else has the run.
    is_fenced: bool,
    /// What an earlier controller left.
    left: Claim,
}

impl Store {
    fn failing(at: At, error: StoreError) -> Self {
        let store = Self::default();
        store.0.borrow_mut().fails = Some((at, error));
        store
    }

    /// Asks for a stop, from now on.
    fn stop(&self, mode: StopMode) {
        self.1.send_replace(Some(mode));
    }
}

impl RunStore for Store {
    async fn open(&self, _: &str) -> Result<Claim, StoreError> {
        let left = self.0.borrow().left.clone();
        Ok(Claim { epoch: 7, ..left })
    }

    async fn commit(&self, _: &str, epoch: u64, changes: Vec<Change>) -> Result<(), StoreError> {
        assert_eq!(epoch, 7);
        let mut state = self.0.borrow_mut();
        match &state.fails {
            _ if state.is_fenced => return Err(StoreError::Fenced),
            Some((at, error)) if changes.iter().any(at) => return Err(error.clone()),
            _ => state.changes.extend(changes),
        }
        Ok(())
    }

    async fn wait_for_stop(
        &self,
        _: &str,
        known: Option<StopMode>,
    ) -> Result<StopMode, StoreError> {
        let mut stop = self.1.subscribe();
        let asked = stop.wait_for(|mode| *mode > known).await;
        asked
            .ok()
            .and_then(|mode| *mode)
            .ok_or_else(|| StoreError::Unavailable("the test is over".into()))
    }
}

/// A step that runs `true`.
fn step(name: &str, after: &[&str]) -> Step {
    Step {
        name: name.into(),
        command: vec!["true".into()],
        after: after.iter().map(|name| (*name).to_owned()).collect(),
        image: "img".into(),
        settings: "{}".into(),
        cpu_count: None,
        gpu_count: None,
        memory: None,
        environment: Vec::new(),
        max_retries: 0,
        delay: 0.0,
        backoff: 1.0,
    }
}

fn pipeline(mode: ExecutionMode, steps: Vec<Step>) -> Pipeline {
    Pipeline {
        run_id: "r1".into(),
        mode,
        max_parallelism: None,
        steps,
    }
}

/// A server on which sandboxes end as the script says. The id of a sandbox is
/// `sb-` and its name.
fn server(mut script: impl FnMut(&Sent) -> Option<Reply> + 'static) -> Fake {
    Fake::new(move |sent| script(sent).unwrap_or_else(|| usual(sent)))
}

/// What a server answers on which everything goes well.
fn usual(sent: &Sent) -> Reply {
    match sent.method.as_str() {
        "AuthTokenGet" => Reply::ok(&AuthTokenGetResponse {
            token: "a.b.c".into(),
        }),
        "AppGetOrCreate" => Reply::ok(&AppGetOrCreateResponse {
            app_id: "ap-1".into(),
            ..AppGetOrCreateResponse::default()
        }),
        "EnvironmentGetOrCreate" => Reply::ok(&EnvironmentGetOrCreateResponse {
            metadata: Some(EnvironmentMetadata {
                settings: Some(EnvironmentSettings {
                    image_builder_version: "2025.06".into(),
                    ..EnvironmentSettings::default()
                }),
                ..EnvironmentMetadata::default()
            }),
            ..EnvironmentGetOrCreateResponse::default()
        }),
        "ImageGetOrCreate" => Reply::ok(&ImageGetOrCreateResponse {
            image_id: "im-1".into(),
            result: result(1, 0),
            ..ImageGetOrCreateResponse::default()
        }),
        "SandboxCreateV2" => {
            let request: SandboxCreateV2Request = sent.decode();
            let name = request.definition.and_then(|definition| definition.name);
            Reply::ok(&SandboxCreateV2Response {
                sandbox_id: format!("sb-{}", name.unwrap_or_default()),
                task_id: "ta-V".into(),
                ..SandboxCreateV2Response::default()
            })
        }
        "SandboxWaitV2" => ended(1, 0),
        "SandboxTerminateV2" => Reply::ok(&SandboxTerminateResponse::default()),
        _ => Reply::failure(Code::Unimplemented, "not in this test"),
    }
}

fn result(status: i32, exitcode: i32) -> Option<GenericResult> {
    Some(GenericResult {
        status,
        exitcode,
        ..GenericResult::default()
    })
}

fn ended(status: i32, exitcode: i32) -> Reply {
    Reply::ok(&SandboxWaitResponse {
        result: result(status, exitcode),
        ..SandboxWaitResponse::default()
    })
}

/// The sandbox that a wait asks about.
fn waited_for(sent: &Sent) -> Option<String> {
    (sent.method == "SandboxWaitV2").then(|| sent.decode::<SandboxWaitRequest>().sandbox_id)
}

/// What came of a run.
struct Outcome {
    end: RunEnd,
    error: Option<RunError>,
    events: Vec<Event>,
    changes: Vec<Change>,
}

impl Outcome {
    fn status(&self, step: &str) -> FinalStatus {
        let Some(Event::RunFinished { steps, .. }) = self.events.last() else {
            panic!("the last event is not the end");
        };
        steps.iter().find(|(name, _)| name == step).unwrap().1
    }

    /// Why the last attempt of a step did not complete.
    fn reason(&self, step: &str) -> String {
        let finished = self.events.iter().rev().find_map(|event| match event {
            Event::StepFinished(finished) if &*finished.step == step => Some(finished),
            _ => None,
        });
        finished.unwrap().reason.clone().unwrap_or_default()
    }
}

fn run(fake: &Fake, mode: ExecutionMode, steps: Vec<Step>) -> Outcome {
    run_with(fake, Store::default(), pipeline(mode, steps))
}

fn run_with(fake: &Fake, store: Store, pipeline: Pipeline) -> Outcome {
    let plan = Plan::new(pipeline, None).unwrap();
    let endpoint = Endpoint::parse("https://api.example.com").unwrap();
    let client = Client::new(fake.clone(), endpoint, ClientOptions::default());
    let (sink, mut queue) = EventSink::new(false);
    let events = fake.block_on(async {
        let controller = Controller::prepare(plan, client, store.clone(), sink)
            .await
            .unwrap();
        controller.drive().await;
        let mut events = Vec::new();
        loop {
            let more = queue.take(100).await;
            if more.is_empty() {
                return events;
            }
            events.extend(more);
        }
    });
    let Some(Event::RunFinished { end, error, .. }) = events.last().cloned() else {
        panic!("the last event is not the end: {events:?}");
    };
    let changes = store.0.borrow().changes.clone();
    Outcome {
        end,
        error,
        events,
        changes,
    }
}
