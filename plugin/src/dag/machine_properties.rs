//! Random graphs, outcomes, orders and stops: what must hold for all of them.

use super::graph::{Graph, StepIndex};
use super::machine::{
    AttemptEnd, Command, ExecutionMode, FinalStatus, Input, Machine, Retry, RunEnd, StopMode,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

#[derive(Debug, Clone)]
struct Scenario {
    /// Upstream steps of each step, all declared before it.
    upstream: Vec<Vec<usize>>,
    /// How each attempt of each step ends.
    failures: Vec<u32>,
    mode: ExecutionMode,
    limit: u32,
    max_retries: u32,
    /// Which of the pending things happens next.
    choices: Vec<u16>,
    /// After how many events a stop comes, and which.
    stop: Option<(usize, StopMode)>,
    abort: Option<usize>,
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let mode = prop_oneof![
        Just(ExecutionMode::FailFast),
        Just(ExecutionMode::StopOnFailure),
        Just(ExecutionMode::ContinueOnFailure),
    ];
    let stop_mode = prop_oneof![Just(StopMode::Graceful), Just(StopMode::Force)];
    (1_usize..24).prop_flat_map(move |steps| {
        let upstream = (0..steps)
            .map(|step| proptest::collection::vec(0..step.max(1), 0..4))
            .collect::<Vec<_>>();
        (
            upstream,
            proptest::collection::vec(prop_oneof![5 => Just(0_u32), 1 => 1_u32..4], steps),
            mode.clone(),
            0_u32..4,
            0_u32..3,
            proptest::collection::vec(any::<u16>(), 200),
            proptest::option::weighted(0.4, (0_usize..30, stop_mode.clone())),
            proptest::option::weighted(0.1, 0_usize..30),
        )
            .prop_map(
                |(mut upstream, failures, mode, limit, max_retries, choices, stop, abort)| {
                    if let Some(first) = upstream.first_mut() {
                        first.clear();
                    }
                    Scenario {
                        upstream,
                        failures,
                        mode,
                        limit,
                        max_retries,
                        choices,
                        stop,
                        abort,
                    }
                },
            )
    })
}

/// Plays a scenario and checks each command as it comes.
struct Checker<'a> {
    scenario: &'a Scenario,
    machine: Machine,
    active: BTreeMap<StepIndex, u32>,
    pausing: BTreeSet<StepIndex>,
    cut: BTreeSet<StepIndex>,
    started: BTreeMap<StepIndex, u32>,
    reported: BTreeMap<StepIndex, FinalStatus>,
    stop: Option<StopMode>,
    no_more_starts: bool,
}

