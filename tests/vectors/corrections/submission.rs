//! Rules about what is submitted.

use super::Rule;

pub(super) const RULES: &[Rule] = &[];
