//! The plugin of this workspace with the world `conformance`, as bytes. For
//! tests; nothing that ships depends on it.

/// The component.
pub const COMPONENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/plugin.wasm"));