impl<'a> Checker<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let names: Vec<String> = (0..scenario.upstream.len())
            .map(|n| format!("s{n}"))
            .collect();
        let after: Vec<Vec<String>> = scenario
            .upstream
            .iter()
            .map(|list| list.iter().map(|n| format!("s{n}")).collect())
            .collect();
        let graph = Graph::new(
            names
                .iter()
                .map(String::as_str)
                .zip(after.iter().map(Vec::as_slice)),
        )
        .unwrap();
        let retry = Retry {
            max_retries: scenario.max_retries,
            delay: Duration::from_secs(1),
            backoff: 2.0,
        };
        let retries = vec![retry; graph.len()];
        let (machine, commands) = Machine::new(
            graph,
            scenario.mode,
            NonZeroU32::new(scenario.limit),
            retries,
            Duration::from_secs(60),
        );
        let mut checker = Self {
            scenario,
            machine,
            active: BTreeMap::new(),
            pausing: BTreeSet::new(),
            cut: BTreeSet::new(),
            started: BTreeMap::new(),
            reported: BTreeMap::new(),
            stop: None,
            no_more_starts: false,
        };
        checker.take(&commands);
        checker
    }

    fn take(&mut self, commands: &[Command]) {
        for command in commands {
            match *command {
                Command::Start(step, attempt) => self.check_start(step, attempt),
                Command::Resume(..) => panic!("nothing was begun by somebody else"),
                Command::Cut(step) => {
                    assert!(
                        self.active.contains_key(&step),
                        "cut something that does not run"
                    );
                    assert!(self.cut.insert(step), "cut twice");
                }
                Command::Pause(step, attempt, pause) => {
                    assert!(attempt <= self.scenario.max_retries);
                    assert!(pause <= Duration::from_secs(60));
                    assert!(self.pausing.insert(step));
                }
                Command::Report(step, status) => {
                    self.pausing.remove(&step);
                    assert!(!self.active.contains_key(&step), "reported while it runs");
                    assert_eq!(self.reported.insert(step, status), None, "reported twice");
                    if status == FinalStatus::Skipped {
                        assert!(!self.started.contains_key(&step), "skipped, but it ran");
                    }
                    if status == FinalStatus::Failed
                        && self.scenario.mode != ExecutionMode::ContinueOnFailure
                    {
                        self.no_more_starts = true;
                    }
                }
            }
        }
        if self.scenario.limit > 0 {
            assert!(
                self.active.len() <= self.scenario.limit as usize,
                "limit exceeded"
            );
        }
    }

    fn check_start(&mut self, step: StepIndex, attempt: u32) {
        assert!(!self.no_more_starts, "started after a stop or a failure");
        assert!(!self.reported.contains_key(&step), "started after its end");
        assert_eq!(self.active.insert(step, attempt), None, "started twice");
        let before = self.started.insert(step, attempt);
        assert_eq!(
            attempt,
            before.map_or(0, |before| before + 1),
            "attempts do not count up"
        );
        for upstream in &self.scenario.upstream[step.get()] {
            let status = self
                .reported
                .iter()
                .find(|(other, _)| other.get() == *upstream);
            assert!(
                status.is_some_and(|(_, status)| status.is_success()),
                "started before its upstream step completed"
            );
        }
    }

    /// Lets one pending thing happen. False when nothing is pending.
    fn happen(&mut self, choice: usize) -> bool {
        let pending: Vec<(StepIndex, bool)> = self
            .active
            .keys()
            .map(|step| (*step, true))
            .chain(self.pausing.iter().map(|step| (*step, false)))
            .collect();
        if pending.is_empty() {
            return false;
        }
        let (step, is_active) = pending[choice % pending.len()];
        let input = if is_active {
            let attempt = self.active.remove(&step).unwrap();
            let fails = attempt < self.scenario.failures[step.get()];
            Input::Ended(
                step,
                if fails {
                    AttemptEnd::Failed
                } else {
                    AttemptEnd::Completed
                },
            )
        } else {
            self.pausing.remove(&step);
            Input::PauseOver(step)
        };
        let commands = self.machine.apply(input);
        self.take(&commands);
        true
    }

    fn stop(&mut self, mode: StopMode) {
        if self.machine.end().is_none() {
            self.stop = Some(mode);
        }
        self.no_more_starts = true;
        let commands = self.machine.apply(Input::Stop(mode));
        self.take(&commands);
        if mode == StopMode::Force {
            assert!(
                self.active.keys().all(|step| self.cut.contains(step)),
                "left running"
            );
        }
    }

    fn check_end(&self) {
        let end = self.machine.end();
        assert!(end.is_some(), "nothing pending, but the run has not ended");
        assert_eq!(
            self.reported.len(),
            self.scenario.upstream.len(),
            "a step was forgotten"
        );
        let all_done = self.reported.values().all(|status| status.is_success());
        match end {
            Some(RunEnd::Stopped) => assert!(self.stop.is_some()),
            Some(RunEnd::Completed) => assert!(all_done && self.stop.is_none()),
            Some(RunEnd::Failed) => assert!(self.stop.is_none(), "a stop wins over a failure"),
            None => panic!("checked above"),
        }
        if self.scenario.stop.is_none() && self.scenario.abort.is_none() {
            assert_eq!(all_done, end == Some(RunEnd::Completed));
        }
        for step in &self.cut {
            assert_eq!(self.reported[step], FinalStatus::Cancelled);
        }
    }
}

proptest! {
    #[test]
    fn invariants_hold(scenario in scenario()) {
        let mut checker = Checker::new(&scenario);
        let mut choices = scenario.choices.iter().cycle();
        for event in 0.. {
            if let Some((_, mode)) = scenario.stop.filter(|(at, _)| *at == event) {
                checker.stop(mode);
            }
            if scenario.abort == Some(event) {
                checker.no_more_starts = true;
                let commands = checker.machine.apply(Input::Abort);
                checker.take(&commands);
            }
            let choice = choices.next().copied().unwrap_or_default();
            if !checker.happen(usize::from(choice)) {
                break;
            }
        }
        checker.check_end();
    }

    #[test]
    fn stray_inputs_change_nothing(scenario in scenario()) {
        let mut checker = Checker::new(&scenario);
        while checker.happen(0) {
            let ended: Vec<_> = checker.reported.keys().copied().collect();
            for step in ended {
                prop_assert_eq!(
                    checker.machine.apply(Input::Ended(step, AttemptEnd::Completed)),
                    []
                );
                prop_assert_eq!(checker.machine.apply(Input::PauseOver(step)), []);
            }
        }
        checker.check_end();
    }
}
