//! Examples: one behaviour each.

use super::graph::{Graph, StepIndex};
use super::machine::{
    AttemptEnd, Beginning, Begun, Command, ExecutionMode, FinalStatus, Input, Machine, Retry,
    RunEnd, Standing, StopMode,
};
use std::num::NonZeroU32;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// A machine whose commands read like `start a`, `cut b`, `c completed`.
struct Run {
    machine: Machine,
    log: Vec<String>,
}

impl Run {
    fn new(mode: ExecutionMode, limit: u32, retries: u32, steps: &[(&str, &[&str])]) -> Self {
        Self::resumed(mode, limit, retries, steps, &Begun::default())
    }

    fn resumed(
        mode: ExecutionMode,
        limit: u32,
        retries: u32,
        steps: &[(&str, &[&str])],
        begun: &Begun,
    ) -> Self {
        let owned: Vec<(String, Vec<String>)> = steps
            .iter()
            .map(|(name, after)| {
                let after = after.iter().map(|name| (*name).to_owned()).collect();
                ((*name).to_owned(), after)
            })
            .collect();
        let graph = Graph::new(
            owned
                .iter()
                .map(|(name, after)| (name.as_str(), after.as_slice())),
        )
        .unwrap();
        let retry = Retry {
            max_retries: retries,
            delay: Duration::from_secs(2),
            backoff: 3.0,
        };
        let retries = vec![retry; graph.len()];
        let limit = NonZeroU32::new(limit);
        let (machine, commands) = Machine::resumed(graph, mode, limit, retries, HOUR, begun);
        let mut run = Self {
            machine,
            log: Vec::new(),
        };
        run.note(&commands);
        run
    }

    fn step(&self, name: &str) -> StepIndex {
        let graph = self.machine.graph();
        graph
            .steps()
            .find(|step| graph.name(*step) == name)
            .unwrap()
    }

    fn note(&mut self, commands: &[Command]) {
        for command in commands {
            let graph = self.machine.graph();
            let line = match command {
                Command::Start(step, 0) => format!("start {}", graph.name(*step)),
                Command::Start(step, n) => format!("start {} again ({n})", graph.name(*step)),
                Command::Resume(step, _) => format!("resume {}", graph.name(*step)),
                Command::Cut(step) => format!("cut {}", graph.name(*step)),
                Command::Pause(step, _, pause) => {
                    format!("pause {} {}s", graph.name(*step), pause.as_secs())
                }
                Command::Report(step, status) => format!("{} {status:?}", graph.name(*step)),
            };
            self.log.push(line);
        }
    }

    fn input(&mut self, input: Input) -> Vec<String> {
        self.log.clear();
        let commands = self.machine.apply(input);
        self.note(&commands);
        self.log.clone()
    }

    fn completed(&mut self, name: &str) -> Vec<String> {
        let step = self.step(name);
        self.input(Input::Ended(step, AttemptEnd::Completed))
    }

    fn failed(&mut self, name: &str) -> Vec<String> {
        let step = self.step(name);
        self.input(Input::Ended(step, AttemptEnd::Failed))
    }
}

const DIAMOND: &[(&str, &[&str])] = &[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])];
const PAIR_AND_REST: &[(&str, &[&str])] = &[
    ("bad", &[]),
    ("other", &[]),
    ("below", &["bad"]),
    ("after", &["other"]),
];

#[test]
fn dependants_start_in_the_same_breath() {
    let mut run = Run::new(ExecutionMode::FailFast, 0, 0, DIAMOND);
    assert_eq!(run.log, ["start a"]);
    assert_eq!(run.completed("a"), ["a Completed", "start b", "start c"]);
    assert_eq!(run.completed("c"), ["c Completed"]);
    assert_eq!(run.completed("b"), ["b Completed", "start d"]);
    assert_eq!(run.completed("d"), ["d Completed"]);
    assert_eq!(run.machine.end(), Some(RunEnd::Completed));
}

#[test]
fn a_cached_step_counts_as_done() {
    let mut run = Run::new(ExecutionMode::FailFast, 0, 0, DIAMOND);
    let a = run.step("a");
    assert_eq!(
        run.input(Input::Ended(a, AttemptEnd::Cached)),
        ["a Cached", "start b", "start c"]
    );
}

#[test]
fn the_limit_holds_and_declaration_decides_the_order() {
    let mut run = Run::new(
        ExecutionMode::FailFast,
        2,
        0,
        &[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[])],
    );
    assert_eq!(run.log, ["start a", "start b"]);
    assert_eq!(run.completed("b"), ["b Completed", "start c"]);
}

#[test]
fn continue_on_failure_skips_only_what_is_below() {
    let mut run = Run::new(ExecutionMode::ContinueOnFailure, 0, 0, PAIR_AND_REST);
    assert_eq!(run.failed("bad"), ["bad Failed", "below Skipped"]);
    assert_eq!(run.completed("other"), ["other Completed", "start after"]);
    assert_eq!(run.completed("after"), ["after Completed"]);
    assert_eq!(run.machine.end(), Some(RunEnd::Failed));
}

