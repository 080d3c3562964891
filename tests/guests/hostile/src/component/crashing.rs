//! Crashes, leaves, blocks, and never answers.

use super::Outcome;
use std::time::Duration;

pub(super) async fn attack(name: &str) -> Option<Outcome> {
    match name {
        "trap" => trap(),
        "panic" => panic(),
        "exit" => std::process::exit(0),
        "abort" => std::process::abort(),
        // Blocks through WASI 0.2, as the standard library does.
        "sleep" => {
            std::thread::sleep(Duration::from_secs(3600));
            Some("slept".to_owned().into())
        }
        "never" => never().await,
        "recurse" => Some(recurse(0).to_string().into()),
        _ => None,
    }
}

pub(super) fn trap() -> ! {
    core::arch::wasm32::unreachable()
}

#[allow(clippy::panic, reason = "to see what becomes of it")]
fn panic() -> ! {
    panic!("\u{1b}[2Jthe guest gave up")
}

pub(super) async fn never() -> ! {
    loop {
        std::future::pending::<()>().await;
    }
}

#[allow(
    unconditional_recursion,
    reason = "what ends it is the end of the stack"
)]
fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    recurse(depth + 1).wrapping_add(frame.iter().sum())
}
