//! Looking and stopping over the wire.

use super::fetch::{isolated_status, run_statuses};
use super::stop::stop_sandboxes;
use super::wait::wait_for_sandbox;
use super::{ExecutionStatus, Records, RunRecord, Sandboxes as _, Shape, StepRecord};
use crate::dag::machine::StopMode;
use crate::metadata::Metadata;
use crate::modal::channel::Endpoint;
use crate::modal::{Client, ClientOptions};
use crate::testing::{Fake, Reply, Sent};
use modal_proto::client::{
    AuthTokenGetResponse, GenericResult, SandboxTerminateRequest, SandboxTerminateResponse,
    SandboxWaitRequest, SandboxWaitResponse,
};
use serde_json::json;
use std::convert::Infallible;
use tonic::Code;

fn client(fake: &Fake) -> Client<Fake> {
    let endpoint = Endpoint::parse("https://api.example.com").unwrap();
    Client::new(fake.clone(), endpoint, ClientOptions::default())
}

fn ended(status: i32, exitcode: i32) -> Reply {
    Reply::ok(&SandboxWaitResponse {
        result: Some(GenericResult {
            status,
            exitcode,
            ..GenericResult::default()
        }),
        ..SandboxWaitResponse::default()
    })
}

fn running() -> Reply {
    Reply::ok(&SandboxWaitResponse::default())
}

/// `sb-done` has ended, `sb-broken` failed with the code 0, there is no
/// `sb-gone`, and the others run.
fn server(sent: &Sent) -> Reply {
    match sent.method.as_str() {
        "AuthTokenGet" => Reply::ok(&AuthTokenGetResponse {
            token: "a.b.c".into(),
        }),
        "SandboxWaitV2" => {
            let request: SandboxWaitRequest = sent.decode();
            match request.sandbox_id.as_str() {
                "sb-done" => ended(1, 0),
                "sb-broken" => ended(2, 0),
                "sb-gone" => Reply::failure(Code::NotFound, "no such sandbox"),
                _ => running(),
            }
        }
        "SandboxTerminateV2" => Reply::ok(&SandboxTerminateResponse::default()),
        _ => Reply::failure(Code::Unimplemented, "not in this test"),
    }
}

fn metadata(values: serde_json::Value) -> Metadata {
    serde_json::from_value(values).unwrap()
}

fn step(name: &str, sandbox: &str) -> StepRecord {
    StepRecord {
        name: name.into(),
        status: ExecutionStatus::Running,
        metadata: metadata(json!({"sandbox_id": sandbox})),
    }
}

fn run(steps: Vec<StepRecord>) -> RunRecord {
    RunRecord {
        id: "r1".into(),
        status: ExecutionStatus::Running,
        metadata: metadata(json!({"modal_orchestration_sandbox_id": "sb-controller"})),
        steps: Some(steps),
        shape: Some(Shape::Static),
        orchestrator_run_id: Some("r1".into()),
    }
}

struct Known(RunRecord);

impl Records for Known {
    type Error = Infallible;

    async fn run(&self) -> Result<RunRecord, Infallible> {
        Ok(self.0.clone())
    }

    async fn mark_stopping(&self, _: &str) -> Result<(), Infallible> {
        Ok(())
    }
}

#[test]
fn a_failure_is_one_whatever_its_exit_code() {
    let fake = Fake::new(server);
    let client = client(&fake);
    let run = run(vec![
        step("a", "sb-done"),
        step("b", "sb-broken"),
        step("c", "sb-gone"),
        step("d", "sb-d"),
    ]);
    let statuses = fake.block_on(run_statuses(&client, &Known(run.clone()), &run, true));
    assert_eq!(statuses.run, Some(ExecutionStatus::Running));
    let steps = statuses.steps.unwrap();
    let steps: Vec<_> = steps
        .iter()
        .map(|(name, status)| (name.as_str(), *status))
        .collect();
    assert_eq!(
        steps,
        [
            ("a", ExecutionStatus::Completed),
            ("b", ExecutionStatus::Failed),
            ("d", ExecutionStatus::Running)
        ]
    );
}

#[test]
fn what_modal_cannot_say_is_not_called_failed() {
    let fake = Fake::new(server);
    let client = client(&fake);
    let gone = step("a", "sb-gone");
    let status = fake.block_on(isolated_status(&client, "s1", &gone));
    assert!(status.unwrap_err().is(Code::NotFound));
}

#[test]
fn a_forced_stop_ends_steps_before_the_controller() {
    let fake = Fake::new(server);
    let client = client(&fake);
    let run = run(vec![step("a", "sb-a"), step("b", "sb-done")]);
    let known = Known(run.clone());
    let stopped = fake.block_on(stop_sandboxes(&client, &known, &run, StopMode::Force));
    assert_eq!(stopped, Ok(()));
    let ended = fake.sent_to("SandboxTerminateV2");
    let ended: Vec<String> = ended
        .iter()
        .map(|sent| sent.decode::<SandboxTerminateRequest>().sandbox_id)
        .collect();
    assert_eq!(ended, ["sb-a", "sb-controller"]);
}

#[test]
fn a_graceful_stop_is_left_to_the_controller_of_a_static_run() {
    let fake = Fake::new(server);
    let client = client(&fake);
    let run = run(vec![step("a", "sb-a")]);
    let known = Known(run.clone());
    let stopped = fake.block_on(stop_sandboxes(&client, &known, &run, StopMode::Graceful));
    assert_eq!(stopped, Ok(()));
    assert_eq!(fake.sent().len(), 0);
}

#[test]
fn a_look_that_fails_is_repeated() {
    let mut looks = 0;
    let fake = Fake::new(move |sent| match sent.method.as_str() {
        "SandboxWaitV2" => {
            looks += 1;
            match looks {
                1 => running(),
                2 => Reply::failure(Code::ResourceExhausted, "slow down"),
                _ => ended(2, 7),
            }
        }
        _ => server(sent),
    });
    let client = client(&fake);
    let code = fake.block_on(async {
        let sandbox = client.find("sb-a").await?;
        wait_for_sandbox(&client, &sandbox).await
    });
    assert_eq!(code, Ok(7));
}