#[test]
fn stop_on_failure_lets_running_steps_finish() {
    let mut run = Run::new(ExecutionMode::StopOnFailure, 0, 0, PAIR_AND_REST);
    assert_eq!(
        run.failed("bad"),
        ["bad Failed", "below Skipped", "after Skipped"]
    );
    assert_eq!(run.completed("other"), ["other Completed"]);
    assert_eq!(run.machine.end(), Some(RunEnd::Failed));
}

#[test]
fn fail_fast_ends_running_steps() {
    let mut run = Run::new(ExecutionMode::FailFast, 0, 0, PAIR_AND_REST);
    assert_eq!(
        run.failed("bad"),
        ["bad Failed", "below Skipped", "after Skipped", "cut other"]
    );
    assert_eq!(run.machine.end(), None);
    // It finished by itself in the meantime: the decision stands.
    assert_eq!(run.completed("other"), ["other Cancelled"]);
    assert_eq!(run.machine.end(), Some(RunEnd::Failed));
}

#[test]
fn retries_pause_longer_each_time_and_then_fail() {
    let mut run = Run::new(ExecutionMode::FailFast, 0, 2, &[("a", &[])]);
    let a = run.step("a");
    assert_eq!(run.failed("a"), ["pause a 2s"]);
    assert_eq!(run.input(Input::PauseOver(a)), ["start a again (1)"]);
    assert_eq!(run.failed("a"), ["pause a 6s"]);
    assert_eq!(run.input(Input::PauseOver(a)), ["start a again (2)"]);
    assert_eq!(run.failed("a"), ["a Failed"]);
}

#[test]
fn a_pausing_step_does_not_hold_a_place() {
    let mut run = Run::new(
        ExecutionMode::ContinueOnFailure,
        1,
        1,
        &[("a", &[]), ("b", &[])],
    );
    assert_eq!(run.failed("a"), ["pause a 2s", "start b"]);
}

#[test]
fn a_graceful_stop_waits_and_a_forced_one_cuts() {
    let mut run = Run::new(ExecutionMode::FailFast, 0, 0, DIAMOND);
    assert_eq!(
        run.input(Input::Stop(StopMode::Graceful)),
        ["b Skipped", "c Skipped", "d Skipped"]
    );
    assert_eq!(run.input(Input::Stop(StopMode::Force)), ["cut a"]);
    assert_eq!(run.failed("a"), ["a Cancelled"]);
    assert_eq!(run.machine.end(), Some(RunEnd::Stopped));
}

#[test]
fn a_stop_never_weakens() {
    let mut run = Run::new(ExecutionMode::FailFast, 0, 0, &[("a", &[])]);
    assert_eq!(run.input(Input::Stop(StopMode::Force)), ["cut a"]);
    assert_eq!(run.input(Input::Stop(StopMode::Graceful)), [] as [&str; 0]);
    assert_eq!(run.completed("a"), ["a Cancelled"]);
    assert_eq!(run.machine.end(), Some(RunEnd::Stopped));
}

#[test]
fn a_stop_after_the_end_changes_nothing() {
    let mut run = Run::new(ExecutionMode::FailFast, 0, 0, &[("a", &[])]);
    run.completed("a");
    run.input(Input::Stop(StopMode::Force));
    assert_eq!(run.machine.end(), Some(RunEnd::Completed));
}

#[test]
fn a_stop_drops_retries_but_remembers_the_failure() {
    let mut run = Run::new(ExecutionMode::FailFast, 0, 3, &[("a", &[])]);
    run.failed("a");
    assert_eq!(run.input(Input::Stop(StopMode::Graceful)), ["a Failed"]);
    assert_eq!(run.machine.end(), Some(RunEnd::Stopped));
}

#[test]
fn an_abort_is_a_failure() {
    let mut run = Run::new(ExecutionMode::ContinueOnFailure, 0, 3, DIAMOND);
    assert_eq!(
        run.input(Input::Abort),
        ["b Skipped", "c Skipped", "d Skipped", "cut a"]
    );
    run.failed("a");
    assert_eq!(run.machine.end(), Some(RunEnd::Failed));
}

#[test]
fn an_empty_run_is_complete() {
    let run = Run::new(ExecutionMode::FailFast, 0, 0, &[]);
    assert_eq!(run.machine.end(), Some(RunEnd::Completed));
}

fn begun(steps: impl Into<Vec<Beginning>>) -> Begun {
    Begun {
        steps: steps.into(),
        stop: None,
    }
}

#[test]
fn what_somebody_else_began_goes_on_where_it_stands() {
    let beginnings = [
        Beginning::Final(FinalStatus::Completed),
        Beginning::Running(0),
        Beginning::Final(FinalStatus::Failed),
        Beginning::Fresh,
    ];
    let mode = ExecutionMode::ContinueOnFailure;
    let run = Run::resumed(mode, 1, 0, DIAMOND, &begun(beginnings));
    assert_eq!(run.log, ["resume b", "d Skipped"]);
    let mut run = Run::resumed(mode, 1, 0, DIAMOND, &begun(&beginnings[..2]));
    assert_eq!(run.log, ["resume b"], "the one place is taken");
    assert_eq!(run.completed("b"), ["b Completed", "start c"]);
}

