//! Attacks that begin before there is a pipeline: when the component is
//! instantiated, and in the export `flavors`, which has no arguments.

use super::bindings::exports::zenml::flavor::catalog::Flavor;
use super::bindings::zenml::flavor::types::{Error, FlavorKind};
use super::{computing, crashing};
use std::hint::black_box;

/// Tests write another word over `honest`, padded with blanks.
#[used]
static MODE: [u8; 16] = *b"mode=honest     ";

fn mode() -> &'static str {
    // Opaque, so that the word is looked up in memory.
    let mode: &'static [u8] = black_box(&MODE);
    let mode = std::str::from_utf8(mode).unwrap_or_default();
    mode.strip_prefix("mode=").unwrap_or_default().trim_end()
}

/// Called when the component is instantiated.
#[used]
#[allow(
    unsafe_code,
    reason = "it is the linker that makes this a start function"
)]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

extern "C" fn start() {
    match mode() {
        "start-spin" => computing::spin(),
        "start-trap" => crashing::trap(),
        _ => {}
    }
}

pub(super) async fn flavors() -> Result<Vec<Flavor>, Error> {
    match mode() {
        "spin" => computing::spin(),
        "trap" => crashing::trap(),
        "stall" => crashing::never().await,
        "flood" => Ok(vec![flavor(&"x".repeat(2 << 20))]),
        _ => Ok(vec![flavor("hostile")]),
    }
}

fn flavor(name: &str) -> Flavor {
    Flavor {
        kind: FlavorKind::Orchestrator,
        name: name.to_owned(),
        display_name: String::new(),
        docs_url: String::new(),
        sdk_docs_url: String::new(),
        logo_url: String::new(),
        config_schema: "{}".to_owned(),
        settings_schema: "{}".to_owned(),
        facts: "{}".to_owned(),
        connector: None,
    }
}
