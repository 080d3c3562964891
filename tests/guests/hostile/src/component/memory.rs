//! Wants more than there is: memory, handles, room in calls.

use super::bindings::wit_stream;
use super::number;
use super::telling::warning;
use futures::FutureExt as _;
use wasip3::clocks::monotonic_clock;
use wasip3::http::types::{ErrorCode, Fields, RequestOptions};
use wasip3::random::random;
use wasip3::wit_future;

pub(super) fn attack(name: &str, arguments: &[&str]) -> Option<String> {
    let count = number(arguments, 0);
    match name {
        "grow" => Some(grow()),
        "big-text" => Some("x".repeat(number(arguments, 0))),
        "random" => {
            let asked = number(arguments, 0);
            Some(random::get_random_bytes(asked).len().to_string())
        }
        "big-header" => {
            let value = vec![b'x'; number(arguments, 0)];
            Some(format!("{:?}", Fields::new().append("x-big", &value)))
        }
        "many-headers" => Some(many_headers()),
        "leak-fields" => leak(count, Fields::new),
        "leak-options" => leak(count, RequestOptions::new),
        "leak-streams" => leak(count, wit_stream::new::<super::Event>),
        "leak-futures" => leak(count, || {
            wit_future::new::<Result<(), ErrorCode>>(|| Ok(()))
        }),
        "leak-timers" => leak(count, || {
            // Begun, and then forgotten.
            let mut timer = Box::pin(monotonic_clock::wait_for(u64::MAX));
            let _ = (&mut timer).now_or_never();
            timer
        }),
        _ => None,
    }
}

/// Takes memory until there is no more, and says how many mebibytes there were.
fn grow() -> String {
    const MIB: usize = 1 << 20;
    let mut taken: Vec<Vec<u8>> = Vec::with_capacity(4096);
    let mut mebibytes = 0;
    loop {
        let mut piece = Vec::new();
        if piece.try_reserve_exact(MIB).is_err() {
            return mebibytes.to_string();
        }
        piece.resize(MIB, 1);
        taken.push(piece);
        mebibytes += 1;
    }
}

/// Fills one field map until it is full, and says how many entries it took.
fn many_headers() -> String {
    let fields = Fields::new();
    let mut count = 0_u32;
    while fields.append(&format!("x-{count}"), b"").is_ok() {
        count += 1;
    }
    count.to_string()
}

/// Makes so many and gives none of them back.
#[allow(clippy::mem_forget, reason = "that is the attack")]
fn leak<T>(count: u32, mut make: impl FnMut() -> T) -> Option<String> {
    for _ in 0..count {
        std::mem::forget(make());
    }
    Some(count.to_string())
}

/// Warnings of a size.
pub(super) fn flood_of(count: usize, size: usize) -> Vec<super::Event> {
    let text = "x".repeat(size);
    (0..count).map(|_| warning(None, text.clone())).collect()
}
