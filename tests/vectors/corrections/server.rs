//! Rules about the run store's own logic.

use super::Rule;

pub(super) const RULES: &[Rule] = &[];
