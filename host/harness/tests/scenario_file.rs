//! Scenario files: what they say, and what is said about wrong ones.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking, their helpers too"
)]

use std::io;
use std::time::Duration;

use flavor_harness::scenario::{
    CallFault, Calls, Count, End, Fault, Milestone, Moment, Occasion, Passed, Range, Rpc, RunEnd,
    SandboxFault, Scenario, StoreCall, StoreFault, When,
};
use flavor_host::contract::{OutputStream, RunStatus, StepStatus, StopMode};

const WHOLE: &str = include_str!("whole.yaml");

fn no_file(_: &str) -> io::Result<Vec<u8>> {
    Err(io::ErrorKind::NotFound.into())
}

fn parse(text: &str) -> Scenario {
    match Scenario::parse("s.yaml", text.as_bytes(), no_file) {
        Ok(scenario) => scenario,
        Err(invalid) => panic!("{invalid}"),
    }
}

fn problems(text: &str) -> String {
    let invalid = Scenario::parse("s.yaml", text.as_bytes(), no_file);
    invalid.unwrap_err().to_string()
}

/// A scenario of one step with some lines more.
fn with(lines: &str) -> String {
    format!("pipeline: {{name: p, steps: {{train: {{command: [t]}}}}}}\n{lines}\n")
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

#[test]
fn every_key_is_understood() {
    let scenario = parse(WHOLE);
    assert_eq!(scenario.name, "every key");
    assert_eq!(scenario.pipeline.steps.len(), 3);
    assert_eq!(scenario.max_parallelism.map(u32::from), Some(2));
    assert_eq!(scenario.seed, 7);
    assert_eq!(scenario.service.gpus["T4"], 1);
    assert_eq!(scenario.service.image_build, seconds(60));
    assert_eq!(scenario.cached, ["data"]);
    assert_eq!(
        scenario.stops,
        [
            (seconds(10), StopMode::Graceful),
            (seconds(20), StopMode::Force)
        ]
    );

    let first = scenario.behaviour("train", 0);
    assert_eq!(first.end, End::Signal(9));
    assert_eq!(first.starts_after, Some(seconds(5)));
    assert_eq!(first.lingers, Duration::from_millis(1500));
    let pieces: Vec<_> = first.output.iter().collect();
    assert_eq!(pieces[0].data, b"hello\n");
    assert_eq!(
        (pieces[1].after, pieces[1].stream),
        (seconds(2), OutputStream::Stderr)
    );
    // The last attempt stands for all further ones.
    assert_eq!(scenario.behaviour("train", 1).end, End::Evicted);
    assert_eq!(
        scenario.behaviour("train", 9),
        scenario.behaviour("train", 1)
    );
    assert_eq!(scenario.behaviour("report", 0).runs, Some(seconds(3)));
    assert_eq!(scenario.behaviour("data", 0).starts_after, None);

    let call = |rpc: Rpc, when, what| Fault::Call {
        calls: Calls { rpc, when },
        what,
    };
    let create = || Rpc::Named("SandboxCreateV2".into());
    let expected = [
        call(create(), When::Nth(Occasion::only(1)), CallFault::LostReply),
        call(
            create(),
            When::Nth(Occasion { nth: 2, times: 3 }),
            CallFault::DelayedReply(seconds(4)),
        ),
        call(
            Rpc::Any,
            When::Between {
                from: seconds(10),
                to: seconds(40),
            },
            CallFault::Unavailable,
        ),
        call(
            create(),
            When::Nth(Occasion::only(6)),
            CallFault::Throttled(Some(seconds(2))),
        ),
        Fault::Store {
            call: Some(StoreCall::Commit),
            when: Occasion::only(3),
            what: StoreFault::Stalls(seconds(30)),
        },
        Fault::Sandbox {
            step: "train".into(),
            attempt: Some(1),
            what: SandboxFault::Dies(seconds(3)),
        },
        Fault::Kill {
            at: When::Nth(Occasion::only(12)),
            moment: Moment::After,
            restart_after: seconds(30),
        },
        Fault::ClockJump {
            at: seconds(50),
            by_seconds: -3600.0,
        },
    ];
    assert_eq!(scenario.faults, expected);
    assert_eq!(scenario.chance.kills, 2);

    let expect = &scenario.expect;
    assert_eq!(expect.run, Some(RunEnd::Ended(RunStatus::Failed)));
    assert_eq!(expect.steps["report"], StepStatus::Skipped);
    assert_eq!(
        expect.order,
        [
            Milestone {
                step: "data".into(),
                attempt: None,
                passed: Passed::Ended(StepStatus::Cached)
            },
            Milestone {
                step: "train".into(),
                attempt: Some(1),
                passed: Passed::Started
            },
        ]
    );
    assert_eq!(expect.calls["SandboxCreateV2"], Count::exactly(2));
    let between = Range {
        least: Some(seconds(5)),
        most: Some(seconds(60)),
    };
    assert_eq!(expect.duration, Some(between));
    assert_eq!(expect.run_metadata["backend"], "modal");
}

#[test]
fn what_is_written_is_read_back() {
    let scenario = parse(WHOLE);
    let written = scenario.to_yaml();
    assert_eq!(parse(&written), scenario, "{written}");
    // What is not said is not written.
    let plain = parse(&with("expect: {run: completed}"));
    let written = plain.to_yaml();
    assert_eq!(parse(&written), plain, "{written}");
    for key in ["faults", "service", "chance", "seed"] {
        assert!(!written.contains(key), "{written}");
    }
}

#[test]
fn a_pipeline_may_be_a_file_of_its_own() {
    let text = "pipeline: p/train.yaml\nexpect: {steps: {train: completed}}\n";
    let scenario = Scenario::parse("dir/s.yaml", text.as_bytes(), |path| {
        assert_eq!(path, "p/train.yaml");
        Ok(b"{name: p, steps: {train: {command: [t]}}}".to_vec())
    });
    let scenario = scenario.unwrap();
    assert_eq!((&*scenario.name, &*scenario.pipeline.name), ("s", "p"));
    // Its values stay where they are: they may be secrets.
    assert!(scenario.to_yaml().contains("pipeline: p/train.yaml"));

    let missing = problems(text);
    assert!(
        missing.starts_with("s.yaml:1:11: pipeline: `p/train.yaml` cannot be read: "),
        "{missing}"
    );
    let wrong = Scenario::parse("s.yaml", text.as_bytes(), |_| Ok(b"name: p".to_vec()));
    let wrong = wrong.unwrap_err().to_string();
    assert!(
        wrong.contains("this is no pipeline file: p/train.yaml:1:1: steps: the key is missing"),
        "{wrong}"
    );
}

#[test]
fn wrong_files_say_where_and_what_to_do() {
    let cases = [
        (
            "expcet: {}",
            "s.yaml:2:1: expcet: the key is unknown; the nearest known key is `expect`",
        ),
        (
            "steps: {trian: {}}",
            "s.yaml:2:9: steps.trian: the pipeline has no step `trian`; the nearest step is `train`",
        ),
        ("steps: {train: []}", "there is no attempt in the list"),
        (
            "steps: {train: {runs: -1}}",
            "`-1` is not a number of seconds from 0 to 31536000",
        ),
        (
            "steps: {train: {runs: for ever}}",
            "the nearest known word is `forever`",
        ),
        (
            "steps: {train: {exit: 1, signal: 9}}",
            "`exit` and `signal` both say how it ends",
        ),
        (
            "steps: {train: {runs: forever, exit: 1}}",
            "what runs forever does not come to `exit`",
        ),
        (
            "steps: {train: {exit: 256}}",
            "`256` is not a number from 0 to 255",
        ),
        (
            "steps: {train: {output: [{after: 1}]}}",
            "one of `stdout` and `stderr` says where",
        ),
        (
            "faults: [{call: SandboxCreateV2}]",
            "s.yaml:2:10: faults[0]: the key `fault` is missing",
        ),
        (
            "faults: [{fault: lost_replay}]",
            "the nearest known word is `lost_reply`",
        ),
        (
            "faults: [{fault: lost_reply, call: SandboxCreate2}]",
            "the nearest known word is `SandboxCreateV2`",
        ),
        (
            "faults: [{fault: lost_reply, seconds: 3}]",
            "faults[0].seconds: the key is unknown",
        ),
        (
            "faults: [{fault: delayed_reply}]",
            "faults[0].seconds: the key is missing",
        ),
        (
            "faults: [{fault: unavailable, nth: 0}]",
            "`0` is not a number from 1 to",
        ),
        (
            "faults: [{fault: unavailable, nth: 1, from: 2}]",
            "calls are picked by number or by time",
        ),
        (
            "faults: [{fault: unavailable, from: 3, to: 2}]",
            "the time ends before it begins",
        ),
        (
            "faults: [{fault: dies}]",
            "faults[0].step: the key is missing",
        ),
        (
            "faults: [{fault: killed}]",
            "one of `nth` and `at` says when the controller is killed",
        ),
        ("chance: {calls: 2}", "`2` is not a number from 0 to 1"),
        ("chance: chaso", "the nearest known word is `chaos`"),
        ("stop: {mode: force}", "stop.at: the key is missing"),
        (
            "stop: {at: 1, mode: hard}",
            "all that are known here: `graceful`, `force`",
        ),
        (
            "expect: {run: complete}",
            "the nearest known word is `completed`",
        ),
        (
            "expect: {steps: {train: running}}",
            "found the text `running`",
        ),
        (
            "expect: {order: [train]}",
            "expected a step and what it passes, found the text `train`",
        ),
        (
            "expect: {order: [\"train#x started\"]}",
            "found the text `train#x started`",
        ),
        (
            "expect: {order: [tran started]}",
            "the nearest step is `train`",
        ),
        (
            "expect: {calls: {SandboxMakeV2: 1}}",
            "expect.calls.SandboxMakeV2: the key is unknown",
        ),
        (
            "expect: {sandboxes: {at_least: 3, at_most: 2}}",
            "there is nothing that this is about",
        ),
        (
            "expect: {duration: {}}",
            "there is nothing that this is about",
        ),
    ];
    for (lines, message) in cases {
        let problems = problems(&with(lines));
        assert!(problems.contains(message), "{lines}\n{problems}");
    }
    let both = problems(&with("seed: x\nexpect: {run: done}"));
    assert_eq!(both.lines().count(), 2, "{both}");
    assert!(problems("expect: {}").contains("pipeline: the key is missing"));
    assert!(problems("pipeline: {name: p}").contains("pipeline.steps: the key is missing"));
}

#[test]
fn the_scenarios_of_the_documentation_are_right() {
    let documentation = include_str!("../README.md");
    let blocks = documentation.split("```yaml\n").skip(1);
    let mut scenarios = blocks.map(|rest| parse(rest.split("```").next().unwrap()));
    let first = scenarios.next().unwrap();
    assert_eq!(first.faults.len(), 1);
    assert_eq!(first.expect.order.len(), 2);
}
