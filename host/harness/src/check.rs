//! What must hold in every run, whatever goes wrong. Judged from outside: by what
//! the service has seen, what was recorded and what was told.

use crate::limits;
use crate::outcome::{Rule, StepOutcome, Violation};
use crate::scenario::{Fault, RunEnd, Scenario};
use crate::script::{ATTEMPT_TAG, STEP_TAG};
use flavor_host::contract::{
    Change, Event, ExecutionMode, Pipeline, RunStatus, Step, StepStatus, StopMode,
};
use modal_local::simulated::SandboxState;
use modal_proto::client::GenericStatus;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Everything that there is to see of a run.
pub(crate) struct Seen<'r> {
    pub(crate) scenario: &'r Scenario,
    pub(crate) pipeline: &'r Pipeline,
    pub(crate) end: RunEnd,
    pub(crate) error: Option<&'r str>,
    pub(crate) steps: &'r [StepOutcome],
    pub(crate) events: &'r [(Duration, Event)],
    pub(crate) changes: &'r [Change],
    /// In the order of creation.
    pub(crate) sandboxes: &'r [SandboxState],
    pub(crate) calls: &'r BTreeMap<String, u64>,
    pub(crate) faults: &'r [Fault],
    pub(crate) duration: Duration,
    /// The largest memory of the plugin, in bytes.
    pub(crate) memory: usize,
    /// Time since 1970 at the start.
    pub(crate) origin: Duration,
    pub(crate) secrets: &'r [String],
    /// Log lines with a secret in them.
    pub(crate) leaks: u64,
}

/// Judges a run by every rule.
pub(crate) fn all(seen: &Seen<'_>, violations: &mut Vec<Violation>) {
    let by_step = by_step(seen.sandboxes);
    let mut judge = Judge {
        seen,
        by_step,
        violations,
    };
    judge.upstreams_first();
    judge.runs_once();
    judge.nothing_left();
    judge.stop_wins();
    judge.run_is_consistent();
    judge.steps_are_consistent();
    judge.records_are_consistent();
    judge.no_secrets();
    judge.bounded();
}

/// How many sandboxes there were at one time, at most.
pub(crate) fn most_running(sandboxes: &[SandboxState]) -> u64 {
    let begins = sandboxes.iter().map(|sandbox| (sandbox.created_at, 1_i64));
    let ends = sandboxes.iter().filter_map(|sandbox| {
        let end = sandbox.ended.as_ref()?;
        Some((end.at, -1_i64))
    });
    let mut moments: Vec<_> = begins.chain(ends).collect();
    // Ends before begins: whoever takes a place that became free is no more.
    moments.sort_unstable();
    let mut running = 0_i64;
    let counts = moments.into_iter().map(|(_, change)| {
        running += change;
        running
    });
    u64::try_from(counts.max().unwrap_or(0)).unwrap_or(0)
}

fn by_step(sandboxes: &[SandboxState]) -> HashMap<&str, Vec<&SandboxState>> {
    let mut by_step: HashMap<&str, Vec<&SandboxState>> = HashMap::new();
    for sandbox in sandboxes {
        let step = sandbox.tags.get(STEP_TAG).map_or("", String::as_str);
        by_step.entry(step).or_default().push(sandbox);
    }
    by_step
}

fn attempt(sandbox: &SandboxState) -> Option<u32> {
    sandbox.tags.get(ATTEMPT_TAG)?.parse().ok()
}

fn succeeded(sandbox: &SandboxState) -> bool {
    sandbox
        .ended
        .as_ref()
        .is_some_and(|end| end.status == GenericStatus::Success && end.code == 0)
}

fn is_done(status: StepStatus) -> bool {
    matches!(status, StepStatus::Completed | StepStatus::Cached)
}

struct Judge<'s, 'v> {
    seen: &'s Seen<'s>,
    by_step: HashMap<&'s str, Vec<&'s SandboxState>>,
    violations: &'v mut Vec<Violation>,
}

