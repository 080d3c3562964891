//! What a step asks of its machine, in Modal's terms.

pub mod cpu;
pub mod gpu;
pub mod memory;
pub mod settings;
