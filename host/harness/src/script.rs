//! What the simulated Modal does with the sandboxes of a scenario.

use crate::scenario::{Behaviour, End, SandboxFault, Scenario};
use crate::schedule::Schedule;
use flavor_host::contract::OutputStream;
use modal_local::simulated::{self, Launched, Script, Stream};
use std::sync::Arc;
use std::time::Duration;

/// Tags by which a plugin marks the sandboxes of steps.
pub(crate) const STEP_TAG: &str = "zenml_step";
pub(crate) const ATTEMPT_TAG: &str = "zenml_attempt";

/// What each attempt at each step does, and what befalls it.
#[derive(Debug)]
pub(crate) struct ScenarioScript {
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) schedule: Arc<Schedule>,
}

impl Script for ScenarioScript {
    fn behaviour(&self, sandbox: &Launched) -> simulated::Behaviour {
        let step = sandbox.tags.get(STEP_TAG).map_or("", String::as_str);
        let attempt = sandbox.tags.get(ATTEMPT_TAG);
        let attempt = attempt.and_then(|text| text.parse().ok()).unwrap_or(0);
        let behaviour = self.scenario.behaviour(step, attempt);
        match self.schedule.sandbox(step, attempt) {
            Some(fault) => converted(&befallen(behaviour, fault)),
            None => converted(behaviour),
        }
    }
}

/// The behaviour of a sandbox that a fault befalls. One that has ended by then ends
/// as it would have.
fn befallen(behaviour: &Behaviour, fault: SandboxFault) -> Behaviour {
    let mut befallen = behaviour.clone();
    let mut ends = |after: Duration, end: End| {
        if behaviour.runs.is_none_or(|runs| after < runs) {
            befallen.runs = Some(after);
            befallen.end = end;
        }
    };
    match fault {
        SandboxFault::NeverStarts => befallen.starts_after = None,
        SandboxFault::Hangs => befallen.runs = None,
        SandboxFault::Dies(after) => ends(after, End::Signal(9)),
        SandboxFault::Evicted(after) => ends(after, End::Evicted),
        SandboxFault::Lost(after) => ends(after, End::Lost),
    }
    befallen
}

fn converted(behaviour: &Behaviour) -> simulated::Behaviour {
    let written = behaviour.output.iter();
    simulated::Behaviour {
        starts_after: behaviour.starts_after,
        runs: behaviour.runs,
        end: match &behaviour.end {
            End::Exit(code) => simulated::End::Exit(*code),
            End::Signal(signal) => simulated::End::Signal(*signal),
            End::Lost => simulated::End::Lost,
            End::Evicted => simulated::End::Evicted,
            End::NeverRan(reason) => simulated::End::NeverRan(reason.clone()),
        },
        output: written
            .map(|piece| simulated::Written {
                after: piece.after,
                stream: match piece.stream {
                    OutputStream::Stdout => Stream::Stdout,
                    OutputStream::Stderr => Stream::Stderr,
                },
                data: piece.data.clone().into(),
            })
            .collect(),
        lingers: behaviour.lingers,
    }
}
