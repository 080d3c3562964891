//! A benchmark, run by hand: what a wide pipeline costs against a server that
//! is slow, in another process and another language.
//! `cargo test -p flavor-host --test wire -- --ignored --nocapture`

use crate::Test;
use crate::flavor::{Order, block_on, step};
use crate::foreign::Foreign;
use serde_json::json;
use std::time::Instant;

pub(crate) const TESTS: &[Test] = &[("by_hand::a_thousand_steps", a_thousand_steps)];

const WIDTH: usize = 1000;
/// Seconds that each sandbox runs.
const DURATION: f64 = 5.0;
/// Seconds that the server takes for a create, and for any other call.
const DELAYS: (f64, f64) = (0.3, 0.03);

fn a_thousand_steps() {
    let server = Foreign::start();
    server.settings(json!({"records_bodies": false}));
    server.script("*", json!({"duration": DURATION}));
    let (create, other) = DELAYS;
    server.fault(json!({"rpc": "SandboxCreateV2", "kind": "delay", "seconds": create}));
    server.fault(json!({"kind": "delay", "seconds": other}));
    let steps = (0..WIDTH)
        .map(|number| step(&format!("step-{number}"), &[]))
        .collect();
    let started = Instant::now();
    let outcome = block_on(Order::new(steps).run(&server));
    let took = started.elapsed();
    outcome.assert_completed();
    eprintln!("{WIDTH} steps of {DURATION} s side by side: {took:?}");
    for (rpc, count) in server.counts() {
        let peak = server.peak(&rpc);
        eprintln!("{rpc}: {count} calls, {peak} at one time at most");
    }
}
