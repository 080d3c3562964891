//! Rules about lines out of pieces of output.

use super::Rule;

pub(super) const RULES: &[Rule] = &[];
