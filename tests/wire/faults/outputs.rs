//! Outputs over streams that break: whole, and in order.

use super::assert_nothing_runs;
use crate::Test;
use crate::flavor::{Order, block_on, gpu_step, step};
use crate::foreign::Foreign;
use serde_json::json;

pub(super) const TESTS: &[Test] = &[("faults::outputs_stay_whole", outputs_stay_whole)];

fn outputs_stay_whole() {
    let text: String = (0..20_000).map(|line| format!("line {line}\n")).collect();
    let server = Foreign::start();
    server.script("*", json!({"duration": 1.0, "stdout": text, "stderr": "!"}));
    for rpc in ["SandboxStdioReadV2", "SandboxGetLogs"] {
        server.fault(json!({"rpc": rpc, "kind": "status", "nth": [1, 2]}));
        server.fault(json!({"rpc": rpc, "kind": "reset", "when": "before", "nth": [3]}));
        server.fault(json!({"rpc": rpc, "kind": "reset", "when": "during", "nth": [4]}));
        server.fault(json!({"rpc": rpc, "kind": "stream", "when": "before", "nth": [5]}));
    }
    let mut order = Order::new(vec![step("cpu", &[]), gpu_step("gpu", &["cpu"])]);
    order.outputs = true;
    let outcome = block_on(order.run(&server));
    outcome.assert_completed();
    for name in ["cpu", "gpu"] {
        let written = outcome.output(name);
        assert_eq!(written.len(), text.len() + 1, "{name}");
        assert_eq!(written.replacen('!', "", 1), text, "{name}");
    }
    assert_nothing_runs(&server);
}