#[test]
fn a_step_about_to_start_needs_no_second_look_at_those_before_it() {
    let steps = begun([Beginning::Fresh, Beginning::Ready]);
    let mode = ExecutionMode::ContinueOnFailure;
    let mut run = Run::resumed(mode, 0, 0, &[("a", &[]), ("b", &["a"])], &steps);
    assert_eq!(run.log, ["start a", "start b"]);
    assert_eq!(run.completed("a"), ["a Completed"]);
    assert_eq!(run.completed("b"), ["b Completed"]);
    assert_eq!(run.machine.end(), Some(RunEnd::Completed));
}

#[test]
fn attempts_of_somebody_else_count() {
    let mode = ExecutionMode::ContinueOnFailure;
    let steps: &[(&str, &[&str])] = &[("a", &[]), ("b", &[])];
    let left = begun([Beginning::Running(2), Beginning::Pausing(1)]);
    let mut run = Run::resumed(mode, 0, 2, steps, &left);
    assert_eq!(run.log, ["resume a", "pause b 2s"]);
    assert_eq!(run.failed("a"), ["a Failed"], "the third was the last");
    let b = run.step("b");
    assert_eq!(run.input(Input::PauseOver(b)), ["start b again (1)"]);
    assert_eq!(run.failed("b"), ["pause b 6s"]);
}

#[test]
fn a_stop_outlives_whoever_heard_of_it() {
    let mode = ExecutionMode::ContinueOnFailure;
    let left = |stop| Begun {
        steps: vec![
            Beginning::Final(FinalStatus::Completed),
            Beginning::Running(0),
        ],
        stop: Some(stop),
    };
    let mut run = Run::resumed(mode, 0, 3, DIAMOND, &left(StopMode::Graceful));
    assert_eq!(run.log, ["resume b", "c Skipped", "d Skipped"]);
    assert_eq!(run.completed("b"), ["b Completed"]);
    assert_eq!(run.machine.end(), Some(RunEnd::Stopped));
    let mut run = Run::resumed(mode, 0, 3, DIAMOND, &left(StopMode::Force));
    assert_eq!(run.log, ["resume b", "c Skipped", "d Skipped", "cut b"]);
    assert_eq!(run.completed("b"), ["b Cancelled"]);
    assert_eq!(run.machine.end(), Some(RunEnd::Stopped));
}

#[test]
fn a_run_that_had_only_to_be_recorded_ends_at_once() {
    let run = |steps: [FinalStatus; 2], stop| {
        let left = Begun {
            steps: steps.map(Beginning::Final).to_vec(),
            stop,
        };
        let mode = ExecutionMode::FailFast;
        Run::resumed(mode, 0, 0, &[("a", &[]), ("b", &["a"])], &left)
    };
    let (completed, skipped) = (FinalStatus::Completed, FinalStatus::Skipped);
    let ends = [
        run([completed, FinalStatus::Cached], None),
        run([completed, skipped], Some(StopMode::Graceful)),
        run([FinalStatus::Cancelled, skipped], None),
        run([FinalStatus::Failed, skipped], None),
    ];
    for run in &ends {
        assert_eq!(run.log, [""; 0]);
    }
    let expected = [
        RunEnd::Completed,
        RunEnd::Stopped,
        RunEnd::Failed,
        RunEnd::Failed,
    ];
    assert_eq!(ends.map(|run| run.machine.end().unwrap()), expected);
}

#[test]
fn a_run_that_is_left_waits_for_nobody() {
    let mut run = Run::new(ExecutionMode::FailFast, 1, 0, PAIR_AND_REST);
    assert_eq!(
        run.input(Input::Leave),
        ["other Skipped", "below Skipped", "after Skipped"]
    );
    assert_eq!(run.machine.end(), Some(RunEnd::Stopped));
    let standings = ["bad", "other", "below"].map(|name| run.machine.standing(run.step(name)));
    assert_eq!(
        standings,
        [Standing::Left, Standing::Ready, Standing::NotReady]
    );
    assert_eq!(run.failed("bad"), [""; 0], "too late");
}

#[test]
fn what_cannot_be_ended_is_not_called_cancelled() {
    let mut run = Run::new(ExecutionMode::FailFast, 0, 0, &[("a", &[]), ("b", &[])]);
    run.input(Input::Stop(StopMode::Force));
    let (a, b) = (run.step("a"), run.step("b"));
    assert_eq!(run.input(Input::Ended(a, AttemptEnd::Surviving)), [""; 0]);
    assert_eq!(
        run.input(Input::Ended(b, AttemptEnd::Failed)),
        ["b Cancelled"]
    );
    assert_eq!(run.machine.standing(a), Standing::Left);
    assert_eq!(run.machine.end(), Some(RunEnd::Stopped));
}
