//! Interactive sessions in sandboxes.

pub mod lines;
pub mod words;