impl<'s> Judge<'s, '_> {
    fn violated(&mut self, rule: Rule, what: String) {
        if self.violations.len() < limits::VIOLATIONS {
            self.violations.push(Violation { rule, what });
        }
    }

    fn of(&self, step: &str) -> &[&'s SandboxState] {
        self.by_step.get(step).map_or(&[], Vec::as_slice)
    }

    fn outcomes(&self) -> HashMap<&'s str, &'s StepOutcome> {
        let steps = self.seen.steps.iter();
        steps.map(|step| (step.name.as_str(), step)).collect()
    }

    fn upstreams_first(&mut self) {
        let outcomes = self.outcomes();
        for step in &self.seen.pipeline.steps {
            let Some(first) = self.of(&step.name).first().copied() else {
                continue;
            };
            for upstream in &step.after {
                let is_cached = outcomes
                    .get(upstream.as_str())
                    .is_some_and(|outcome| outcome.status == StepStatus::Cached);
                let in_time = self.of(upstream).iter().any(|sandbox| {
                    let end = sandbox.ended.as_ref();
                    succeeded(sandbox) && end.is_some_and(|end| end.at <= first.created_at)
                });
                if !is_cached && !in_time {
                    let what = format!("`{}` started before `{upstream}` was done", step.name);
                    self.violated(Rule::UpstreamsFirst, what);
                }
            }
        }
    }

    fn runs_once(&mut self) {
        for step in &self.seen.pipeline.steps {
            let mut found = Vec::new();
            let sandboxes = self.of(&step.name);
            for (sandbox, next) in sandboxes.iter().zip(sandboxes.iter().skip(1)) {
                let (name, end) = (&step.name, sandbox.ended.as_ref());
                if attempt(sandbox) == attempt(next) {
                    found.push(format!("`{name}` has two sandboxes for one attempt"));
                }
                if end.is_none_or(|end| end.at > next.created_at) {
                    found.push(format!("`{name}` was started while it ran already"));
                }
                if succeeded(sandbox) {
                    found.push(format!("`{name}` was started again after it had completed"));
                }
            }
            let most = u64::from(step.retry.max_retries) + 1;
            if sandboxes.len() as u64 > most {
                let (name, times) = (&step.name, sandboxes.len());
                found.push(format!(
                    "`{name}` ran {times} times, and may run {most} times"
                ));
            }
            for what in found {
                self.violated(Rule::RunsOnce, what);
            }
        }
        let strangers = self.of("").len();
        if strangers > 0 {
            let what = format!("{strangers} sandboxes belong to no step");
            self.violated(Rule::RunsOnce, what);
        }
    }

    fn nothing_left(&mut self) {
        let seen = self.seen;
        let left = seen.sandboxes.iter().filter(|sandbox| {
            sandbox.ended.is_none() && !self.is_owned(sandbox) && !self.was_told(&sandbox.id)
        });
        let left: Vec<_> = left
            .map(|sandbox| {
                let step = sandbox.tags.get(STEP_TAG).map_or("?", String::as_str);
                format!("{} of `{step}` still runs, and nobody was told", sandbox.id)
            })
            .collect();
        for what in left {
            self.violated(Rule::NothingLeft, what);
        }
    }

    /// Whether a later controller can find a sandbox: only runs that have not ended
    /// have one.
    fn is_owned(&self, sandbox: &SandboxState) -> bool {
        let step = sandbox.tags.get(STEP_TAG).map(String::as_str);
        self.seen.end == RunEnd::Interrupted
            && self.seen.changes.iter().any(|change| match change {
                Change::Intent(intent) => {
                    Some(intent.step.as_str()) == step && Some(intent.attempt) == attempt(sandbox)
                }
                _ => false,
            })
    }

    /// Whether somebody was told that a sandbox may still run.
    fn was_told(&self, id: &str) -> bool {
        self.seen.events.iter().any(|(_, event)| match event {
            Event::Warning(warning) => warning.message.contains(id),
            Event::StepFinished(finished) => finished
                .reason
                .as_ref()
                .is_some_and(|reason| reason.contains(id)),
            _ => false,
        })
    }

    fn stop_wins(&mut self) {
        let seen = self.seen;
        let forced = seen
            .scenario
            .stops
            .iter()
            .find(|(_, mode)| *mode == StopMode::Force);
        let Some((at, _)) = forced else {
            return;
        };
        // What is on its way arrives, and word of the stop may be late.
        let heard = at.saturating_add(self.slack());
        // A request that got lost is repeated, to learn whether it arrived; what
        // comes of it is ended at once.
        let is_ended_at_once = |sandbox: &SandboxState| {
            let end = sandbox.ended.as_ref();
            end.is_some_and(|end| {
                end.status == GenericStatus::Terminated
                    && end.at <= sandbox.created_at.saturating_add(self.slack())
            })
        };
        let late = seen.sandboxes.iter().filter(|sandbox| {
            sandbox.created_at > seen.origin.saturating_add(heard)
                && (seen.faults.is_empty() || !is_ended_at_once(sandbox))
        });
        let late: Vec<_> = late.map(|sandbox| sandbox.id.clone()).collect();
        for id in late {
            let what = format!("{id} was created after a forced stop");
            self.violated(Rule::StopWins, what);
        }
        if seen.duration > heard
            && seen.end == RunEnd::Ended(RunStatus::Failed)
            && seen.error.is_none()
        {
            let what = "a run that was stopped by force is said to have failed".to_owned();
            self.violated(Rule::StopWins, what);
        }
    }

    /// How late anything may be because of faults.
    fn slack(&self) -> Duration {
        let own = Duration::from_secs(1).saturating_add(self.seen.scenario.service.latency * 4);
        let longest = Duration::from_millis(limits::LONGEST_DELAY_MILLIS) * 4;
        let kills = self.seen.faults.iter().filter_map(|fault| match fault {
            Fault::Kill { restart_after, .. } => Some(*restart_after),
            _ => None,
        });
        match self.seen.faults.is_empty() {
            true => own,
            false => own.saturating_add(longest).saturating_add(kills.sum()),
        }
    }

    fn run_is_consistent(&mut self) {
        let seen = self.seen;
        let RunEnd::Ended(status) = seen.end else {
            return;
        };
        let all_done = seen.steps.iter().all(|step| is_done(step.status));
        let any_failed = seen
            .steps
            .iter()
            .any(|step| step.status == StepStatus::Failed);
        let stop_asked = seen
            .scenario
            .stops
            .iter()
            .any(|(at, _)| *at <= seen.duration);
        let fits = match status {
            RunStatus::Completed => all_done,
            RunStatus::Failed => any_failed || seen.error.is_some(),
            RunStatus::Stopped => stop_asked,
            _ => false,
        };
        if !fits {
            let word = status.word();
            let what = format!("the run is `{word}`, which does not follow from its steps");
            self.violated(Rule::Consistent, what);
        }
    }

    fn steps_are_consistent(&mut self) {
        let seen = self.seen;
        if !matches!(seen.end, RunEnd::Ended(_)) {
            return;
        }
        let outcomes = self.outcomes();
        // Without an early end every step is owed its turns.
        let runs_all = seen.pipeline.execution_mode == ExecutionMode::ContinueOnFailure
            && seen.scenario.stops.is_empty()
            && seen.error.is_none();
        for step in &seen.pipeline.steps {
            let Some(outcome) = outcomes.get(step.name.as_str()) else {
                continue;
            };
            let wrong = self.step_is_wrong(step, outcome, &outcomes, runs_all);
            if let Some(why) = wrong {
                let word = outcome.status.word();
                let what = format!("`{}` is `{word}`, but {why}", step.name);
                self.violated(Rule::Consistent, what);
            }
        }
    }

    fn step_is_wrong(
        &self,
        step: &Step,
        outcome: &StepOutcome,
        outcomes: &HashMap<&str, &StepOutcome>,
        runs_all: bool,
    ) -> Option<&'static str> {
        let sandboxes = self.of(&step.name);
        let last_succeeded = sandboxes.last().is_some_and(|sandbox| succeeded(sandbox));
        let is_blocked = step.after.iter().any(|upstream| {
            let upstream = outcomes.get(upstream.as_str());
            upstream.is_some_and(|upstream| !is_done(upstream.status))
        });
        match outcome.status {
            StepStatus::Completed if !last_succeeded => Some("its sandbox did not succeed"),
            StepStatus::Failed if last_succeeded && self.seen.error.is_none() => {
                Some("its sandbox succeeded")
            }
            StepStatus::Failed if runs_all && outcome.attempts <= step.retry.max_retries => {
                Some("it has retries left")
            }
            StepStatus::Cached if !sandboxes.is_empty() => Some("it ran"),
            StepStatus::Cached if !self.seen.scenario.cached.contains(&step.name) => {
                Some("no earlier run has done it")
            }
            StepStatus::Skipped if !sandboxes.is_empty() => Some("it ran"),
            StepStatus::Skipped if runs_all && !is_blocked => {
                Some("all that it comes after has completed")
            }
            StepStatus::Cancelled if runs_all => Some("nobody asked for that"),
            StepStatus::Pending | StepStatus::Starting | StepStatus::Running => {
                Some("the run is over")
            }
            _ if runs_all && is_blocked && outcome.status != StepStatus::Skipped => {
                Some("not all that it comes after has completed")
            }
            _ => None,
        }
    }

    /// What was recorded last is what was told last.
    fn records_are_consistent(&mut self) {
        let seen = self.seen;
        let RunEnd::Ended(status) = seen.end else {
            return;
        };
        let store_lost = seen
            .faults
            .iter()
            .any(|fault| matches!(fault, Fault::Store { .. }));
        if store_lost {
            return;
        }
        let mut recorded: HashMap<&str, StepStatus> = HashMap::new();
        let mut of_run = None;
        for change in seen.changes {
            match change {
                Change::Step(step) => {
                    recorded.insert(&step.step, step.status);
                }
                Change::Run(run) => of_run = Some(run.status),
                _ => {}
            }
        }
        if of_run != Some(status) {
            let what = format!(
                "the run ended as `{}`, which is not recorded",
                status.word()
            );
            self.violated(Rule::Consistent, what);
        }
        let different: Vec<_> = seen
            .steps
            .iter()
            .filter(|step| {
                // Steps that never began need no record.
                let record = recorded.get(step.name.as_str());
                record.is_some_and(|record| *record != step.status)
            })
            .map(|step| {
                format!(
                    "`{}` ended as `{}`, which is not recorded",
                    step.name,
                    step.status.word()
                )
            })
            .collect();
        for what in different {
            self.violated(Rule::Consistent, what);
        }
    }

    fn no_secrets(&mut self) {
        let seen = self.seen;
        let holds = |text: &str| seen.secrets.iter().any(|secret| text.contains(secret));
        let told = seen.events.iter().any(|(_, event)| match event {
            // What commands write is theirs.
            Event::Output(_) => false,
            event => holds(&format!("{event:?}")),
        });
        let recorded = seen
            .changes
            .iter()
            .any(|change| holds(&format!("{change:?}")));
        for (is_violated, place) in [
            (told, "an event"),
            (recorded, "the run store"),
            (seen.leaks > 0, "the log"),
        ] {
            if is_violated {
                self.violated(Rule::NoSecrets, format!("a token is in {place}"));
            }
        }
    }

    fn bounded(&mut self) {
        let seen = self.seen;
        let calls: u64 = seen.calls.values().sum();
        let attempts: u64 = seen.steps.iter().map(|step| u64::from(step.attempts)).sum();
        let most = limits::CALLS_PER_RUN
            .saturating_add(attempts.saturating_mul(limits::CALLS_PER_ATTEMPT))
            .saturating_add(
                seen.duration
                    .as_secs()
                    .saturating_mul(limits::CALLS_PER_SECOND),
            );
        if calls > most {
            let what = format!("{calls} calls for {attempts} attempts are more than {most}");
            self.violated(Rule::Bounded, what);
        }
        if seen.memory > limits::PLUGIN_MEMORY {
            let what = format!("the plugin takes {} bytes of memory", seen.memory);
            self.violated(Rule::Bounded, what);
        }
    }
}
