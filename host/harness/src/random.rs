//! Scenarios by seed: a pipeline, behaviours, stops and faults that nobody chose.

use crate::chance::{Dice, Throw};
use crate::scenario::{Behaviour, Capacity, Chance, End, Expectations, Scenario, Written};
use flavor_host::contract::{OutputStream, StopMode};
use pipeline_file::{ExecutionMode, PipelineFile};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

/// Most steps of a random pipeline: enough for every shape, few enough to read.
const STEPS: u64 = 12;

/// The scenario of a seed, without expectations: the rules that hold in every run
/// are what it is judged by. `None` never happens; it would mean that a pipeline of
/// this module is not accepted.
#[must_use]
pub fn random_scenario(seed: u64) -> Option<Scenario> {
    let dice = Dice::new(seed);
    let mut throw = dice.throw("scenario", 0);
    let count = 1 + throw.below(STEPS);
    let steps: Vec<String> = (0..count).map(|step| format!("s{step}")).collect();
    let pipeline = pipeline(dice, &steps)?;
    let mut behaviours = BTreeMap::new();
    for (number, step) in steps.iter().enumerate() {
        let number = number as u64 * 8;
        let attempts =
            (0..3).map(|attempt| behaviour(&mut dice.throw("behaviour", number + attempt)));
        behaviours.insert(step.clone(), attempts.collect());
    }
    let mut more = dice.throw("scenario", 1);
    Some(Scenario {
        name: format!("seed {seed}"),
        pipeline,
        pipeline_path: None,
        max_parallelism: NonZeroU32::new(u32::try_from(more.below(4)).unwrap_or(0)),
        seed,
        service: capacity(dice),
        behaviours,
        default_behaviour: Behaviour::default(),
        cached: steps
            .iter()
            .zip(0..)
            .filter(|(_, number)| dice.throw("cached", *number).happens(0.05))
            .map(|(step, _)| step.clone())
            .collect(),
        stops: stops(dice),
        faults: Vec::new(),
        chance: chance(dice),
        expect: Expectations::default(),
    })
}

fn pipeline(dice: Dice, steps: &[String]) -> Option<PipelineFile> {
    let mut throw = dice.throw("pipeline", 0);
    let mode = match throw.below(4) {
        0 => ExecutionMode::FailFast,
        1 => ExecutionMode::StopOnFailure,
        _ => ExecutionMode::ContinueOnFailure,
    };
    let density = match throw.below(3) {
        0 => 0.1,
        1 => 0.3,
        _ => 0.6,
    };
    let mut document = serde_json::Map::new();
    for (number, step) in steps.iter().enumerate() {
        let mut own = dice.throw("step", number as u64);
        let upstreams = steps.iter().take(number).zip(0_u64..);
        let after: Vec<_> = upstreams
            .filter(|(_, other)| {
                let edge = number as u64 * STEPS + other;
                dice.throw("edge", edge).happens(density)
            })
            .map(|(upstream, _)| upstream.as_str())
            .collect();
        let mut settings = serde_json::Map::new();
        if own.happens(0.15) {
            settings.insert("gpu".to_owned(), "A100".into());
        }
        if own.happens(0.2) {
            settings.insert("timeout".to_owned(), 300.into());
        }
        let retries = own.below(3);
        document.insert(
            step.clone(),
            serde_json::json!({
                "command": ["run", step],
                "after": after,
                "settings": settings,
                "retry": {"max_retries": retries, "delay": 2, "backoff": 2},
            }),
        );
    }
    let mode = match mode {
        ExecutionMode::FailFast => "fail_fast",
        ExecutionMode::StopOnFailure => "stop_on_failure",
        ExecutionMode::ContinueOnFailure => "continue_on_failure",
    };
    let document = serde_json::json!({
        "name": "random",
        "execution_mode": mode,
        "steps": document,
    });
    PipelineFile::from_slice("random.json", document.to_string().as_bytes()).ok()
}

fn behaviour(throw: &mut Throw) -> Behaviour {
    let runs = throw.millis(3_600_000);
    let kind = throw.below(12);
    let starts_after = throw.millis(20_000);
    Behaviour {
        starts_after: Some(starts_after),
        runs: Some(runs),
        end: match kind {
            0 => End::Exit(1),
            1 => End::Signal(9),
            2 => End::NeverRan("no such program".to_owned()),
            _ => End::Exit(0),
        },
        output: match kind {
            3 | 4 => vec![Written {
                after: runs / 2,
                stream: OutputStream::Stdout,
                data: b"half way\n".to_vec(),
            }],
            _ => Vec::new(),
        },
        lingers: match kind {
            5 => Duration::from_secs(3),
            _ => Duration::ZERO,
        },
    }
}

fn capacity(dice: Dice) -> Capacity {
    let mut throw = dice.throw("capacity", 0);
    let mut capacity = Capacity::default();
    if throw.happens(0.3) {
        capacity.gpus.insert("A100".to_owned(), 1);
    }
    if throw.happens(0.2) {
        capacity.image_build = throw.millis(120_000);
    }
    capacity.latency = Duration::from_millis(throw.below(60));
    capacity
}

fn stops(dice: Dice) -> Vec<(Duration, StopMode)> {
    let mut throw = dice.throw("stops", 0);
    if !throw.happens(0.25) {
        return Vec::new();
    }
    let first = throw.millis(600_000);
    match throw.below(3) {
        0 => vec![(first, StopMode::Force)],
        1 => vec![(first, StopMode::Graceful)],
        _ => vec![
            (first, StopMode::Graceful),
            (
                first.saturating_add(Duration::from_secs(20)),
                StopMode::Force,
            ),
        ],
    }
}

/// Every fourth seed has nothing go wrong, some have much go wrong.
fn chance(dice: Dice) -> Chance {
    let mut throw = dice.throw("chance", 0);
    match throw.below(4) {
        0 => Chance::default(),
        1 => Chance {
            calls: 0.2,
            store: 0.0,
            sandboxes: 0.1,
            kills: 0,
            clock_jumps: 1,
        },
        2 => Chance {
            calls: 0.02,
            store: 0.02,
            sandboxes: 0.05,
            kills: 2,
            clock_jumps: 1,
        },
        _ => Chance::CHAOS,
    }
}
