//! What checking a configuration costs in the component, beside what pydantic
//! takes for the same document.
//!
//! ```text
//! cargo bench -p vectors --bench config
//! ```
//!
//! Prints the least of many rounds: the machine's other work only ever adds to
//! it. Pydantic's time is measured when a Python with ZenML's Modal integration is
//! named in `ZENML_PYTHON`.

#![allow(clippy::print_stdout, reason = "what is printed is the result")]

#[path = "../guest.rs"]
#[allow(
    clippy::print_stderr,
    dead_code,
    unused_imports,
    reason = "the runner of recorded cases shows what the component says and needs all of it"
)]
mod guest;

use anyhow::Context as _;
use guest::{DocumentKind, FlavorKind, Guest};
use std::env;
use std::process::Command;
use std::time::{Duration, Instant};

/// Every field of the orchestrator's configuration.
const FULL: &str = r#"{"gpu": "A100", "region": "us-east-1", "cloud": "aws",
    "modal_environment": "staging", "timeout": 7200, "synchronous": false,
    "token_id": "credential:0", "token_secret": "credential:1"}"#;

/// What a call may cost.
const LIMIT: Duration = Duration::from_micros(20);

const ROUNDS: u32 = 50;
const CALLS: u32 = 200;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let component = runtime.block_on(component())?;
    println!("config validation in the component: {component:.1?} a call (limit {LIMIT:?})");
    match env::var_os("ZENML_PYTHON") {
        Some(python) => {
            let output = Command::new(python)
                .args(["-c", PYTHON])
                .arg(FULL)
                .output()?;
            let text = String::from_utf8_lossy(&output.stdout);
            let microseconds = text.lines().last().unwrap_or_default();
            println!("the same in pydantic: {microseconds}\u{b5}s a call");
        }
        None => println!("the same in pydantic: not measured, ZENML_PYTHON is not set"),
    }
    anyhow::ensure!(component < LIMIT, "a call costs more than {LIMIT:?}");
    Ok(())
}

async fn component() -> anyhow::Result<Duration> {
    let mut guest = Guest::new()?;
    let mut least = Duration::MAX;
    for _ in 0..ROUNDS {
        let round = guest.call(async |accessor, component| {
            let config = component.zenml_flavor_config();
            let start = Instant::now();
            for _ in 0..CALLS {
                let (flavor, kind) = (FlavorKind::Orchestrator, DocumentKind::Configuration);
                let checked = config
                    .call_validate(accessor, flavor, kind, FULL.to_owned())
                    .await?;
                if checked.is_err() {
                    return Ok(None);
                }
            }
            Ok(Some(start.elapsed()))
        });
        let elapsed = round.await?.context("the document was refused")?;
        least = least.min(elapsed / CALLS);
    }
    Ok(least)
}

/// From text to text, as the component does it.
const PYTHON: &str = r#"
import json, sys, time
from zenml.integrations.modal.flavors import ModalOrchestratorConfig
text = sys.argv[1]
least = float("inf")
for _ in range(20):
    start = time.perf_counter()
    for _ in range(200):
        ModalOrchestratorConfig(**json.loads(text)).model_dump_json()
    least = min(least, (time.perf_counter() - start) / 200)
print(f"{least * 1e6:.1f}")
"#;
