//! The plugin that belongs to this workspace, as bytes. Only the `flavor`
//! binary depends on this crate, so that building the host library alone needs
//! no WebAssembly toolchain.

/// The component.
pub const COMPONENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/plugin.wasm"));

/// SHA-256 of [`COMPONENT`], in hexadecimal.
pub const DIGEST: &str = env!("DEFAULT_PLUGIN_DIGEST");
