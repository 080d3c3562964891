//! What an earlier controller left of a run: where each step goes on.

use super::store::{Claim, Recorded, RecordedAttempt, StepStatus, StoreError, Trace};
use crate::dag::graph::{Graph, StepIndex};
use crate::dag::machine::{Beginning, Begun};
use std::collections::HashMap;

/// A run as it was left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Where the machine begins.
    pub(super) begun: Begun,
    /// What is left of attempts whose ends are not known.
    pub(super) traces: HashMap<StepIndex, Trace>,
}

impl Left {
    /// Finished steps stay finished, attempts that failed count, and the others
    /// are gone on with.
    ///
    /// # Errors
    ///
    /// When something is recorded that does not fit the pipeline.
    pub(super) fn of(claim: Claim, graph: &Graph) -> Result<Self, StoreError> {
        let by_name: HashMap<&str, StepIndex> =
            graph.steps().map(|step| (graph.name(step), step)).collect();
        let mut traces: HashMap<(String, u32), Trace> = claim
            .attempts
            .into_iter()
            .map(
                |RecordedAttempt {
                     step,
                     number,
                     trace,
                 }| ((step, number), trace),
            )
            .collect();
        let mut left = Self {
            begun: Begun {
                steps: vec![Beginning::Fresh; graph.len()],
                stop: claim.stop,
            },
            traces: HashMap::new(),
        };
        for Recorded {
            step,
            attempt,
            status,
        } in claim.steps
        {
            let index = by_name.get(step.as_str()).copied();
            let index = index.ok_or_else(|| other_pipeline(&step))?;
            let beginning = match status {
                StepStatus::Final(status) => Beginning::Final(status),
                StepStatus::Pending => Beginning::Pausing(attempt.saturating_add(1)),
                StepStatus::Running => {
                    let trace = traces.remove(&(step, attempt)).ok_or_else(no_trace)?;
                    left.traces.insert(index, trace);
                    Beginning::Running(attempt)
                }
            };
            if let Some(slot) = left.begun.steps.get_mut(index.get()) {
                *slot = beginning;
            }
        }
        Ok(left)
    }
}

fn other_pipeline(step: &str) -> StoreError {
    StoreError::Unavailable(format!(
        "it knows a step `{step}` of this run that the pipeline does not have: take the run up \
         again with the pipeline that it was started with"
    ))
}

fn no_trace() -> StoreError {
    StoreError::Unavailable("it says that a step runs, and knows no attempt at it".into())
}

#[cfg(test)]
mod tests {
    use super::Left;
    use crate::dag::graph::Graph;
    use crate::dag::machine::{Beginning, FinalStatus, StopMode};
    use crate::run::store::{Claim, Recorded, RecordedAttempt, StepStatus, StoreError, Trace};

    fn recorded(step: &str, attempt: u32, status: StepStatus) -> Recorded {
        Recorded {
            step: step.into(),
            attempt,
            status,
        }
    }

    fn attempt(step: &str, number: u32) -> RecordedAttempt {
        RecordedAttempt {
            step: step.into(),
            number,
            trace: Trace {
                idempotency_key: format!("{step} {number}"),
                app_id: "ap-1".into(),
                sandbox: None,
            },
        }
    }

    fn graph() -> Graph {
        Graph::new(["a", "b", "c", "d"].map(|name| (name, &[][..]))).unwrap()
    }

    #[test]
    fn every_step_goes_on_where_it_was_left() {
        let claim = Claim {
            epoch: 2,
            steps: vec![
                recorded("d", 1, StepStatus::Running),
                recorded("b", 0, StepStatus::Final(FinalStatus::Completed)),
                recorded("c", 4, StepStatus::Pending),
            ],
            attempts: vec![attempt("b", 0), attempt("d", 0), attempt("d", 1)],
            stop: Some(StopMode::Graceful),
        };
        let left = Left::of(claim, &graph()).unwrap();
        let expected = [
            Beginning::Fresh,
            Beginning::Final(FinalStatus::Completed),
            Beginning::Pausing(5),
            Beginning::Running(1),
        ];
        assert_eq!(left.begun.steps, expected);
        assert_eq!(left.begun.stop, Some(StopMode::Graceful));
        let keys: Vec<&str> = left
            .traces
            .values()
            .map(|trace| trace.idempotency_key.as_str())
            .collect();
        assert_eq!(keys, ["d 1"]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (step, says) in [("x", "`x`"), ("a", "no attempt")] {
            let claim = Claim {
                steps: vec![recorded(step, 0, StepStatus::Running)],
                ..Claim::default()
            };
            let Err(StoreError::Unavailable(reason)) = Left::of(claim, &graph()) else {
                panic!("{step} is refused");
            };
            assert!(reason.contains(says), "{reason}");
        }
    }
}
