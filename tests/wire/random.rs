//! Runs of random pipelines while one call in ten fails: they end as they would
//! if none did.

use crate::Test;
use crate::flavor::{Order, block_on, gpu_step, step};
use crate::foreign::Foreign;
use flavor_host::contract::{ExecutionMode, Step, StepStatus};
use futures::{StreamExt as _, stream};
use serde_json::json;
use std::collections::BTreeMap;

pub(crate) const TESTS: &[Test] = &[(
    "random::runs_end_as_they_would_without_faults",
    runs_end_as_they_would_without_faults,
)];

/// Runs, and steps in each.
const RUNS: u64 = 200;
const STEPS: usize = 50;

/// Runs at one time. They share the server and the machine, nothing else.
const AT_ONCE: usize = 24;

/// Share of the calls that fail.
const RATE: f64 = 0.1;

fn runs_end_as_they_would_without_faults() {
    let server = Foreign::start();
    server.settings(json!({"records_bodies": false}));
    server.script("*", json!({"duration": 0.02}));
    server.script(
        "bad",
        json!({"duration": 0.02, "status": 2, "exit_code": 3}),
    );
    server.fail_at_random(RATE, 20_251_101);
    let wrong: Vec<String> = block_on(
        stream::iter(0..RUNS)
            .map(|seed| run(&server, seed))
            .buffer_unordered(AT_ONCE)
            .filter_map(async |wrong| wrong)
            .collect(),
    );
    assert!(
        wrong.is_empty(),
        "{} runs:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let rate = server.failure_rate();
    assert!(
        (rate - RATE).abs() < RATE / 5.0,
        "{rate} of the calls failed"
    );

    let sandboxes = server.sandboxes();
    assert!(
        sandboxes.iter().all(|sandbox| !sandbox.running),
        "some still run"
    );
    // No step of a run that was to run ran twice, however often it was asked for.
    let expected: usize = (0..RUNS).map(|seed| Random::pipeline(seed).runs()).sum();
    assert_eq!(sandboxes.len(), expected);
}

/// What is wrong with the end of a run, if anything is.
async fn run(server: &Foreign, seed: u64) -> Option<String> {
    let random = Random::pipeline(seed);
    let mut order = Order::new(random.steps());
    order.pipeline.run_id = format!("random-{seed}");
    order.pipeline.execution_mode = ExecutionMode::ContinueOnFailure;
    let outcome = order.run(server).await;
    let expected = random.statuses();
    let ended = outcome.statuses();
    let wrong: Vec<_> = expected
        .iter()
        .filter(|(name, status)| ended.get(name.as_str()) != Some(status))
        .map(|(name, status)| {
            let got = ended.get(name.as_str());
            format!("{name}: {got:?}, not {status:?}: {}", outcome.reason(name))
        })
        .collect();
    (!wrong.is_empty()).then(|| format!("run {seed}: {}", wrong.join("; ")))
}

/// A pipeline made from a number.
struct Random {
    steps: Vec<RandomStep>,
}

struct RandomStep {
    name: String,
    /// Positions of earlier steps.
    after: Vec<usize>,
    fails: bool,
    gpu: bool,
}

impl Random {
    /// Up to three upstream steps each, out of the eight before it; every
    /// twentieth step fails, every fourth wants a GPU.
    fn pipeline(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1);
        let steps = (0..STEPS).map(|position| {
            let near = position.min(8);
            let mut after: Vec<usize> = (0..dice.below(4))
                .filter(|_| near > 0)
                .map(|_| position - 1 - dice.below(near))
                .collect();
            after.sort_unstable();
            after.dedup();
            let fails = dice.below(20) == 0;
            RandomStep {
                name: format!("{}-{position}", if fails { "bad" } else { "good" }),
                after,
                fails,
                gpu: dice.below(4) == 0,
            }
        });
        Self {
            steps: steps.collect(),
        }
    }

    fn steps(&self) -> Vec<Step> {
        let upstream = |step: &RandomStep| -> Vec<&str> {
            let after = step.after.iter();
            after.map(|position| &*self.steps[*position].name).collect()
        };
        self.steps
            .iter()
            .map(|random| match random.gpu {
                true => gpu_step(&random.name, &upstream(random)),
                false => step(&random.name, &upstream(random)),
            })
            .collect()
    }

    /// How the steps end without faults.
    fn statuses(&self) -> BTreeMap<String, StepStatus> {
        let mut statuses: Vec<StepStatus> = Vec::new();
        for step in &self.steps {
            let ready = step
                .after
                .iter()
                .all(|position| statuses[*position] == StepStatus::Completed);
            statuses.push(match (ready, step.fails) {
                (false, _) => StepStatus::Skipped,
                (true, true) => StepStatus::Failed,
                (true, false) => StepStatus::Completed,
            });
        }
        let names = self.steps.iter().map(|step| step.name.clone());
        names.zip(statuses).collect()
    }

    /// How many of them run.
    fn runs(&self) -> usize {
        let statuses = self.statuses();
        let ran = statuses.values();
        ran.filter(|status| **status != StepStatus::Skipped).count()
    }
}

/// Numbers that look like chance (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % limit
    }
}
