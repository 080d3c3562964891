//! A plugin that attacks its host, as bytes. Only tests depend on this crate.

/// The component; what it does is described in its crate, `hostile-guest`.
pub const HOSTILE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hostile.wasm"));
