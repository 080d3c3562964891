//! Rules about the status of runs and steps, and stopping them.

use super::Rule;

pub(super) const RULES: &[Rule] = &[];
