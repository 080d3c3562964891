//! Computes and computes.

use super::bindings::zenml::flavor::run_store;
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use wasip3::clocks::monotonic_clock;
use wasip3::random::{insecure, random};

pub(super) async fn attack(name: &str) -> Option<String> {
    match name {
        "spin" => spin(),
        // Calls of the host that return at once are no pause.
        "spin-on-clock" => loop {
            black_box(monotonic_clock::now());
        },
        "spin-on-random" => loop {
            black_box(random::get_random_u64());
            black_box(insecure::get_insecure_random_bytes(64));
        },
        "spin-on-store" => loop {
            black_box(run_store::open("not mine".to_owned()).await.is_err());
        },
        // These do pause: the host gets its turn each time.
        "yield-for-ever" => loop {
            wit_bindgen::yield_async().await;
        },
        "nap-for-ever" => loop {
            monotonic_clock::wait_for(1).await;
        },
        "spin-in-allocator" => {
            arm(4321);
            Some(format!("{:?}", random::get_random_bytes(4321)))
        }
        _ => None,
    }
}

pub(super) fn spin() -> ! {
    loop {
        black_box(());
    }
}

/// Spins when memory of this size is asked for: the host does so when it hands
/// over what has no fixed size.
pub(super) fn arm(size: usize) {
    ARMED.store(size, Ordering::Relaxed);
}

/// No memory is ever asked for in this size.
static ARMED: AtomicUsize = AtomicUsize::new(usize::MAX);

/// The system's allocator, with a size that it does not come back from.
struct Trapdoor;

#[global_allocator]
static ALLOCATOR: Trapdoor = Trapdoor;

#[allow(unsafe_code, reason = "allocators are")]
// SAFETY: all work is the system allocator's.
unsafe impl GlobalAlloc for Trapdoor {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if ARMED.load(Ordering::Relaxed) == layout.size() {
            spin();
        }
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}
